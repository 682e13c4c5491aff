"""Would a current model serve a workload for less, and is it as good on a public benchmark?

The rule for the *best* model of an arm: the cheapest dated model of the price list whose score on a
benchmark near the task is within the workload's margin of the model in use. Without a benchmark
that has both, a model is *not yet compared*. A score is only a reason to compare on own items: it
is unpaired, and proves nothing.
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
"""Age up to which a model counts as current. Assumed: API models live about as long."""

MENTION_BELOW_SHARE = 0.95
"""Share of the cheapest route's bill above which a cheaper model is not worth mentioning."""

LISTED = "a listed model"
"""Name of a route that is added to a study to price a model outside it."""

ARM_OF_WEIGHTS: Mapping[str, ApiArm] = {"open": "hosted_open", "proprietary": "proprietary_api"}
_IN_WORDS = {"hosted_open": "hosted", "proprietary_api": "proprietary"}


@dataclass(frozen=True)
class Score:
    """The scores of a model and today's on one benchmark, as shares. setting: how it was run."""

    benchmark: str
    model: float
    today: float
    setting: str

    @property
    def difference(self) -> float:
        """The model's score minus today's."""
        return self.model - self.today


@cache
def _bundled(name: str) -> pd.DataFrame:
    return pd.read_csv(paths.data(name), keep_default_na=False)


def current_models(on: date) -> pd.DataFrame:
    """The models that are at most 18 months old on a day.

    Columns: model, arm, dated, dated_by, source. Source: `data/current_models.csv`, since the price
    list has no release dates.
    """
    table = _bundled("current_models.csv")
    table = table.assign(dated=pd.to_datetime(table["dated"]))
    oldest = pd.Timestamp(on) - pd.DateOffset(months=NEWEST_MONTHS)
    recent = table[(table["dated"] >= oldest) & (table["dated"] <= pd.Timestamp(on))]
    return recent.assign(arm=recent["weights"].map(ARM_OF_WEIGHTS)).reset_index(drop=True)


def compared(model: str, today: str, task: str | None = None) -> Score | None:
    """The scores of two models on one benchmark, near the task if given; None: not yet compared.

    >>> compared("gpt-oss-120b", "gpt-4o", "chat") is None
    True
    >>> score = compared("gpt-oss-120b", "gpt-4o", "reasoning")
    >>> score.benchmark, round(score.model, 3), round(score.today, 3)
    ('Aider polyglot', 0.418, 0.231)
    """
    for key, rows in _bundled("benchmark_scores.csv").groupby("benchmark", sort=True):
        benchmark = quality.benchmark(str(key), task or "reasoning")
        run, todays_run = _pass_share(rows, model), _pass_share(rows, today)
        if (benchmark.near or task is None) and run and todays_run:
            return Score(benchmark.name, run[0], todays_run[0], run[1])
    return None


def _pass_share(rows: pd.DataFrame, name: str) -> tuple[float, str] | None:
    """The share of items that a model passed on one benchmark, and the setting of the run."""
    runs = rows[rows["model"].map(lambda scored: prices.same_weights(scored, name))]
    if runs.empty:
        return None
    first = runs.iloc[0]
    return float(first["passed"] / first["items"]), str(first["setting"])


@dataclass(frozen=True)
class Candidate:
    """A current model at its cheapest host. served: whether a route of the arm has it already."""

    model: str
    route: ApiRoute
    usd_per_request: float
    served: bool
    score: Score | None

    def worse_than(self, margin_share: float) -> bool:
        """Whether a benchmark near the task places it below the margin (a share)."""
        return self.score is not None and self.score.difference < -margin_share


def candidates(study: Study, name: str, arm: ApiArm) -> list[Candidate]:
    """Current models that fit a workload's context, cheapest first.

    Ranked by the list price of a request of the workload's mean lengths; of two hosts with one
    price, the one that the study already buys from.
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
    """The cheapest of some candidates that is compared and within the margin, if any."""
    return next((c for c in ranked if c.score and not c.worse_than(margin_share)), None)


_BEST = (
    *("model", "provider", "served", "benchmark", "setting"),
    *("score", "score_today", "usd_per_request"),
)


def best_models(study: Study) -> pd.DataFrame:
    """The best current model for each workload and API arm.

    Columns: workload, arm, model and provider (null: not yet compared), served (whether a route of
    the arm has it), benchmark, setting, score and score_today (shares), usd_per_request (list
    price of a request of mean lengths), verdict (best, not yet compared).
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
    """A sentence for each workload and arm where a current model is cheaper than every route.

    It names the cheapest model that no benchmark near the task places below the margin. bills: of
    chapter 02; an arm without a permitted route has nothing to compare with and is left out.
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
            if month_usd <= MENTION_BELOW_SHARE * cheapest["month_usd"]:
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
    """The cost of a request of the workload's mean lengths, at its cached share. USD."""
    intake = workload.intake
    request = {
        "ts_start": pd.Timestamp(study.as_of, tz="UTC"),
        "input_tokens": intake.input_tokens.value,
        "cached_input_tokens": workload.cached_input_share.value * intake.input_tokens.value,
        "cache_write_tokens": 0.0,
        "output_tokens": intake.output_tokens.value,
    }
    model = offers.priced_model(route)
    return sum(prices.bill_total(pd.DataFrame([request]), model, study.as_of))


def _month_usd(case: Case, name: str, route: ApiRoute) -> float:
    """The monthly bill of a workload on a route, computed as in chapter 02. USD."""
    routes = {**case.study.routes, LISTED: route}
    study = case.study.model_copy(update={"routes": routes})
    offer = offers.token_offer(study, LISTED, case.traffic.of(name))
    usage = request_usage(study, [(name, LISTED)])
    bills = month_bills(price_frame({name: {LISTED: offer}}, usage), usage)
    return float(bills["month_usd"].iloc[0])
