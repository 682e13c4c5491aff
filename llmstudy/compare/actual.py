"""Was the last run right about what came after it? Its forecast against the whole days of a log.

Cost, tokens, latency, failures and quality of each workload on the route that serves it now, and
what moved its cost: the difference is split exactly. A fleet's rent is in no log: it is what the
run would have rented for the requests that came, and the log adds what fallbacks cost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np

from llmstudy import text
from llmstudy.compare.diff import Run
from llmstudy.compare.logged import Logged, days_text, log_times, logged, whole_days
from llmstudy.evidence.case import Case, rows_of
from llmstudy.figure import FloatArray
from llmstudy.measures.cost import Offer, TokenPrice
from llmstudy.measures.quality import ALPHA, PairedCounts, look_share, non_inferiority
from llmstudy.simulate import bills, draws
from llmstudy.simulate.breakdown import shapley
from llmstudy.simulate.inputs import figures_of, market, pair_inputs
from llmstudy.simulate.invoices import invoice_usd, invoiced
from llmstudy.study import Study
from llmstudy.units import month_start

DRIVERS = {
    "volume": "the number of requests",
    "input_tokens": "the length of prompts",
    "output_tokens": "the length of answers",
    "cached_input": "the share of input read from the cache",
    "price": "the route's price of a token",
    "retries": "failed and repeated attempts",
    "fallback": "requests that another model answered",
    "other_models": "requests sent to other models by name",
}
"""What moves a bill away from its forecast, in words."""

SPREAD = "spread"
"""The part by which the median of the forecast lies off its stated values, which nothing moved."""

WORDS = {**DRIVERS, SPREAD: "the forecast itself, whose median lies off its stated values"}
"""Each part of the difference, in words."""

_FEWEST_SHARE = 0.01
"""Share of requests from which a fallback is worth a sentence."""


def against_log(then: Run, case: Case) -> list[dict[str, Any]]:
    """Each workload of a later log against what a run forecast of the route that serves it now.

    then: with chapters 02, 03 and 05. case: the study on a later day, with its log, of which only
    whole days from the run's own day on count (`logged.whole_days`).
    Returns: no rows without a log, else one per workload: workload, route, days, first, last,
    - `month_usd`: {p10, p50, p90, actual, low, high, verdict}: the forecast's 80 % range, what came
      with its 95 % interval, and `as forecast`, `above` or `below` (the interval lies wholly beside
      the range) or `undecided` (only what came does). Throughput bought ahead and tools, which no
      log shows, are as the run states them
    - `parts`: {driver, usd} of `DRIVERS`, and `spread`; they sum to actual less p50
    - `broke`: the part that moved it most, of a forecast that did not hold; else null
    - `usage`: {requests, input_tokens, output_tokens, cached_input_share}, each {forecast, actual}
    - `ttft_p95_s`: {forecast, forecast_low, forecast_high, actual, low, high, verdict}: `as
      forecast`, `slower` or `faster` where the two intervals do not overlap; null unless both are
      there
    - `failed`: {forecast, actual, low, high}; forecast is that of a probe, or null
    - `fallback`: {share, low, high, month_usd, models}: of the requests not sent to another model
      by name, what a fallback answered, and what it cost more than the route would have
    - `quality`: rows of `judged_again`
    - `why_not`: why it is not compared; the other columns from days on are then null
    - `sentences`: all of it in words.
    Source of the split: Shapley's value, as `breakdown.shapley`.
    """
    if case.traffic.file is None:
        return []
    routes = {name: workload.current_route for name, workload in case.study.workloads.items()}
    if then.study is None:
        why = then.no_study
    elif case.traffic.summed:
        why = "the log sums requests up, and a comparison needs single ones"
    elif days := whole_days(log_times(case), then.study.as_of):
        return [_row(then, case, name, route, days) for name, route in routes.items()]
    else:
        why = f"the log holds no whole week from {then.study.as_of} on"
    sentence = f"The log is not compared with the forecast: {why}."
    return [_not_compared(name, route, why, sentence) for name, route in routes.items()]


def broken(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows whose cost lies wholly beside its range."""
    return [row for row in rows if row["month_usd"] and row["broke"]]


