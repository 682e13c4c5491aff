"""Composes a first study file from the answers to six questions, or fewer, and from a log.

A missing answer becomes `unknown`, which takes a wide prior. Monthly tokens and the invoice for
them can replace requests and tokens per request: at list prices the two give the split between
input and output. A log gives its workloads, with today's model and the measured figures of each.
Nothing is written here; `compose` returns the text.
"""

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from importlib.resources import files
from math import ceil, floor, isclose, log10
from pathlib import Path
from typing import Any, NamedTuple, get_args

from jinja2 import Environment, StrictUndefined

from llmstudy import prices, units
from llmstudy.figure import Figure
from llmstudy.measures import privacy, quality
from llmstudy.measures.cost import TokenPrice, api_usd_per_request
from llmstudy.prices import ApiRate
from llmstudy.study import DataClass, Study, StudyError, bundled_figures, load

UNKNOWN = "unknown"

# --- the questions --------------------------------------------------------------------------


def number(text: str) -> float:
    """Reads a number above zero, as people type it.

    Raises: ValueError if the text is anything else.

    >>> number("1,200,000"), number("2.5B"), number("8.4k")
    (1200000.0, 2500000000.0, 8400.0)
    """
    match = re.fullmatch(
        r"([1-9]\d{0,2}(?:[,_]\d{3})+(?:\.\d+)?|\d+\.?\d*(?:e\d+)?|\.\d+) ?([kMB]?)", text.strip()
    )
    value = float(match[1].replace(",", "").replace("_", "")) * _SCALES[match[2]] if match else 0.0
    if value <= 0:
        raise ValueError(f'is "{text}", not a number above zero. Write 1200000 or 1.2M.')
    return value


_SCALES = {"": 1.0, "k": 1e3, "M": 1e6, "B": 1e9}


def _time(text: str) -> str:
    units.parse(text, "s")
    return text


def _one_of(choices: tuple[str, ...], text: str) -> str:
    if text not in choices:
        raise ValueError(f'is "{text}", but must be one of {", ".join(choices)}.')
    return text


DATA_CLASSES = tuple(name for name in get_args(DataClass) if name != UNKNOWN)


class Question(NamedTuple):
    """One thing to ask. `read` turns an answer into a value, or raises ValueError."""

    field: str
    prompt: str
    read: Callable[[str], Any]


QUESTIONS = (
    Question("provider", "    Which provider today, such as openai?", str),
    Question("model", "    Which model, such as gpt-4o?", str),
    Question("requests", "1/6 How many requests a month?", number),
    Question("input_tokens", "    How many input tokens per request?", number),
    Question("output_tokens", "    How many output tokens per request?", number),
    Question("monthly_tokens", "    How many tokens did last month's invoice bill?", number),
    Question("invoice_usd", "    What did they cost, in USD?", number),
    Question("ttft_p95", "2/6 Limit on the p95 time to first token, such as 800 ms?", _time),
    Question(
        "data_class",
        f"3/6 Most sensitive data ({', '.join(DATA_CLASSES)})?",
        partial(_one_of, DATA_CLASSES),
    ),
    Question("peak_to_mean", "4/6 Requests of the peak hour over those of the mean hour?", number),
    Question("context", "5/6 How many tokens of context must fit?", number),
    Question(
        "gpu_platform",
        "6/6 Do you already run Kubernetes with GPUs (yes, no)?",
        partial(_one_of, ("yes", "no")),
    ),
)


@dataclass(frozen=True)
class Answers:
    """The author's answers on the day `as_of`. None: unknown.

    requests, monthly_tokens and invoice_usd are of one month, input_tokens and output_tokens of one
    request; context is in tokens; ttft_p95 is text with its unit.
    """

    name: str
    as_of: date
    provider: str | None = None
    model: str | None = None
    requests: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    monthly_tokens: float | None = None
    invoice_usd: float | None = None
    ttft_p95: str | None = None
    data_class: str | None = None
    peak_to_mean: float | None = None
    context: float | None = None
    gpu_platform: str | None = None


