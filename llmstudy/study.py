"""What question is being decided, on which assumptions: the study file.

A study is one YAML file. Every assumption in it is a value with its unit, range, source, date and
grade, or names a bundled figure. Anything unclear is refused with the file, the line and the way
to mend it: an unknown key, a missing unit, a value outside its range, an unanswered question.
"""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from llmstudy import paths, units
from llmstudy.figure import GRADES, Figure


class StudyError(ValueError):
    """A study file that cannot be used: one sentence per fault, each with file and line."""


# --- quantities -----------------------------------------------------------------------------

_LONG_FORM = {"value", "unit", "range", "distribution", "source", "as_of", "grade", "expires"}


@cache
def bundled_figures() -> Mapping[str, Figure]:
    """The figures of `data/assumptions.csv` by name, which a study may use as `{figure: NAME}`."""
    with paths.data("assumptions.csv").open(newline="") as file:
        return {row["name"]: _bundled(row) for row in csv.DictReader(file)}


def _bundled(row: Mapping[str, Any]) -> Figure:
    return Figure(
        name=row["name"],
        value=float(row["value"]),
        unit=row["unit"],
        low=float(row["low"]),
        high=float(row["high"]),
        distribution=row["distribution"],
        grade=row["grade"],
        source=row["source"],
        as_of=date.fromisoformat(row["as_of"]),
    )


def quantity(
    unit: str, low: float = 0.0, high: float = math.inf, unknown: str | None = None
) -> BeforeValidator:
    """A validator that turns what a study writes into a `Figure` in `unit`.

    Accepts `"400 ms"`; `{value, unit, range, distribution, source, as_of, grade}`; `{figure: NAME}`
    for a bundled figure; and `unknown`, where `unknown` names the wide prior to take.
    """

    def read(given: Any) -> Figure:
        if isinstance(given, Figure):
            return given
        if given == "unknown" and unknown:
            return bundled_figures()[unknown]
        figure = _figure(given, unit)
        ends = [x for x in (figure.value, figure.low, figure.high) if x is not None]
        if min(ends) < low or max(ends) > high:
            upper = f" to {high:g}" if high < math.inf else " or more"
            raise ValueError(f"is {figure.value:g} {unit}, but must be {low:g}{upper} {unit}.")
        return figure

    return BeforeValidator(read)


def _figure(given: Any, unit: str) -> Figure:
    if isinstance(given, bool | int | float):
        raise ValueError(f"is {given}, but a unit is missing. {units.examples(float(given), unit)}")
    if isinstance(given, str):
        return Figure("", units.parse(given, unit), unit, source="study file")
    if not isinstance(given, Mapping):
        raise ValueError(f"is not a quantity. {units.examples(1, unit)}")
    if set(given) == {"figure"}:
        return _named(str(given["figure"]), unit)
    return _long_form(given, unit)


def _named(name: str, unit: str) -> Figure:
    figure = bundled_figures().get(name)
    if figure is None:
        raise ValueError(
            f'names the figure "{name}", which is not bundled. Known: '
            f"{', '.join(n for n in bundled_figures() if not n.startswith('unknown.'))}."
        )
    if figure.unit != unit:
        raise ValueError(f'names the figure "{name}" in {figure.unit}, but needs {unit}.')
    return figure


def _long_form(given: Mapping[str, Any], unit: str) -> Figure:
    if strange := set(given) - _LONG_FORM:
        raise ValueError(
            f"has the unknown key {sorted(strange)[0]!r}. Use {', '.join(sorted(_LONG_FORM))}."
        )
    if missing := {"value", "unit", "source", "as_of", "grade"} - set(given):
        raise ValueError(f"lacks {', '.join(sorted(missing))}: an assumption must say all of them.")
    if given["grade"] not in GRADES:
        raise ValueError(f"has the grade {given['grade']!r}. Use one of {', '.join(GRADES)}.")
    scale = units.factor(str(given["unit"]), unit)
    low, high = given.get("range", [None, None])
    kind = given.get("distribution", "fixed" if low is None else "triangular")
    return Figure(
        name="",
        value=float(given["value"]) * scale,
        unit=unit,
        low=None if low is None else float(low) * scale,
        high=None if high is None else float(high) * scale,
        distribution=kind,
        grade=given["grade"],
        source=str(given["source"]),
        as_of=given["as_of"],
        expires=given.get("expires"),
    )


def _yes_no(given: Any) -> Any:
    return {True: "yes", False: "no"}.get(given, given) if isinstance(given, bool) else given


