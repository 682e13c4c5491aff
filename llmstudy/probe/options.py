"""The options of a probe, each declared once for the function and the command.

`Endpoint` in `llmstudy.probe.endpoint` is one of these dataclasses too. A field's name is the
keyword of the function; its flag is the name without its unit (`timeout_s`: `--timeout`), unless
another is given. Nothing here loads a slow library.
"""

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from inspect import Parameter, signature
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

if TYPE_CHECKING:
    import pandas as pd

_Function = TypeVar("_Function", bound=Callable[..., Any])

_UNIT = re.compile("_(s|per_s|usd|share)$")


def option(
    default: Any,
    help: str,
    *,
    flag: str | None = None,
    metavar: str | None = None,
    least: float | None = None,
    most: float | None = None,
    unit: str | None = None,
    cli: Any = None,
    parse: Callable[[Any], Any] | None = None,
    secret: bool = False,
) -> Any:
    """A field of an options dataclass.

    unit: of a number that the command takes with its unit, such as "800 ms". cli: the type of the
    command's value where it is not the field's. parse: makes the field's value of it. secret: the
    value is not shown.
    """
    how = {"help": help, "flag": flag, "metavar": metavar, "least": least, "most": most}
    metadata = {**how, "unit": unit, "cli": cli, "parse": parse}
    if callable(default):
        return field(default_factory=default, metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


def options_of(kind: type) -> Iterator[Field[Any]]:
    """The fields of a dataclass that are options."""
    return (each for each in fields(kind) if "help" in each.metadata)


def flag_of(name: str, each: Field[Any] | None = None) -> str:
    """The flag of a command for a field.

    >>> flag_of("max_spend_usd"), flag_of("ramp_to_per_s"), flag_of("seed")
    ('--max-spend', '--ramp-to', '--seed')
    """
    given = each.metadata["flag"] if each else None
    return given or "--" + _UNIT.sub("", _UNIT.sub("", name)).replace("_", "-")


def built(kinds: Sequence[type], values: Mapping[str, Any]) -> list[Any]:
    """An instance of each dataclass from keywords that are mixed. Raises: TypeError for others."""
    names = [{each.name for each in fields(kind)} for kind in kinds]
    if unknown := set(values) - set().union(*names):
        raise TypeError(f"unknown option {', '.join(sorted(unknown))}: see the function's help")
    return [
        kind(**{name: value for name, value in values.items() if name in own})
        for kind, own in zip(kinds, names, strict=True)
    ]


def takes(*kinds: type) -> Callable[[_Function], _Function]:
    """Shows the options of dataclasses in the signature and the help of a function.

    The function takes them as `**options` and hands them to `built`.
    """

    def decorate(function: _Function) -> _Function:
        lines = []
        own = signature(function)
        shown = [p for p in own.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
        for kind in kinds:
            lines += ["", f"    {kind.__name__}:"]
            for each in options_of(kind):
                default = None if each.default is MISSING else each.default
                keyword = Parameter(each.name, Parameter.KEYWORD_ONLY, default=default)
                shown.append(keyword.replace(annotation=each.type))
                lines.append(f"    - {each.name}: {each.metadata['help']}")
        function.__signature__ = own.replace(parameters=shown)  # type: ignore[attr-defined]
        function.__doc__ = f"{(function.__doc__ or '').rstrip()}\n" + "\n".join(lines) + "\n"
        return function

    return decorate


# ---- from the words of a command -----------------------------------------------------------------


def json_object(text: str) -> dict[str, Any]:
    """A JSON object. Raises: ValueError for anything else."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object, such as '{\"temperature\": 0}'")
    return value


def header_lines(lines: Sequence[str]) -> dict[str, str]:
    """Headers by name; the value of `NAME: $VARIABLE` is that of the environment."""
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        value = value.strip()
        if not (name and value):
            raise ValueError(f"{name!r}: write 'NAME: value'")
        if value.startswith("$"):
            variable = value[1:]
            if variable not in os.environ:
                raise ValueError(f"{name}: {variable} is not set")
            value = os.environ[variable]
        headers[name.strip()] = value
    return headers


def _price(text: str) -> tuple[float, float]:
    try:
        input_usd, output_usd = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(
            f"{text}: write USD per million tokens in and out, such as 2.5,10"
        ) from error
    return input_usd, output_usd


def _columns(pairs: Sequence[str]) -> dict[str, str]:
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise ValueError(f"{wrong[0]}: write 'canonical=name in the file'")
    return dict(pair.split("=", 1) for pair in pairs)


def _switches(words: Sequence[str]) -> list[bool]:
    if wrong := set(words) - {"on", "off"}:
        raise ValueError(f"{min(wrong)}: write on or off")
    return [word == "on" for word in words]


def _lengths(texts: Sequence[str]) -> list[tuple[int, int]]:
    pairs = []
    for text in texts:
        try:
            input_tokens, output_tokens = (int(part) for part in text.split("x"))
        except ValueError as error:
            raise ValueError(f"{text}: write tokens in and out, such as 1024x128") from error
        pairs.append((input_tokens, output_tokens))
    return pairs


# ---- the options ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """What is in the requests of a load."""

    panel: ClassVar = "The load"

    input_tokens: int | None = option(None, "Input tokens of each request.", least=1)
    output_tokens: int | None = option(
        None,
        "Limit on the output tokens of each answer. [default: none, the model's own length]",
        least=1,
    )
    log: "pd.DataFrame | Path | None" = option(
        None,
        "Request log, from which lengths are drawn, input and output together.",
        metavar="FILE",
        cli=Path,
    )
    log_format: str = option("jsonl", "csv, jsonl, parquet or azure.", metavar="FORMAT")
    log_columns: Mapping[str, str] = option(
        dict,
        "Column of the log, 'canonical=name in the file'; repeatable.",
        flag="--log-column",
        metavar="A=B",
        cli=list[str],
        parse=_columns,
    )
    log_name: str | None = None
    shared_prefix_share: float = option(
        0.0,
        "Share of the input that requests have in common; 0 keeps prefix caches out of the run.",
        least=0.0,
        most=0.99,
    )
    prefix_groups: int = option(1, "Number of different shared prefixes.", least=1)
    token_ids: int | None = option(
        None,
        "Send random token ids below N: for a server without a tokenizer (completions).",
        metavar="N",
    )
    seed: int = option(
        lambda: secrets.randbits(31),  # prompts that an earlier run has sent may be cached
        "The same seed sends the same prompts at the same times. [default: drawn, and recorded]",
        least=0,
    )

    def __post_init__(self) -> None:
        """Refuse requests without a length, or with two."""
        if self.log is None and self.input_tokens is None:
            raise ValueError("the load needs input_tokens, or a log to take lengths from: give one")
        if self.log is not None and (self.input_tokens or self.output_tokens):
            raise ValueError("lengths come from the log: leave input_tokens and output_tokens out")


ARRIVALS = ("poisson", "gamma", "constant", "ramp")
"""Arrival processes of an open loop."""

Process = Literal["poisson", "gamma", "constant", "ramp", "replay", "closed"]


@dataclass(frozen=True, kw_only=True)
class Load(Prompts):
    """How many requests are sent, and when: at a rate, by a number of users, or as a log has them.

    >>> Load(concurrency=64, input_tokens=100).process, Load(rate_per_s=2, input_tokens=9).process
    ('closed', 'poisson')
    """

    requests: int = option(400, "Requests to measure.", least=1)
    rate_per_s: float | None = option(
        None, "Open loop: requests per second, sent whether earlier ones are answered or not."
    )
    arrivals: str = option(
        "poisson", "Of an open loop: poisson, gamma, constant, ramp.", metavar="PROCESS"
    )
    burstiness: float = option(1.0, "Shape of gamma gaps: below 1 is burstier than Poisson.")
    ramp_to_per_s: float | None = option(None, "Rate at which a ramp ends.")
    concurrency: int | None = option(
        None, "Closed loop: number of users, each waiting for its answer.", least=1
    )
    replay: bool = option(False, "Send the log's own arrivals and lengths.")
    time_scale: float = option(1.0, "Replay this many times as fast.")
    warmup: int | None = option(
        None,
        "Requests before those that count. [default: a tenth, at least 5; of a closed loop at "
        "least two for each user, so that their common start is not measured]",
        least=0,
    )

    def __post_init__(self) -> None:
        """Refuse a load without a number that its process needs."""
        if sum([self.rate_per_s is not None, self.concurrency is not None, self.replay]) != 1:
            raise ValueError("give one of --rate, --concurrency and --replay")
        if self.arrivals not in ARRIVALS:
            raise ValueError(f"arrivals {self.arrivals!r}: write poisson, gamma, constant or ramp")
        needed = {"ramp": ("ramp_to_per_s", self.ramp_to_per_s), "replay": ("log", self.log)}
        name, value = needed.get(self.process, ("", 0))
        if value is None:
            raise ValueError(f"a {self.process} load needs {name}: give it")
        super().__post_init__()

    @property
    def process(self) -> Process:
        """The arrival process, as a run's facts name it."""
        if self.replay:
            return "replay"
        return "closed" if self.concurrency else self.arrivals  # type: ignore[return-value]

    @property
    def warmup_n(self) -> int:
        """Requests of warm-up: as given, else a tenth, at least five and two for each user.

        The users of a closed loop begin at once: by their second request they have drifted apart.

        >>> Load(concurrency=64, input_tokens=100).warmup_n
        128
        """
        if self.warmup is not None:
            return self.warmup
        return max(self.requests // 10, 5, 2 * (self.concurrency or 0))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits at which a run waits or stops; None sets no limit.

    A rate limit spaces requests out (tokens: input and the output allowed). A server that fails now
    and then is measured, one that is gone is not: hence both conditions of `max_errors`. A
    request's time limit includes its retries.
    """

    panel: ClassVar = "Limits"

    max_concurrency: int | None = option(None, "Requests in flight at once.", least=1)
    requests_per_min: float | None = option(None, "Requests per minute.", flag="--rpm")
    tokens_per_min: float | None = option(None, "Tokens per minute.", flag="--tpm")
    max_errors: int | None = option(
        20, "Failed requests that stop the run, once more than half have failed.", least=1
    )
    max_spend_usd: float | None = option(
        None, "USD at which it stops; needed where requests are billed.", metavar="USD"
    )
    timeout_s: float = option(600.0, "Time limit of one request, retries included.", unit="s")
    max_retries: int = option(2, "Retries of one request.", least=0)

    def __post_init__(self) -> None:
        """Refuse a limit of 0, which would stop every request."""
        for name, value in asdict(self).items():
            if value is None or 0 < value < inf or (value == 0 and name == "max_retries"):
                continue
            raise ValueError(f"{name} is {value:g}: give a limit above 0")


@dataclass(frozen=True, kw_only=True)
class Billing:
    """What the endpoint bills for its tokens."""

    panel: ClassVar = "Limits"

    provider: str | None = option(
        None, "Provider in the price list, where the address does not show it."
    )
    price: tuple[float, float] | None = option(
        None,
        "USD per million tokens, 'input,output'; 0,0 for a server of your own.",
        metavar="IN,OUT",
        cli=str,
        parse=_price,
    )


@dataclass(frozen=True, kw_only=True)
class SLO:
    """Limits of a good request, all of which it meets, and the share that must be good.

    Raises: ValueError without any limit, with one that is not above 0, or a share outside (0, 1).
    """

    panel: ClassVar = "The SLO"

    ttft_s: float | None = option(
        None, "First token within: '800 ms'.", flag="--slo-ttft", metavar="TIME", unit="s"
    )
    tpot_s: float | None = option(
        None, "Time per output token within: '50 ms'.", flag="--slo-tpot", metavar="TIME", unit="s"
    )
    e2e_s: float | None = option(
        None, "Whole answer within: '10 s'.", flag="--slo-e2e", metavar="TIME", unit="s"
    )
    attainment_share: float = option(
        0.95, "Share of requests that must be good.", least=0.01, most=0.999
    )

    def __post_init__(self) -> None:
        if not self.limits or not all(0 < limit < inf for limit in self.limits.values()):
            raise ValueError(f"{self}: give at least one limit, each above 0 s and finite")
        if not 0 < self.attainment_share < 1:
            raise ValueError(f"{self}: give attainment_share between 0 and 1, such as 0.95")

    @property
    def limits(self) -> dict[str, float]:
        """The limits given, in seconds, by metric."""
        every = {"ttft_s": self.ttft_s, "tpot_s": self.tpot_s, "e2e_s": self.e2e_s}
        return {name: limit for name, limit in every.items() if limit is not None}


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The range of a search, and how long it goes on."""

    panel: ClassVar = "The search"

    low_per_s: float = option(1.0, "Lowest rate, requests per second.", flag="--from")
    high_per_s: float = option(64.0, "Highest rate.", flag="--to")
    resolution_share: float = option(0.1, "Width of the answer, as a share.")
    max_requests: int = option(20_000, "Requests in all.", least=100)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of vLLM to compare, and the points to measure at each."""

    panel: ClassVar = "Options"

    quantization: Sequence[str] = option(
        ("none",), "none, fp8; repeatable. [default: none]", cli=list[str]
    )
    tensor_parallel: Sequence[int] = option(
        (1,), "GPUs per server; repeatable. [default: 1]", least=1, cli=list[int]
    )
    prefix_caching: Sequence[bool] = option(
        (False,), "off, on; repeatable. [default: off]", cli=list[str], parse=_switches
    )
    lora: Sequence[bool] = option(
        (False,),
        "off, or on with a random adapter; repeatable. [default: off]",
        cli=list[str],
        parse=_switches,
    )
    lengths: Sequence[tuple[int, int]] = option(
        ((1024, 1024), (8192, 1024), (1155, 211)),
        "Tokens in and out, INxOUT; repeatable. [default: 1024x1024, 8192x1024, 1155x211]",
        cli=list[str],
        parse=_lengths,
    )
    concurrency: Sequence[int] = option(
        (),
        "Measure at these, each with each length. [default: the most informative points]",
        least=1,
        cli=list[int],
    )
    max_concurrency: int = option(256, "Highest concurrency of the points to choose.", least=1)
    max_points: int = option(8, "How many points to choose, at most.", flag="--points", least=4)
    max_point_s: float = option(60.0, "Longest time that a point may take.", unit="s")
    bench: bool = option(False, "Run `vllm bench serve` beside it, at one point per setting.")
    offline: bool = option(
        False, "The engine in this process, whole batches: no server, no arrivals."
    )
    python: Path | None = option(None, "Interpreter that has vLLM. [default: this one]")
    flags: Sequence[str] = option(
        (),
        "Further flag of `vllm serve`: --flag=--enforce-eager; repeatable.",
        flag="--flag",
        metavar="FLAG",
        cli=list[str],
    )
    seed: int = option(lambda: secrets.randbits(31), "Of the prompts. [default: drawn]", least=0)

    def __post_init__(self) -> None:
        """Refuse lengths that have no TPOT."""
        for input_tokens, output_tokens in self.lengths:
            if input_tokens < 1 or output_tokens < 2:
                raise ValueError(
                    f"lengths {input_tokens}x{output_tokens}: give at least one token in and two "
                    "out"
                )