def summary_sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """At most two sentences on how the last forecast did, for a memo; none if nothing is compared.

    The first is on cost, the second on late first tokens and fallbacks.
    """
    compared = [row for row in rows if row["why_not"] is None]
    if not compared:
        return []
    verdicts = [row["month_usd"]["verdict"] for row in compared]
    first = f"By the log {verdicts.count('as forecast')} of {len(compared)} logged workloads cost "
    first += "what the last memo forecast"
    if unclear := verdicts.count("undecided"):
        first += f" (of {unclear} too few days are logged to tell)"
    first = "; ".join([first, *map(_cost_words, broken(compared))]) + "."
    late = [
        f"the first token of {row['workload']} is {row['ttft_p95_s']['verdict']} than forecast"
        for row in compared
        if row["ttft_p95_s"] and row["ttft_p95_s"]["verdict"] != "as forecast"
    ]
    away = [
        f"{text.share(row['fallback']['share'])} of {row['workload']} was answered by "
        f"{text.listed(row['fallback']['models'][:2])}, not by its route"
        for row in compared
        if row["fallback"]["share"] >= _FEWEST_SHARE
    ]
    second = "; ".join([*late, *away])
    return [first, *([second[0].upper() + second[1:] + "."] if second else [])]


_COLUMNS = (
    *("days", "first", "last", "month_usd", "parts", "broke", "usage", "ttft_p95_s", "failed"),
    *("fallback", "quality"),
)


def _not_compared(name: str, route: str, why: str, sentence: str) -> dict[str, Any]:
    about = {"why_not": why, "sentences": [sentence]}
    return {"workload": name, "route": route} | dict.fromkeys(_COLUMNS) | about


def _row(then: Run, case: Case, name: str, route: str, days: Sequence[date]) -> dict[str, Any]:
    try:
        row = {"workload": name, "route": route} | _compared(then, case, name, route, days)
    except ValueError as error:
        why = str(error).rstrip(".")
        sentence = f"{name} is not compared with the forecast: {why}."
        return _not_compared(name, route, why, sentence)
    return row | {"why_not": None, "sentences": _sentences(row)}


def _compared(then: Run, case: Case, name: str, route: str, days: Sequence[date]) -> dict[str, Any]:
    study = then.study
    assert study is not None
    offers = market(then.chapters["02_cost"], then.chapters["05_self_hosting"])
    offer = offers.offer(name, route) if name in study.workloads else None
    if offer is None:
        raise ValueError(f"nothing was forecast of {name} on {route}")
    came = logged(case, name, days)
    weights = month_weights(study.as_of, came.days, study.months)
    forecast = invoiced(study, offers, name, route)[0] @ weights
    p10, p50, p90 = (float(x) for x in np.quantile(forecast, [0.1, 0.5, 0.9]))
    d = draws.central(figures_of(pair_inputs(study, offers, name, route)))
    if route == study.workloads[name].current_route:
        d = bills.of_today(d)
    parts, stated_usd = cost_parts(offer, d, weights, came)
    parts[SPREAD] = stated_usd - p50
    actual = p50 + sum(parts.values())
    beside = actual - came.usd.estimate  # what no log shows
    low, high = (max(end + beside, 0.0) for end in (came.usd.low, came.usd.high))
    verdict = _verdict((p10, p90), actual, (low, high))
    return {
        "days": len(came.days),
        "first": came.days[0],
        "last": came.days[-1],
        "month_usd": {
            **{"p10": p10, "p50": p50, "p90": p90},
            **{"actual": actual, "low": low, "high": high, "verdict": verdict},
        },
        "parts": [{"driver": driver, "usd": usd} for driver, usd in parts.items()],
        "broke": _broke(parts, verdict),
        "usage": _usage(d, weights, came),
        "ttft_p95_s": _ttft(then, name, route, came),
        "failed": {
            "forecast": next(
                (r["failed_share"] for r in rows_of(_probes(then), route=route)), None
            ),
            "actual": came.failed.estimate,
            **{"low": came.failed.low, "high": came.failed.high},
        },
        "fallback": {
            "share": came.fallback.estimate,
            **{"low": came.fallback.low, "high": came.fallback.high},
            "month_usd": came.requests.estimate * came.fallback_usd,
            "models": list(came.fallback_models),
        },
        "quality": judged_again(study, case.study, name),
    }