@dataclass(frozen=True)
class LoggedWorkload:
    """What a log tells of one workload.

    provider, model: those that served most of its requests, as the price list calls them; None if
    it lists none. share: of the log's requests. longest_tokens: input and output of its longest
    request. shape: its tokens, in words. task: None if its name does not tell. figures: measured,
    by the last part of their path in a study; what is not there, the log does not tell.
    """

    name: str = "product"
    provider: str | None = None
    model: str | None = None
    share: float = 1.0
    longest_tokens: float = 0.0
    shape: str = ""
    task: str | None = None
    figures: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyLog:
    """A log as a study names it.

    path: relative to the study file. format: by its name, with title as users call it. by: what
    tells the workloads. meaning: the other keys of `requests`, such as columns. workloads: at least
    one, the largest first.
    """

    path: str
    format: str
    title: str
    by: str
    meaning: Mapping[str, Any]
    workloads: tuple[LoggedWorkload, ...]


class InvoiceError(ValueError):
    """Monthly tokens and an invoice that contradict each other or the other answers."""


# --- volume and tokens from an invoice ------------------------------------------------------


def input_share(
    rate: ApiRate, monthly_tokens: float, invoice_usd: float, cached_input_share: float
) -> float:
    """Share of the billed tokens that are input, from what they cost together.

    Two equations, tokens in and out at their list prices: in + out = tokens and
    in * p_in + out * p_out = invoice, where p_in is the mean of the plain and the cached rate.
    Returns: share in [0, 1].
    Raises: InvoiceError where no split of the tokens costs that much.

    >>> rate = prices.rate("openai", "gpt-4o", date(2026, 11, 23))
    >>> input_share(rate, 1e9, 4_000, cached_input_share=0.0)
    0.8
    """
    c, output_usd = cached_input_share, rate.output_usd_per_mtok
    input_usd = (1 - c) * rate.input_usd_per_mtok + c * rate.cached_input_usd_per_mtok
    usd_per_mtok = invoice_usd / monthly_tokens * 1e6
    low, high = sorted((input_usd, output_usd))
    if rate.has_time_of_day or isclose(low, high):
        why = "changes by the hour" if rate.has_time_of_day else "is the same for input and output"
        raise InvoiceError(
            f"the price of {rate.model} {why}, so an invoice cannot tell input from output: "
            "give the input and output tokens of a request instead."
        )
    if not low <= usd_per_mtok <= high:
        raise InvoiceError(
            f"USD {invoice_usd:,.0f} for {monthly_tokens:,.0f} tokens is USD {usd_per_mtok:.3g} a "
            f"million, but {rate.model} bills USD {input_usd:.3g} for input, {c:.0%} of it cached, "
            f"and {output_usd:.3g} for output: correct the invoice, the tokens or the model."
        )
    return (output_usd - usd_per_mtok) / (output_usd - input_usd)


@dataclass(frozen=True)
class _Volume:
    """Requests per month, and tokens per request. None: unknown."""

    requests: Figure | None
    input_tokens: Figure | None
    output_tokens: Figure | None

    @property
    def complete(self) -> bool:
        return None not in (self.requests, self.input_tokens, self.output_tokens)


def _volume(answers: Answers, rate: ApiRate, logged: LoggedWorkload) -> _Volume:
    if answers.monthly_tokens is None and answers.invoice_usd is None:
        requests = answers.requests and answers.requests * logged.share
        return _Volume(
            _stated(requests, "requests/month", answers.as_of) or logged.figures.get("requests"),
            *(
                _stated(getattr(answers, side), "tokens/request", answers.as_of)
                or logged.figures.get(side)
                for side in ("input_tokens", "output_tokens")
            ),
        )
    if answers.monthly_tokens is None or answers.invoice_usd is None:
        raise InvoiceError("monthly tokens are used only with the invoice for them: give both.")
    if answers.input_tokens is not None or answers.output_tokens is not None:
        raise InvoiceError(
            "give the input and output tokens of a request, or monthly tokens with their invoice."
        )
    return _billed(answers, rate, answers.monthly_tokens, answers.invoice_usd)


