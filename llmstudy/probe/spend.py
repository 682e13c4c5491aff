"""Estimates the cost of a run, adds it up, and holds back requests beyond the spend cap."""

from dataclasses import astuple, dataclass
from math import inf

from llmstudy.probe.endpoint import Request
from llmstudy.probe.prompts import CHECK_WORDS, Plan
from llmstudy.probe.run import Sample

UNLIMITED_OUTPUT_TOKENS = 4096
"""Output tokens of an answer without a limit, in an estimate of its cost; assumed."""


@dataclass(frozen=True)
class TokenPrice:
    """USD per million tokens. Raises: ValueError for a price below 0 or not finite."""

    input: float
    cached_input: float
    output: float

    def __post_init__(self) -> None:
        """Refuse a price that no spend cap could stop."""
        if not all(0 <= price < inf for price in astuple(self)):
            raise ValueError(f"{self}: give prices that are finite and not below 0")

    def usd(self, input_tokens: float, cached_tokens: float, output_tokens: float) -> float:
        """What a request costs; input_tokens includes cached_tokens.

        >>> TokenPrice(2.0, 0.5, 10.0).usd(1_000_000, 500_000, 100_000)
        2.25
        """
        fresh = (input_tokens - cached_tokens) * self.input
        return (fresh + cached_tokens * self.cached_input + output_tokens * self.output) / 1e6


FREE = TokenPrice(0.0, 0.0, 0.0)


def estimated_usd(plan: Plan, price: TokenPrice) -> float:
    """Cost of a plan if every answer is as long as allowed and no input is cached."""
    written = plan.schedule["output_tokens"].fillna(UNLIMITED_OUTPUT_TOKENS)
    return price.usd(float(plan.schedule["input_tokens"].sum()), 0.0, float(written.sum()))


def checks_usd(plan: Plan, price: TokenPrice) -> float:
    """Highest cost of the two requests before a load; a word is taken as a token."""
    written = plan.usual_limit or UNLIMITED_OUTPUT_TOKENS
    return price.usd(sum(CHECK_WORDS), 0.0, len(CHECK_WORDS) * written)


class Budget:
    """A run's spend, and the highest cost of its requests in flight.

    A request is sent only if the spend stays below the cap even where every answer in flight is as
    long as allowed, provided that prompts have the planned tokens (`load.calibrate`).
    """

    def __init__(self, price: TokenPrice, cap_usd: float | None, spent_usd: float = 0.0) -> None:
        self.price, self.cap_usd, self.spent_usd = price, cap_usd, spent_usd
        self._reserved_usd = 0.0

    def reserve(self, request: Request) -> bool:
        """Reserves the most that a request can cost; False where that would exceed the cap."""
        worst = self._worst_usd(request)
        committed = self.spent_usd + self._reserved_usd + worst
        if self.cap_usd is not None and committed > self.cap_usd:
            return False
        self._reserved_usd += worst
        return True

    def settle(self, request: Request, sample: Sample) -> None:
        """Replaces a request's reservation by its cost, and writes that to its sample.

        An answer that began and was not counted may have been billed: it costs the most it could.
        """
        worst = self._worst_usd(request)
        self._reserved_usd -= worst
        if sample.input_tokens is None or sample.output_tokens is None:
            sample.cost_usd = worst if sample.http_status == 200 or sample.error == "timeout" else 0
        else:
            cached = sample.cached_input_tokens or 0
            sample.cost_usd = self.price.usd(sample.input_tokens, cached, sample.output_tokens)
        self.spent_usd += sample.cost_usd

    def forfeit(self, request: Request) -> None:
        """Spends a reservation: an interrupted request may have been billed in full."""
        self._reserved_usd -= self._worst_usd(request)
        self.spent_usd += self._worst_usd(request)

    def _worst_usd(self, request: Request) -> float:
        written = request.output_tokens or UNLIMITED_OUTPUT_TOKENS
        return self.price.usd(request.input_tokens or 0, 0, written)