Seconds = Annotated[Figure, quantity("s")]
Share = Annotated[Figure, quantity("share", 0, 1)]
Months = Annotated[Figure, quantity("months")]
Weeks = Annotated[Figure, quantity("weeks")]
Usd = Annotated[Figure, quantity("USD")]
Factor = Annotated[Figure, quantity("factor/year", 0.01, 100)]
Answer = Annotated[Literal["yes", "no", "unknown"], BeforeValidator(_yes_no)]
DataClass = Literal["consumer", "enterprise", "phi", "mnpi", "government", "eu_strict", "unknown"]
ArmName = Literal["proprietary_api", "hosted_open", "self_hosted"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


# --- workloads ------------------------------------------------------------------------------


class Intake(_Strict):
    """The Strategist's six questions (MEMO T7); the p95 target, the second, stands in `slo`."""

    requests: Annotated[Figure, quantity("requests/month", 1, 1e12, unknown="unknown.requests")]
    input_tokens: Annotated[
        Figure, quantity("tokens/request", 1, 1e7, unknown="unknown.input_tokens")
    ]
    output_tokens: Annotated[
        Figure, quantity("tokens/request", 1, 1e6, unknown="unknown.output_tokens")
    ]
    data_class: DataClass
    peak_to_mean: Annotated[Figure, quantity("factor", 1, 100, unknown="unknown.peak_to_mean")]
    context_tokens: Annotated[Figure, quantity("tokens", 1, 1e8, unknown="unknown.context_tokens")]
    gpu_platform: Answer


class Slo(_Strict):
    """What the user must get: time to the first token and pace after it, both at the p95."""

    ttft_p95: Annotated[Figure, quantity("s", 1e-3, 3600, unknown="unknown.ttft_p95")]
    tpot_p95: Annotated[Figure, quantity("s", 1e-4, 60)]


class Traffic(_Strict):
    """Published shapes that requests are drawn from when there is no log."""

    tokens: Literal["azure_conversation_2023"] = "azure_conversation_2023"
    hours: Literal["servegen-m-large", "servegen-m-mid", "servegen-m-small", "ragpulse"]


class PairedEvidence(_Strict):
    """Which paired counts speak for a route: rows of `data/paired_counts.csv`, or own counts."""

    benchmark: str
    subject: str = "all"
    model_proprietary: str
    model_open: str
    counts: tuple[int, int, int, int] | None = Field(
        default=None, description="both right, only current, only candidate, neither"
    )
    source: str = ""
    as_of: date | None = None


class Quality(_Strict):
    """How much worse an answer may get, and what a move must rest on."""

    margin: Share
    lowest_grade: Literal["measured", "published"]
    evidence: dict[str, PairedEvidence] = {}


class Workload(_Strict):
    """One named class of requests, and the routes that could serve it."""

    task: Literal["chat", "classification", "extraction", "summarisation", "routing", "reasoning"]
    complexity: Literal["low", "medium", "high"]
    current_route: str
    candidates: tuple[str, ...]
    intake: Intake
    slo: Slo
    traffic: Traffic
    growth: Annotated[Figure, quantity("share/month", -0.5, 1)]
    cached_input_share: Share
    retry_share: Share
    quality: Quality
    format_failure_share: Share | None = None

    @property
    def routes(self) -> tuple[str, ...]:
        """Current route first, then the candidates."""
        return (self.current_route, *self.candidates)


# --- routes ---------------------------------------------------------------------------------


class Contract(_Strict):
    """A signed agreement that a route brings, and the last day it holds."""

    kind: Literal["dpa", "baa", "no_training", "no_retention", "soc2", "eu_region", "mnpi_approval"]
    valid_until: date


class TokenRates(_Strict):
    """A negotiated price, for a route that the public price list lacks."""

    input: Annotated[Figure, quantity("USD/Mtok")]
    cached_input: Annotated[Figure, quantity("USD/Mtok")]
    output: Annotated[Figure, quantity("USD/Mtok")]


class ApiRoute(_Strict):
    """A route that is billed by the token: a proprietary API, or open weights at a host."""

    arm: Literal["proprietary_api", "hosted_open"]
    provider: str
    model: str
    tier: Literal["standard", "batch", "priority", "flex"] = "standard"
    price: TokenRates | None = None
    context_tokens: Annotated[Figure, quantity("tokens", 1)]
    ttft_p95: Seconds
    contracts: tuple[Contract, ...] = ()


class Commitment(_Strict):
    """How the rented GPUs are paid for; the shares must sum to 1."""

    on_demand: Share
    reserved: Share
    spot: Share

    @model_validator(mode="after")
    def _sums_to_one(self) -> "Commitment":
        total = self.on_demand.value + self.reserved.value + self.spot.value
        if abs(total - 1) > 1e-6:
            raise ValueError(f"sums to {total:.0%}, but the three shares must make 100 %.")
        return self


class SelfHostedRoute(_Strict):
    """A route on rented GPUs under vLLM, sized from measured serving points."""

    arm: Literal["self_hosted"]
    model: str
    gpu: str
    rented_from: str
    commitment: Commitment
    precision: Literal["bf16", "fp8", "fp4"]
    engine_version: str = "not recorded"
    tensor_parallel: int = Field(ge=1, le=16)
    context_tokens: Annotated[Figure, quantity("tokens", 1)]
    contracts: tuple[Contract, ...] = ()


Route = Annotated[ApiRoute | SelfHostedRoute, Field(discriminator="arm")]


# --- the rest of a study --------------------------------------------------------------------


class Log(_Strict):
    """A real request log, and what it lacks."""

    path: Path
    format: Literal["azure", "csv", "jsonl", "parquet"]
    columns: dict[str, str] = {}
    workload: str | None = None
    provider: str | None = None
    model: str | None = None


class Team(_Strict):
    """Who could run a model service (C6, T4)."""

    experienced_ml_engineers: int = Field(ge=0)
    usd_per_fte_year: Annotated[Figure, quantity("USD/year")]


class PriceDrift(_Strict):
    """How prices move each year, as a factor, for what each arm buys."""

    proprietary_api: Factor
    hosted_open: Factor
    gpu: Factor


class SelfHosting(_Strict):
    """What self-hosting costs beyond the GPUs."""

    fte: Annotated[Figure, quantity("FTE")]
    overhead_share: Share
    target_utilisation: Annotated[Figure, quantity("share", 0.05, 1)]
    spare_replicas: int = Field(ge=0)


class Moving(_Strict):
    """One-off cost of moving one workload, and months until it is served there."""

    cost: Usd
    ramp: Months


class Thresholds(_Strict):
    """Where this organisation draws its lines."""

    month_budget: Annotated[Figure, quantity("USD/month")]
    probability: Annotated[Figure, quantity("share", 0.5, 1)]
    saving: Annotated[Figure, quantity("USD")]
    price_rise: Share
    format_failure: Share
    sustained: Weeks


class Study(_Strict):
    """A question, its assumptions and its evidence."""

    study: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    question: str
    company: str
    owner: str
    decider: str
    status: Literal["draft", "decided", "superseded"]
    as_of: date
    decide_by: date
    seed: int = Field(ge=0)
    horizon: Annotated[Figure, quantity("months", 1, 60)]
    volume_cap: Annotated[Figure, quantity("requests/month", 1e3, 1e13)]
    prompting_and_retrieval_insufficient: Answer
    requests: Log | None = None
    team: Team
    price_drift: PriceDrift
    self_hosting: SelfHosting
    moving: dict[ArmName, Moving]
    usd_per_golden_item: Annotated[Figure, quantity("USD/item")]
    thresholds: Thresholds
    routes: dict[str, Route]
    workloads: dict[str, Workload]

    @property
    def months(self) -> int:
        """The horizon in whole months."""
        return round(self.horizon.value)

    @model_validator(mode="after")
    def _names_agree(self) -> "Study":
        for arm in ("proprietary_api", "hosted_open", "self_hosted"):
            if arm not in self.moving:
                raise ValueError(f"moving.{arm} is missing: what would moving there cost?")
        for name, workload in self.workloads.items():
            for route in workload.routes:
                if route not in self.routes:
                    raise ValueError(
                        f'workloads.{name} names the route "{route}", which is not under routes: '
                        f"{', '.join(self.routes)}."
                    )
            for route in workload.quality.evidence:
                if route not in workload.candidates:
                    raise ValueError(
                        f'workloads.{name}.quality.evidence speaks for "{route}", which is not '
                        "one of the workload's candidates."
                    )
        log = self.requests
        if log and log.workload and log.workload not in self.workloads:
            raise ValueError(
                f'requests.workload is "{log.workload}", which is not under workloads: '
                f"{', '.join(self.workloads)}."
            )
        return self

    def figures(self) -> dict[str, Figure]:
        """Every assumption by its path in the file, as a ledger reads them."""
        return dict(_figures(self, ""))

    def unknown(self) -> list[str]:
        """Paths of the intake questions answered `unknown`."""
        paths_ = [p for p, figure in self.figures().items() if figure.name.startswith("unknown.")]
        for name, workload in self.workloads.items():
            intake = workload.intake
            for question in ("data_class", "gpu_platform"):
                if getattr(intake, question) == "unknown":
                    paths_.append(f"workloads.{name}.intake.{question}")
        if self.prompting_and_retrieval_insufficient == "unknown":
            paths_.append("prompting_and_retrieval_insufficient")
        return paths_


def _figures(node: Any, path: str) -> Iterator[tuple[str, Figure]]:
    if isinstance(node, Figure):
        yield path, node
    elif isinstance(node, BaseModel):
        for field in type(node).model_fields:
            yield from _figures(getattr(node, field), f"{path}.{field}" if path else field)
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _figures(value, f"{path}.{key}")


# --- loading --------------------------------------------------------------------------------


def load(path: str | Path) -> Study:
    """The study in a YAML file, checked in full.

    Relative paths inside the file are relative to the file.

    Raises: StudyError with one line per fault, `file:line: sentence`.

    >>> load(paths.params("default.yaml")).study
    'default'
    """
    file = paths.resolve(path)
    shown = Path(path)
    if not file.is_file():
        raise StudyError(f"{shown}: no such study file. Make one with `llmstudy init DIR`.")
    try:
        document = YAML(typ="rt").load(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise StudyError(
            f"{shown}: not UTF-8 text at byte {error.start}: save it as such."
        ) from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise StudyError(f"{shown}:{line}: {error.problem} (not valid YAML).") from None
    if not isinstance(document, Mapping):
        raise StudyError(f"{shown}:1: a study file is a mapping of keys; this one is empty or not.")
    try:
        study = Study.model_validate(_plain(document))
    except ValidationError as error:
        faults = [_sentence(shown, document, fault) for fault in error.errors()]
        raise StudyError("\n".join(dict.fromkeys(faults))) from None
    if study.requests and not study.requests.path.is_absolute():
        log = study.requests.model_copy(update={"path": file.parent / study.requests.path})
        study = study.model_copy(update={"requests": log})
    return study


def _plain(node: Any) -> Any:
    """ruamel's round-trip types as plain ones, which pydantic checks strictly."""
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


_MISSING = {
    "requests": "how many requests a month?",
    "input_tokens": "how many tokens goes a request in with?",
    "output_tokens": "how many tokens comes an answer out with?",
    "ttft_p95": "how soon must the first token come at the p95?",
    "data_class": "how sensitive is the data?",
    "peak_to_mean": "how much busier is the peak hour than the mean one?",
    "context_tokens": "how long a context is needed?",
    "gpu_platform": "do you already run Kubernetes with GPUs?",
}


def _sentence(file: Path, document: Any, fault: Any) -> str:
    """One pydantic fault as `file:line: sentence`."""
    # A discriminated union puts the arm's name into the location; the file has no such key.
    arms = ("proprietary_api", "hosted_open", "self_hosted")
    location = [
        key
        for i, key in enumerate(fault["loc"])
        if not (key in arms and i == 2 and fault["loc"][0] == "routes")
    ]
    name = ".".join(map(str, location)) or "the study"
    line = _line(document, location)
    kind, message = fault["type"], fault["msg"].removeprefix("Value error, ")
    if kind == "missing":
        asks = _MISSING.get(str(location[-1]))
        what = f": {asks} Answer it, or write unknown." if asks else ": add it."
        return f"{file}:{line}: {name} is missing{what}"
    if kind == "extra_forbidden":
        return f"{file}:{line}: {name} is not a key that a study knows. Remove or correct it."
    if kind == "literal_error":
        legal = fault["ctx"]["expected"]
        return f"{file}:{line}: {name} is {fault['input']!r}, but must be one of {legal}."
    if kind == "value_error":
        joined = message if location == [] else f"{name} {message}"
        return f"{file}:{line}: {joined}"
    return f"{file}:{line}: {name}: {message} (got {fault['input']!r})."


def _line(document: Any, location: Sequence[Any]) -> int:
    """Line (from 1) of the deepest key of a location that the file has."""
    node, line = document, 1
    for key in location:
        try:
            if isinstance(node, Mapping):
                line = node.lc.key(key)[0] + 1  # type: ignore[attr-defined]
            else:
                line = node.lc.item(key)[0] + 1
            node = node[key]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line