def _billed(answers: Answers, rate: ApiRate, monthly_tokens: float, invoice_usd: float) -> _Volume:
    """Volume and tokens from what was billed: together they cost the invoice again."""
    # Only their product was measured, so each is assumed; and none has a range, because independent
    # ranges would make a bill uncertain that was billed to the cent.
    invoice = f"an invoice of USD {invoice_usd:,.2f} for {monthly_tokens:,.0f} tokens (measured)"
    share = input_share(rate, monthly_tokens, invoice_usd, _central("traffic.cached_input_share"))
    once = monthly_tokens / (1 + _central("traffic.retry_share"))  # the invoice holds the retries
    per_request = _central("unknown.input_tokens") + _central("unknown.output_tokens")
    length = f"{per_request:,.0f} tokens a request assumed"
    if answers.requests is not None:
        per_request, length = once / answers.requests, f"over {answers.requests:,.0f} requests"
    if min(share, 1 - share) * per_request < 1:
        raise InvoiceError(
            f"{invoice} leaves a request less than one token of input or of output: correct it."
        )
    split = f"derived from {invoice}, {share:.1%} of them input at list prices; {length}"

    def tokens(part: float) -> Figure:
        return _assumed(part * per_request, "tokens/request", split, answers.as_of)

    stated = _stated(answers.requests, "requests/month", answers.as_of)
    derived = _assumed(
        once / per_request, "requests/month", f"derived from {invoice}; {length}", answers.as_of
    )
    return _Volume(stated or derived, tokens(share), tokens(1 - share))


def _stated(value: float | None, unit: str, as_of: date) -> Figure | None:
    return None if value is None else _assumed(value, unit, "answered at init", as_of)


def _assumed(value: float, unit: str, source: str, as_of: date) -> Figure:
    return Figure("", value, unit, grade="assumed", source=source, as_of=as_of)


def _month_usd(arm: str, rate: ApiRate, volume: _Volume, shares: Mapping[str, Figure]) -> float:
    """Today's bill by the study file; an unknown answer counts as the middle of its prior.

    shares: measured, cached_input_share and retry_share.
    """
    per_token = TokenPrice(
        arm,
        uncached_input_usd=rate.input_usd_per_mtok / 1e6,
        cached_input_usd=rate.cached_input_usd_per_mtok / 1e6,
        output_usd=rate.output_usd_per_mtok / 1e6,
        input_tokens=1.0,
        output_tokens=1.0,
        month_factors=(1.0,),
        written_input_usd=rate.input_usd_per_mtok / 1e6,
    )

    def value(figure: Figure | None, prior: str) -> float:
        return _central(prior) if figure is None else figure.value

    usd_per_request = api_usd_per_request(
        per_token,
        value(volume.input_tokens, "unknown.input_tokens"),
        value(volume.output_tokens, "unknown.output_tokens"),
        cached_input_share=value(shares.get("cached_input_share"), "traffic.cached_input_share"),
        retry_share=value(shares.get("retry_share"), "traffic.retry_share"),
    )
    return float(usd_per_request) * value(volume.requests, "unknown.requests")


def _central(figure: str) -> float:
    return bundled_figures()[figure].value


# --- the text -------------------------------------------------------------------------------

PROVIDER, MODEL = "openai", "gpt-4o"
"""Assumed where no answer names today's model; the file says so too."""

OPEN_FAMILIES = re.compile(
    r"llama|qwen|deepseek|gpt-oss|mixtral|gemma|kimi|glm-|minimax|nemotron|olmo|phi-", re.IGNORECASE
)
"""Names of models with open weights; a route to one of these has the arm `hosted_open`."""

_HOSTED = ("together", "meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo")
_HOSTED_ROUTE, _SELF_HOSTED_ROUTE = "together-llama-3.1-70b", "h200-llama-3.1-70b"
_USUAL_CONTEXT_TOKENS = 128_000


