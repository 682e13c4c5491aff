"""Estimates a model's output tokens over those of the model whose answers were counted.

Two models bill different tokens for the same request. Input differs only by the tokenizer, since
the text is the same (`api_use.tokenizer`). Output differs by the tokenizer and by how much a model
writes, reasoning included; one ratio covers both.

A published benchmark gives tokens per case (`data/output_tokens.csv`). A model that it lacks is
treated as any model of its kind, with the spread of that kind: models that reason before they
answer, or that do not (`data/reasoning_models.csv`).
"""

from dataclasses import dataclass, replace
from functools import cache
from math import exp, hypot, log

import numpy as np
import pandas as pd
from scipy.special import ndtri

from llmstudy import paths
from llmstudy.figure import Figure
from llmstudy.prices.model_names import model_key
from llmstudy.study import Route, Study, Workload, bundled_figures

_BENCHMARK = "the aider polyglot benchmark"


@dataclass(frozen=True)
class Length:
    """Length of a model's answers: mean and standard deviation of log tokens per case.

    reasons: whether it reasons before it answers: yes, no or unknown. measured: whether the
    benchmark has the model; else the figures are those of its kind.
    """

    log_mean: float
    log_sd: float
    reasons: str
    measured: bool
    source: str


@cache
def _benchmark() -> pd.DataFrame:
    table = pd.read_csv(paths.data("output_tokens.csv"))
    return table.assign(log_tokens=np.log(table["tokens_per_case"]))


@cache
def _reasoning_models() -> dict[str, str]:
    table = pd.read_csv(paths.data("reasoning_models.csv"))
    return {model_key(m): str(r) for m, r in zip(table["model"], table["reasoning"], strict=True)}


@cache
def length_of(model: str, reasons: str = "unknown") -> Length:
    """Estimates the length of a model's answers.

    reasons: whether it reasons on its route: yes, no or unknown.

    For a measured model, all its measured settings that agree with `reasons` count, and their
    spread is the uncertainty. A reasoning model measured at one effort gets the spread that other
    models show between efforts. A model that was not measured is any model of its kind; if the kind
    is unknown, both are equally likely.

    >>> gpt5, llama = length_of("gpt-5"), length_of("meta-llama/Llama-3.1-70B")
    >>> gpt5.measured, round(exp(gpt5.log_mean)), llama.measured, llama.reasons
    (True, 6413, False, 'no')
    """
    table, key = _benchmark(), model_key(model)
    settings = table[[model_key(name) == key for name in table["model"]]]
    if reasons != "unknown" and (settings["reasoning"] == reasons).any():
        settings = settings[settings["reasoning"] == reasons]
    elif reasons != "unknown":
        settings = settings.iloc[:0]
    if len(settings):
        kinds = set(settings["reasoning"])
        kind = str(kinds.pop()) if len(kinds) == 1 else "unknown"
        logs = settings["log_tokens"]
        one_effort = (
            len(settings) == 1 and kind == "yes" and settings["setting"].iloc[0] != "default"
        )
        sd = _between_efforts() if one_effort else float(logs.std(ddof=0))
        source = f"{model} ({', '.join(settings['setting'])})"
        return Length(float(logs.mean()), sd, kind, True, source)
    kind = reasons if reasons != "unknown" else _reasoning_models().get(key, "unknown")
    mean, sd = _of_a_kind(kind)
    of_kind = {"yes": "any reasoning model", "no": "any model that does not reason"}
    return Length(mean, sd, kind, False, f"{model} ({of_kind.get(kind, 'any model')})")


def _between_efforts() -> float:
    """Standard deviation of log tokens per case between settings of a reasoning model.

    Pooled over the models with several settings.
    """
    by_model = _benchmark().query("reasoning == 'yes'").groupby("model")["log_tokens"]
    freedom = by_model.size() - 1
    return float(((by_model.var() * freedom).sum() / freedom.sum()) ** 0.5)


