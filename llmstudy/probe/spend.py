"""Estimates the cost of a run, adds it up, and stops requests that could pass the spend cap."""

import ipaddress
from dataclasses import astuple, dataclass
from datetime import date
from math import inf

from llmstudy.prices.api import check_listed, rate
from llmstudy.prices.billing import PricedModel
from llmstudy.probe.endpoint import Endpoint, Request
from llmstudy.probe.options import Billing
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


_PROVIDERS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
}


def priced_model(endpoint: Endpoint, billing: Billing, is_ours: bool = False) -> PricedModel:
    """What prices an endpoint's requests: the price given, the price list, or 0 on a private host.

    A private machine that takes a key or header may be a gateway to one that bills, unless is_ours.
    Raises: ValueError where no price is given or listed.
    """
    provider = billing.provider or _PROVIDERS.get(endpoint.host)
    if billing.price is not None:
        input_usd, output_usd = billing.price
        price = TokenPrice(input_usd, input_usd, output_usd)
        return PricedModel(endpoint.host, endpoint.model, usd_per_mtok=astuple(price))
    if provider is not None:
        check_listed(provider, endpoint.model, date.today())
        return PricedModel(provider, endpoint.model)
    private = _is_private(endpoint.host)
    if private and (is_ours or not (endpoint.key_env or endpoint.headers)):
        return PricedModel(endpoint.host, endpoint.model, usd_per_mtok=astuple(FREE))
    behind = ", or of the provider that it forwards to," if private else ""
    raise ValueError(
        f"the price of {endpoint.host}{behind} is missing: give --price IN,OUT (USD per million "
        "tokens; 0,0 if it is free), or --provider as the price list names it"
    )


def token_price(endpoint: Endpoint, billing: Billing, is_ours: bool = False) -> TokenPrice:
    """The price of requests in the lowest context tier. Raises: ValueError as `priced_model`."""
    priced = priced_model(endpoint, billing, is_ours)
    if priced.usd_per_mtok is not None:
        return TokenPrice(*priced.usd_per_mtok)
    listed = rate(priced.provider, priced.model, date.today())
    return TokenPrice(
        listed.input_usd_per_mtok, listed.cached_input_usd_per_mtok, listed.output_usd_per_mtok
    )


def request_usd(
    url: str | None,
    model: str | None,
    billing: Billing,
    input_tokens: int | None,
    output_tokens: int | None,
) -> float | None:
    """What a request of these lengths costs; None where nothing names a price.

    Raises: ValueError as `token_price`, or if there is a price and no input_tokens.
    """
    if not (url or billing.price or billing.provider):
        return None
    if input_tokens is None:
        raise ValueError("a price needs --input-tokens")
    price = token_price(Endpoint(url or "http://unnamed", model or ""), billing)
    return price.usd(input_tokens, 0, output_tokens or UNLIMITED_OUTPUT_TOKENS)


def _is_private(host: str) -> bool:
    """Whether a host is this machine or on a private network."""
    if host == "localhost" or host.endswith((".local", ".internal")):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False


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