@dataclass(frozen=True)
class Starter:
    """A study file's text, today's bill by it (usd a month), and notes for its author."""

    text: str
    month_usd: float
    notes: tuple[str, ...]


def compose(answers: Answers, log: StudyLog | None = None) -> Starter:
    """Composes the file: today's routes, one host of open weights, one self-hosted fleet.

    log: a request log, which gives the workloads and what no answer gives.
    Raises: PriceError if the model has no list price, InvoiceError if the invoice does not fit it,
    ValueError if only one of provider and model is given or an invoice comes without them.

    >>> starter = compose(Answers("acme", date(2026, 11, 23), "openai", "gpt-4o",
    ...                           monthly_tokens=1e9, invoice_usd=4_000))
    >>> round(starter.month_usd)
    4000
    """
    if (answers.provider is None) != (answers.model is None):
        raise ValueError("the answers name a provider or a model, not both: give both, or neither.")
    if answers.model is None and answers.invoice_usd is not None:
        raise ValueError("which model is the invoice for? Give its provider and name.")
    logged = log.workloads if log else (LoggedWorkload(),)
    workloads = [_Composed.of(answers, each) for each in logged]
    routes = {each.route["route"]: each.route for each in workloads}
    longest = max([answers.context or 0, *(each.longest_tokens for each in logged)])
    month_usd = sum(each.month_usd for each in workloads)
    complete = all(each.volume.complete for each in workloads)
    text = _template().render(
        log=log,
        routes=[*routes.values()],
        workloads=[each.block | each.route for each in workloads],
        hosted=any(_HOSTED_ROUTE in each.route["candidates"] for each in workloads)
        and _HOSTED_ROUTE,
        self_hosted=_SELF_HOSTED_ROUTE,
        name=json.dumps(answers.name),
        as_of=answers.as_of,
        decide_by=answers.as_of + timedelta(days=30),
        seed=f"{answers.as_of:%Y%m%d}",
        # today's route holds what it serves today
        context_tokens=f"{max(longest, _USUAL_CONTEXT_TOKENS):.0f}",
        month_usd=month_usd,
        budget_usd=_rounded_up(1.5 * month_usd),
        bill_note="" if complete else ", with the middle of the prior for what is unknown",
    )
    return Starter(text, month_usd, tuple(dict.fromkeys(n for w in workloads for n in w.notes)))


@dataclass(frozen=True)
class _Composed:
    """A workload of the file: its route today, the values of its keys, its bill (usd a month)."""

    route: dict[str, Any]
    block: dict[str, Any]
    volume: _Volume
    month_usd: float
    notes: tuple[str, ...]

    @classmethod
    def of(cls, answers: Answers, logged: LoggedWorkload) -> "_Composed":
        if answers.model is None:
            answers = replace(answers, provider=logged.provider, model=logged.model)
        provider, model = answers.provider or PROVIDER, answers.model or MODEL
        rate = prices.rate(provider, model, answers.as_of)
        arm = "hosted_open" if OPEN_FAMILIES.search(model) else "proprietary_api"
        volume = _volume(answers, rate, logged)
        permission = privacy.permission(
            answers.data_class or UNKNOWN, arm, {}, answers.as_of, privacy.privacy_matrix()
        )
        route = _route(provider, model, arm) | {
            "contracts": permission.missing or ("dpa",),
            "route_note": "" if answers.model else f": not named, so {model} is assumed",
        }
        block = {
            **_intake(answers, volume, logged),
            "workload": json.dumps(logged.name, ensure_ascii=False) if logged.shape
            else logged.name,
            "shape": logged.shape,
            "task": logged.task or "chat",
            "assumed_task": bool(logged.shape) and logged.task is None,
        }  # fmt: skip
        month_usd = _month_usd(arm, rate, volume, logged.figures)
        return cls(route, block, volume, month_usd, _notes(answers, permission))


