"""Would a model of today serve a workload for less, and is it as good on a public benchmark?

The rule for *best* stands here and nowhere else: of an arm, the cheapest dated model of the price
list whose score on a benchmark near the task lies within the workload's margin of today's model.
Where no such benchmark has both, a model is *not yet compared*. A score is a reason to compare on
items of one's own; it is unpaired, and proves nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any, Literal

import pandas as pd

from llmstudy import paths, prices
from llmstudy.evidence import offers
from llmstudy.evidence.case import Case
from llmstudy.measures import quality
from llmstudy.measures.cost import month_bills
from llmstudy.simulate.breakdown import price_frame, request_usage
from llmstudy.study import ApiRoute, Study, Workload
from llmstudy.text import share, usd

ApiArm = Literal["proprietary_api", "hosted_open"]

NEWEST_MONTHS = 18
"""Age up to which a model counts as one of today; assumed: an API model lives about as long."""

WORTH_A_WORD_SHARE = 0.95
"""Share of the cheapest route's bill above which a cheaper model is not worth a word."""

LISTED = "a listed model"
"""Stands among a study's routes for one that is none of them."""

ARM_OF_WEIGHTS: Mapping[str, ApiArm] = {"open": "hosted_open", "proprietary": "proprietary_api"}
_IN_WORDS = {"hosted_open": "hosted", "proprietary_api": "proprietary"}


@dataclass(frozen=True)
class Score:
    """What two models scored on one benchmark, a share each. setting: the model's, if any."""

    benchmark: str
    model: float
    today: float
    setting: str

    @property
    def difference(self) -> float:
        """By how much the model lies above today's."""
        return self.model - self.today


@cache
def _bundled(name: str) -> pd.DataFrame:
    return pd.read_csv(paths.data(name), keep_default_na=False)


def current_models(on: date) -> pd.DataFrame:
    """The models of at most 18 months on a day: model, arm, dated, dated_by, source.

    Source: `data/current_models.csv`; the price list has no dates.
    """
    table = _bundled("current_models.csv")
    table = table.assign(dated=pd.to_datetime(table["dated"]))
    oldest = pd.Timestamp(on) - pd.DateOffset(months=NEWEST_MONTHS)
    recent = table[(table["dated"] >= oldest) & (table["dated"] <= pd.Timestamp(on))]
    return recent.assign(arm=recent["weights"].map(ARM_OF_WEIGHTS)).reset_index(drop=True)


def compared(model: str, today: str, task: str | None = None) -> Score | None:
    """Both models' scores on a benchmark, near the task where one is named; None: not yet compared.

    >>> compared("gpt-oss-120b", "gpt-4o", "chat") is None
    True
    >>> score = compared("gpt-oss-120b", "gpt-4o", "reasoning")
    >>> score.benchmark, round(score.model, 3), round(score.today, 3)
    ('Aider polyglot', 0.418, 0.231)
    """
    for key, rows in _bundled("benchmark_scores.csv").groupby("benchmark", sort=True):
        benchmark = quality.benchmark(str(key), task or "reasoning")
        scored, before = _scored(rows, model), _scored(rows, today)
        if (benchmark.near or task is None) and scored and before:
            return Score(benchmark.name, scored[0], before[0], scored[1])
    return None


def _scored(rows: pd.DataFrame, name: str) -> tuple[float, str] | None:
    """A model's share of items passed on one benchmark, and the setting it was run with."""
    runs = rows[rows["model"].map(lambda scored: prices.same_weights(scored, name))]
    if runs.empty:
        return None
    first = runs.iloc[0]
    return float(first["passed"] / first["items"]), str(first["setting"])


@dataclass(frozen=True)
class Candidate:
    """A model of today at its cheapest host. served: whether a route of the arm has it already."""

    model: str
    route: ApiRoute
    usd_per_request: float
    served: bool
    score: Score | None

    def worse_than(self, margin_share: float) -> bool:
        """Whether a benchmark near the task places it below the margin."""
        return self.score is not None and self.score.difference < -margin_share


def candidates(study: Study, name: str, arm: ApiArm) -> list[Candidate]:
    """Models of today that fit a workload's context, cheapest first.

    By what a request of the workload's mean lengths costs at the list's price; of two hosts of one
    price the one that the study buys from already.
    """
    bought = {route.provider for route in study.routes.values() if isinstance(route, ApiRoute)}
    workload = study.workloads[name]
    today = study.routes[workload.current_route].model
    routes_ = (study.routes[route] for route in workload.routes)
    served = [route.model for route in routes_ if route.arm == arm]
    models = current_models(study.as_of)
    ranked = []
    for model in models.loc[models["arm"] == arm, "model"]:
        routes = [
            _route(arm, workload, place)
            for place in prices.listings(model, study.as_of)
            if (place.context_tokens or 0) >= workload.intake.context_tokens.value
        ]
        if routes:
            usd_, _, _, i = min(
                (_usd(study, workload, r), r.provider not in bought, r.provider, i)
                for i, r in enumerate(routes)
            )
            is_served = any(prices.same_weights(model, each) for each in served)
            score = compared(model, today, workload.task)
            ranked.append(Candidate(model, routes[i], usd_, is_served, score))
    return sorted(ranked, key=lambda c: (c.usd_per_request, c.model))