def _of_a_kind(reasons: str) -> tuple[float, float]:
    """Mean and standard deviation of log tokens per case among models of a kind."""
    logs = [_benchmark().query("reasoning == @kind")["log_tokens"] for kind in ("yes", "no")]
    moments = dict(zip(("yes", "no"), ((x.mean(), x.std(ddof=1)) for x in logs), strict=True))
    if reasons in moments:
        return moments[reasons]
    (mean_yes, sd_yes), (mean_no, sd_no) = moments.values()
    within = hypot(sd_yes, sd_no) / 2**0.5
    return (mean_yes + mean_no) / 2, hypot(within, (mean_yes - mean_no) / 2)


def ratio_of(route: Length, counted: Length, output_tokens: float) -> Figure:
    """Output tokens of a route's model over those of the counted model, for one workload.

    Log-normal: the logarithm is the difference of the two lengths, with the variances of both and
    of the step from the benchmark to another task (`output_tokens.task_spread`, a standard
    deviation given as a factor). Low and high are the P10 and P90. Grade: published if the
    benchmark has both models, else assumed.

    Reasoning does not shrink with the answer. If the route may reason and the counted model does
    not, the high end is at least that of an answer with the least usual number of reasoning tokens
    (`output_tokens.least_reasoning`).

    route, counted: as `length_of`. output_tokens: of one answer of the counted model.

    >>> ratio = ratio_of(length_of("gpt-5"), length_of("kimi-k2"), 211)
    >>> ratio.grade, round(ratio.value, 2), round(ratio.low, 1), round(ratio.high, 1)
    ('published', 3.97, 1.8, 8.8)
    """
    figures = bundled_figures()
    spread = log(figures["output_tokens.task_spread"].value)
    middle = route.log_mean - counted.log_mean
    reach = float(ndtri(0.9)) * hypot(route.log_sd, counted.log_sd, spread)
    low, high = exp(middle - reach), exp(middle + reach)
    if route.reasons != "no" and counted.reasons == "no":
        least = figures["output_tokens.least_reasoning"].value
        high = max(high, 1 + least / output_tokens)
    published = route.measured and counted.measured
    what = "tokens per case" if published else "spread of tokens per case"
    return Figure(
        "",
        (low * high) ** 0.5,
        "factor",
        low,
        high,
        "lognormal",
        "published" if published else "assumed",
        f"{what} in {_BENCHMARK}: {route.source}, over {counted.source}",
        figures["output_tokens.task_spread"].as_of,
    )


def output_tokens_ratio(study: Study, workload: Workload, route: Route) -> Figure:
    """Output tokens of a route over those that the workload states.

    The workload's tokens are those of the log's model, or else of today's route. The ratio is
    exactly 1 on today's route and for the counted model, the study's own where it states one, and
    else estimated by `ratio_of`. The figure is named after the model, so that two routes of one
    model share their draws.
    """
    today = study.routes[workload.current_route]
    counted, reasons = today.model, today.reasoning
    if workload.answered_by is not None:
        counted, reasons = workload.answered_by, "unknown"
    name = f"output_tokens_ratio.{model_key(route.model)}"
    if route != today and route.output_tokens_ratio is not None:
        return replace(route.output_tokens_ratio, name=name)
    if route == today or (one_model(counted, route.model) and reasons == route.reasoning):
        return Figure("", 1.0, "factor", source="the model whose answers were counted")
    lengths = length_of(route.model, route.reasoning), length_of(counted, reasons)
    return replace(ratio_of(*lengths, workload.intake.output_tokens.value), name=name)


def one_model(a: str, b: str) -> bool:
    """Whether two names, possibly at different hosts, mean the same model.

    >>> one_model("meta-llama/Llama-3.1-70B", "meta.llama3-1-70b-instruct-v1:0")
    True
    """
    return model_key(a) == model_key(b)


def as_answered_by(study: Study, workload: Workload, route: Route) -> Workload:
    """The workload with the output tokens of a route's model, at the value of its ratio."""
    ratio = output_tokens_ratio(study, workload, route).value
    tokens = workload.intake.output_tokens
    low, high = (None if x is None else x * ratio for x in (tokens.low, tokens.high))
    scaled = replace(tokens, value=tokens.value * ratio, low=low, high=high)
    intake = workload.intake.model_copy(update={"output_tokens": scaled})
    return workload.model_copy(update={"intake": intake})