def month_weights(as_of: date, days: Sequence[date], months: int) -> FloatArray:
    """The share of the days in each month of a forecast from `as_of` on. (months,).

    Raises: ValueError if a day lies outside of them.

    >>> days = [date(2026, 12, 22), date(2026, 12, 23), date(2026, 12, 24), date(2026, 12, 25)]
    >>> month_weights(date(2026, 11, 23), days, 3).tolist()
    [0.25, 0.75, 0.0]
    """
    starts = [month_start(as_of, month) for month in range(months + 1)]
    if days[0] < as_of or days[-1] >= starts[-1]:
        raise ValueError(f"{days_text(days)} do not lie within the months that were forecast")
    counts = [sum(begins <= day < ends for day in days) for begins, ends in pairwise(starts)]
    return np.array(counts) / len(days)


# --- cost -----------------------------------------------------------------------------------


def cost_parts(
    offer: Offer, d: draws.Draws, weights: FloatArray, came: Logged
) -> tuple[dict[str, float], float]:
    """How each driver moved a month's bill away from a forecast, and the forecast. usd.

    d: the stated values of the forecast, (1,) each. weights: (months,), from `month_weights`.
    Returns: driver -> usd, which sum to the bill of what came less the forecast at its stated
    values, and that forecast. A driver without effect has 0.
    """
    months = len(weights)
    drivers = [x for x in DRIVERS if x != "price" or isinstance(offer, TokenPrice)]
    level = 1.0
    if isinstance(offer, TokenPrice):
        modelled = _route_usd(offer, _at(d, came, frozenset(drivers)), months)[0]
        billed = came.route_usd * came.billed_share * came.attempts
        level = billed / modelled if modelled else 1.0

    def usd(taken: frozenset[str]) -> float:
        at = _at(d, came, taken)
        requests = bills.volumes(at, months)
        if "volume" in taken:
            requests = np.full_like(requests, came.requests.estimate)
        of_offer = offer
        if isinstance(offer, TokenPrice) and "price" in taken:
            of_offer = replace(offer, month_factors=(1.0,))
        month = invoice_usd(of_offer, at, requests, months)
        if "price" in taken:
            month = month + requests * (level - 1) * _route_usd(offer, at, months)
        more = came.fallback_usd * ("fallback" in taken)
        more += came.other_usd * ("other_models" in taken)
        return float((month + requests * more)[0] @ weights)

    return shapley(usd, drivers), usd(frozenset())


def _at(d: draws.Draws, came: Logged, taken: frozenset[str]) -> dict[str, FloatArray]:
    """The stated values, with those of the log for the drivers taken."""
    at = dict(d)

    def put(name: str, value: float | FloatArray | None) -> None:
        if value is not None:
            at[name] = np.asarray(value, dtype=float).reshape(1)

    if "input_tokens" in taken:
        put("input_tokens", came.input_tokens / d["tokenizer"])
        put("prompt_growth", 0.0)
    if "output_tokens" in taken:
        put("output_tokens", came.output_tokens / d["output_tokens_ratio"])
    if "cached_input" in taken:
        put("cached_input_share", came.cached_input_share)
        put("cache_write_share", came.cache_write_share)
    if "retries" in taken:
        put("retry_share", came.billed_share * came.attempts - 1)
    if "price" in taken:
        for name in [name for name in d if name.startswith("drift_")]:
            put(name, 1.0)
    return at