def best(ranked: list[Candidate], margin_share: float) -> Candidate | None:
    """The cheapest of some candidates that is compared and lies within the margin, if any does."""
    return next((c for c in ranked if c.score and not c.worse_than(margin_share)), None)


_BEST = (
    *("model", "provider", "served", "benchmark", "setting"),
    *("score", "score_today", "usd_per_request"),
)


def best_models(study: Study) -> pd.DataFrame:
    """The best model of today for each workload and API arm, or that none is compared yet.

    Columns: workload, arm, model and provider (null: not yet compared), served (whether a route of
    the arm has it), benchmark, setting, score and score_today (shares), usd_per_request (at the
    list's price, for a request of mean lengths), verdict.
    """
    rows = []
    for name, workload in study.workloads.items():
        for arm in ARM_OF_WEIGHTS.values():
            candidate = best(candidates(study, name, arm), workload.quality.margin.value)
            row: dict[str, Any] = {"workload": name, "arm": arm}
            row |= dict.fromkeys(_BEST) | {"verdict": "not yet compared"}
            if candidate and candidate.score:
                row |= {"model": candidate.model, "provider": candidate.route.provider}
                row |= {"served": candidate.served, "usd_per_request": candidate.usd_per_request}
                row |= {"benchmark": candidate.score.benchmark, "setting": candidate.score.setting}
                row |= {"score": candidate.score.model, "score_today": candidate.score.today}
                row["verdict"] = "best"
            rows.append(row)
    return pd.DataFrame(rows, columns=["workload", "arm", *_BEST, "verdict"], dtype=object)


def cheaper_models(case: Case, bills: Iterable[Mapping[str, Any]]) -> list[str]:
    """One sentence for each workload and arm of which a model of today would beat every route.

    The cheapest one that no benchmark near the task places below the margin. bills: of chapter 02;
    an arm without a route that may serve is left out, since nothing there is beaten.
    """
    billed = list(bills)
    sentences = []
    for name, workload in case.study.workloads.items():
        for arm in ARM_OF_WEIGHTS.values():
            of_arm = [row for row in billed if (row["workload"], row["arm"]) == (name, arm)]
            if not of_arm:
                continue
            cheapest = min(of_arm, key=lambda row: row["month_usd"])
            margin = workload.quality.margin.value
            ranked = [
                c
                for c in candidates(case.study, name, arm)
                if not c.served and not c.worse_than(margin)
            ]
            if not ranked:
                continue
            month_usd = _month_usd(case, name, ranked[0].route)
            if month_usd <= WORTH_A_WORD_SHARE * cheapest["month_usd"]:
                sentences.append(_sentence(name, ranked[0], month_usd, cheapest))
    return sentences


def _sentence(
    name: str, candidate: Candidate, month_usd: float, cheapest: Mapping[str, Any]
) -> str:
    route, score = candidate.route, candidate.score
    model = f"{_IN_WORDS[route.arm]} {candidate.model} at {route.provider}"
    part = share(month_usd / cheapest["month_usd"])
    text = f"{name}: {model} would bill {usd(month_usd)} a month, {part} of "
    text += f"the cheapest route {cheapest['route']}, "
    if score is None:
        return f"{text}and is not yet compared: add it as a candidate."
    setting = f" ({score.setting})" if score.setting else ""
    return (
        f"{text}and scores {share(score.model)} on {score.benchmark}{setting}, today's model "
        f"{share(score.today)}: add it as a candidate and compare both on your own items."
    )


def _route(arm: ApiArm, workload: Workload, place: prices.Listing) -> ApiRoute:
    return ApiRoute.model_construct(
        arm=arm,
        provider=place.provider,
        model=place.model,
        context_tokens=workload.intake.context_tokens,
        ttft_p95=workload.slo.ttft_p95,
    )


def _usd(study: Study, workload: Workload, route: ApiRoute) -> float:
    """What one request of the workload's mean lengths costs, part of its prompt cached."""
    intake = workload.intake
    request = {
        "ts_start": pd.Timestamp(study.as_of, tz="UTC"),
        "input_tokens": intake.input_tokens.value,
        "cached_input_tokens": workload.cached_input_share.value * intake.input_tokens.value,
        "cache_write_tokens": 0.0,
        "output_tokens": intake.output_tokens.value,
    }
    return float(offers.priced(route, pd.DataFrame([request]), study.as_of).sum().sum())


def _month_usd(case: Case, name: str, route: ApiRoute) -> float:
    """What a month of a workload would cost on a route, billed as chapter 02 bills."""
    routes = {**case.study.routes, LISTED: route}
    study = case.study.model_copy(update={"routes": routes})
    offer = offers.token_offer(study, LISTED, case.traffic.of(name))
    usage = request_usage(study, [(name, LISTED)])
    bills = month_bills(price_frame({name: {LISTED: offer}}, usage), usage)
    return float(bills["month_usd"].iloc[0])