def draft(text: str) -> Study:
    """Loads the text of a study file, whose log has an absolute path if it is to be read.

    Raises: ValueError with what keeps it from loading.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "study.yaml")
        file.write_text(text, encoding="utf-8")
        try:
            return load(file)
        except StudyError as error:
            # the draft is gone, so its line numbers help nobody
            raise ValueError(re.sub(r"^.*?:\d+: ", "", str(error), flags=re.MULTILINE)) from None


def _template() -> Any:
    text = files("llmstudy.cli").joinpath("new_study.yaml.j2").read_text(encoding="utf-8")
    # the text is YAML, not HTML: what comes from outside is quoted as JSON, which YAML reads
    return Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(text)


def _route(provider: str, model: str, arm: str) -> dict[str, Any]:
    slug = re.sub(r"[^a-z0-9.]+", "-", f"{provider}-{model.rsplit('/')[-1]}".lower())
    hosted = [_HOSTED_ROUTE] if (provider, model) != _HOSTED else []
    return {
        "route": slug,
        "arm": arm,
        "provider": json.dumps(provider),
        "model": json.dumps(model),
        "ttft_figure": f"latency.{'api' if arm == 'proprietary_api' else 'hosted'}_ttft_p95",
        "candidates": [*hosted, _SELF_HOSTED_ROUTE],
        "paired_with": _paired_with(model),
    }


def _paired_with(model: str) -> str | None:
    """The name of a model in the published scores against the candidates' weights, if any."""
    table = quality.paired_table()
    scored = table[
        (table["benchmark"] == "zeroeval_gsm")
        & (table["model_open"] == "Meta-Llama-3.1-70B-Instruct")
    ]["model_proprietary"]
    dated = re.compile(re.escape(model) + r"(-\d{4}-?\d{2}-?\d{2})?")
    return next((name for name in scored if dated.fullmatch(name)), None)


def _intake(answers: Answers, volume: _Volume, logged: LoggedWorkload) -> dict[str, str]:
    measured = logged.figures
    peak_to_mean = _stated(answers.peak_to_mean, "x", answers.as_of)
    shares = {
        name: _written(measured[name]) if name in measured else f"{{figure: traffic.{name}}}"
        for name in ("cached_input_share", "retry_share")
    }
    return {
        "requests": _written(volume.requests),
        "input_tokens": _written(volume.input_tokens),
        "output_tokens": _written(volume.output_tokens),
        "ttft_p95": json.dumps(answers.ttft_p95 or UNKNOWN),
        "data_class": answers.data_class or UNKNOWN,
        "peak_to_mean": _written(peak_to_mean or measured.get("peak_to_mean")),
        "needed_context_tokens": _written(_stated(answers.context, "tokens", answers.as_of)),
        "gpu_platform": json.dumps(answers.gpu_platform or UNKNOWN),
        **shares,
    }


def _written(figure: Figure | None) -> str:
    if figure is None:
        return UNKNOWN
    ends = ""
    if figure.low is not None and figure.high is not None and figure.low < figure.high:
        ends = f"range: [{figure.low:.6g}, {figure.high:.6g}], "
        if figure.distribution != "triangular":
            ends += f"distribution: {figure.distribution}, "
    return (
        f"{{value: {figure.value:.6g}, unit: {figure.unit}, {ends}"
        f"source: {json.dumps(figure.source)}, "
        f"as_of: {figure.as_of}, grade: {figure.grade}}}"
    )


def _rounded_up(x: float) -> str:
    """Rounds up to two digits.

    >>> _rounded_up(7_187), _rounded_up(150), _rounded_up(0)
    ('7200', '150', '0')
    """
    if x == 0:
        return "0"  # some models are free
    step = 10.0 ** (floor(log10(x)) - 1)
    return f"{ceil(x / step - 1e-9) * step:.10g}"


def _notes(answers: Answers, permission: privacy.Permission) -> tuple[str, ...]:
    notes = []
    if answers.model is None:
        notes.append(f"Today's model is not named: the file assumes {PROVIDER}/{MODEL}.")
    if permission.missing:
        notes.append(
            f"{permission.reason}: record what you have signed under `contracts`, "
            "or trigger G3 fires."
        )
    elif not permission.permitted:
        notes.append(f"{permission.reason}.")
    return tuple(notes)