def _route_usd(offer: Offer, d: draws.Draws, months: int) -> FloatArray:
    """What the tokens of a request cost on an API at today's price, as modelled. (months,)."""
    assert isinstance(offer, TokenPrice)
    flat = replace(offer, month_factors=(1.0,))
    return np.asarray((bills.usd_per_request(flat, d, months) - d["tool_usd"][:, None] / 1000)[0])


def _verdict(of_forecast: tuple[float, float], actual: float, interval: tuple[float, float]) -> str:
    if of_forecast[0] <= actual <= of_forecast[1]:
        return "as forecast"
    if interval[0] > of_forecast[1]:
        return "above"
    return "below" if interval[1] < of_forecast[0] else "undecided"


def _broke(parts: Mapping[str, float], verdict: str) -> str | None:
    """The part that is largest in the direction in which the cost went."""
    if verdict not in ("above", "below"):
        return None
    sign = 1 if verdict == "above" else -1
    return max(parts, key=lambda part: sign * parts[part])


# --- tokens, latency, quality ---------------------------------------------------------------


def _usage(d: draws.Draws, weights: FloatArray, came: Logged) -> dict[str, Any]:
    months = len(weights)
    prompts = d["input_tokens"] * d["tokenizer"] * (bills.prompt_lengths(d, months)[0] @ weights)
    forecasts = {
        "requests": bills.volumes(d, months)[0] @ weights,
        "input_tokens": prompts[0],
        "output_tokens": bills.answer_tokens(d)[0],
        "cached_input_share": d["cached_input_share"][0],
    }
    actuals = {
        "requests": came.requests.estimate,
        "input_tokens": came.input_tokens,
        "output_tokens": came.output_tokens,
        "cached_input_share": came.cached_input_share,
    }
    return {
        name: {"forecast": float(value), "actual": actuals[name]}
        for name, value in forecasts.items()
    }


def _probes(then: Run) -> Any:
    return then.chapters["03_latency"]["probes"]


def _ttft(then: Run, name: str, route: str, came: Logged) -> dict[str, Any] | None:
    rows = rows_of(then.chapters["03_latency"]["latency"], workload=name, route=route)
    estimate = came.ttft_p95_s
    if not rows or rows[0]["ttft_p95_s"] is None or estimate is None or not estimate.supported:
        return None
    forecast = rows[0]["ttft_p95_s"]
    ends = [forecast if rows[0][end] is None else rows[0][end] for end in ("low_s", "high_s")]
    verdict = "as forecast"
    if estimate.low > ends[1]:
        verdict = "slower"
    elif estimate.high < ends[0]:
        verdict = "faster"
    return {
        **{"forecast": forecast, "forecast_low": ends[0], "forecast_high": ends[1]},
        "actual": estimate.estimate,
        "low": estimate.low,
        "high": estimate.high if isfinite(estimate.high) else None,
        "verdict": verdict,
    }


def judged_again(then: Study, now: Study, name: str) -> list[dict[str, Any]]:
    """The comparisons on own items of a workload that were judged again since the run.

    Rows: model_a, model_b, n, forecast, difference, low, high (accuracy of b less that of a, then
    and now; b was the candidate then), margin, verdict (non-inferior, inferior, undecided) at the
    level that the looks so far leave.
    """
    rows = []
    for before in then.workloads[name].quality.evidence.values():
        names = (before.model_proprietary, before.model_open)
        for after in now.workloads[name].quality.evidence.values():
            if before.counts is None or after.counts is None:
                continue
            both, only_a, only_b, neither = after.counts
            if (after.model_open, after.model_proprietary) == names:  # since the switch
                only_a, only_b = only_b, only_a
            elif (after.model_proprietary, after.model_open) != names:
                continue
            counts = PairedCounts(both, only_a, only_b, neither)
            if (both, only_a, only_b, neither) == before.counts:
                continue
            margin = now.workloads[name].quality.margin.value
            judged = non_inferiority(counts, margin, ALPHA * look_share(after.looks))
            row = {
                **{"model_a": names[0], "model_b": names[1], "n": counts.n},
                "forecast": PairedCounts(*before.counts).difference,
                "difference": judged.difference.estimate,
                **{"low": judged.difference.low, "high": judged.difference.high},
                **{"margin": margin, "verdict": judged.verdict},
            }
            if row not in rows:
                rows.append(row)
    return rows


# --- in words -------------------------------------------------------------------------------


def _sentences(row: Mapping[str, Any]) -> list[str]:
    return [
        f"{_cost_words(row)}.",
        *_ttft_sentence(row),
        *_fallback_sentence(row),
        *(_quality_sentence(row, pair) for pair in row["quality"]),
    ]


def _cost_words(row: Mapping[str, Any]) -> str:
    month, name = row["month_usd"], row["workload"]
    forecast = f"{text.usd(month['p50'])} (80 % range {_usd_span(month['p10'], month['p90'])})"
    came = f"{text.usd(month['actual'])} a month"
    came += f" (95 % interval {_usd_span(month['low'], month['high'])})"
    if month["verdict"] == "as forecast":
        return f"{name} costs {came}, as forecast: {forecast}"
    if month["verdict"] == "undecided":
        return (
            f"{name} costs {came}, beside the forecast of {forecast}, but too few days are logged "
            "to tell"
        )
    moved = next(part["usd"] for part in row["parts"] if part["driver"] == row["broke"])
    whole = text.signed_usd(month["actual"] - month["p50"])
    return (
        f"{name} costs {came}, {month['verdict']} the forecast of {forecast}: {whole}, most of all "
        f"through {WORDS[row['broke']]} ({text.signed_usd(moved)})"
    )


def _usd_span(low: float, high: float) -> str:
    return text.span(low, high, text.usd)


def _ttft_sentence(row: Mapping[str, Any]) -> list[str]:
    ttft = row["ttft_p95_s"]
    if ttft is None:
        return []
    actual = "among the failures" if ttft["actual"] is None else f"{ttft['actual']:.3g} s"
    judgement = "as forecast" if ttft["verdict"] == "as forecast" else f"{ttft['verdict']} than"
    stated = f"{ttft['forecast']:.3g} s ({ttft['forecast_low']:.3g} to {ttft['forecast_high']:.3g})"
    beside = f": {stated}" if ttft["verdict"] == "as forecast" else f" the forecast of {stated}"
    return [f"Its first token at the p95 is {actual}, {judgement}{beside}."]


def _fallback_sentence(row: Mapping[str, Any]) -> list[str]:
    fallback = row["fallback"]
    if not fallback["share"]:
        return []
    ends = text.span(fallback["low"], fallback["high"], text.share)
    cost, models = fallback["month_usd"], text.listed(fallback["models"])
    words = "which moved no cost"
    if abs(cost) >= 0.5:
        words = f"which cost {text.usd(abs(cost))} a month {'more' if cost > 0 else 'less'}"
    return [
        f"Of the requests meant for {row['route']}, {text.share(fallback['share'])} ({ends}) were "
        f"answered by {models}, {words}."
    ]


def _quality_sentence(row: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    points = f"{100 * pair['difference']:+.1f} points".replace("-", "−")
    then = f"{100 * pair['forecast']:+.1f}".replace("-", "−")
    return (
        f"On {pair['n']:,} items {pair['model_b']} is {points} from {pair['model_a']}, {then} in "
        f"the run: {pair['verdict']} at a margin of {text.share(pair['margin'])}."
    )
