"""The worth of each measurement that a study could make next.

Two kinds of measurement are valued separately. Paired items decide whether a candidate may move at
all: they are worth the saving of a move that passes, less the cost of one that passes wrongly. A
log,
a probe or a quote makes costs more certain: it is worth the gain from choosing after it instead of
now, with quality taken as proven, which is an upper bound.
"""

from collections.abc import Iterable, Mapping
from dataclasses import astuple
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from llmstudy.evidence.case import rows_of
from llmstudy.figure import FloatArray, Interval
from llmstudy.simulate import draws, information
from llmstudy.simulate.inputs import Market, draws_of, pair_inputs
from llmstudy.simulate.projection import Moves
from llmstudy.simulate.quality import (
    UNPAIRED_DISCORDANCE,
    counts_of,
    difference_draws,
    quality_stream,
)
from llmstudy.simulate.sufficiency import estimate
from llmstudy.study import Study, bundled_figures
from llmstudy.study.labelling import usd_per_item
from llmstudy.study.lines import lines_of, meets_lines

GOLDEN_ITEMS = 200
"""Items in a batch, beside the numbers that chapter 04 asks for."""

_ERROR = {"log": 0.05, "probe": 0.07, "quote": 0.0, "tokens": 0.06}
"""Standard error, in logarithms, of what a measurement gives for its inputs. Assumed. probe: a
curve from eight points has a median held-out error of 4.5 % (median over groups of
`capacity.fit_groups`), over 0.67 for a standard deviation. log: a week of a month's variation.
tokens: 300 answers whose
lengths have a coefficient of variation of 1, 1 / sqrt(300)."""

_OF_A_LOG = ("requests", "input_tokens", "output_tokens", "cached_input_share", "peak_to_mean")
"""The inputs that another week of log measures."""


def information_tables(
    study: Study, offers: Market, futures: Moves, quality: Mapping[str, Any]
) -> dict[str, Any]:
    """The worth of each measurement against its cost, best first, and the one to buy next.

    Returns: `worth` (workload, measurement, inputs, value_usd, low_usd, high_usd, cost_usd,
    net_usd, verdict: measure, not worth it or undecided; is_bound: the value is the
    upper bound, that of perfect information), `measure_next` (the row to buy
    first, or None),
    `evpi` (workload, usd with the interval of the draws: the value of perfect information on all
    costs).
    """
    worth, perfect = [], []
    for name in study.workloads:
        moves = {route: f for (workload, route), f in futures.items() if workload == name}
        if not moves:
            continue
        saved = {route: future.saving_usd() for route, future in moves.items()}
        worth += _items(study, name, saved, quality)
        benefit = np.column_stack([np.zeros(len(next(iter(saved.values())))), *saved.values()])
        evpi = information.evpi(benefit)
        worth += _costs(study, offers, name, list(saved), benefit, evpi)
        perfect.append(
            {"workload": name, "usd": evpi.estimate, "low_usd": evpi.low, "high_usd": evpi.high}
        )
    table = pd.DataFrame(worth, columns=list(_COLUMNS))
    table = table.sort_values("net_usd", ascending=False, kind="stable", ignore_index=True)
    best = information.measure_next(table) if len(table) else None
    return {
        "worth": table,
        "measure_next": None if best is None else {str(k): v for k, v in best.items()},
        "evpi": perfect,
    }


_COLUMNS = (
    "workload",
    "measurement",
    "inputs",
    "value_usd",
    "low_usd",
    "high_usd",
    "cost_usd",
    "net_usd",
    "verdict",
    "is_bound",
)


# --- paired items -------------------------------------------------------------------------------


def _items(
    study: Study, name: str, saved: Mapping[str, FloatArray], quality: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The worth of batches of labelled items, scored on every candidate whose test is open.

    One set of items serves all candidates. If a candidate may move already, only the gain over its
    expected saving counts.
    """
    rows = rows_of(quality["quality"], workload=name)
    open_ = [row for row in rows if row["route"] in saved and _is_open(study, row)]
    if not open_:
        return []
    proven = [row["route"] for row in rows if row["route"] in saved and row not in open_]
    proven = [r for r in proven if rows_of(rows, route=r)[0]["verdict"] == "non-inferior"]
    proven = [r for r in proven if _worth_moving(study, saved[r])]
    already = max((float(np.mean(saved[route])) for route in proven), default=0.0)
    already = max(already, 0.0)
    price = usd_per_item(study, name).value
    needs = {int(row["n_needed"] or 0) for row in open_}
    routes = [row["route"] for row in open_]
    batches = []
    for n in sorted({GOLDEN_ITEMS, *needs} - {0}):
        value = estimate(_released(study, name, open_, saved, n, already), "mean")
        worth = information.none_negative(value)
        batches.append(_row(name, f"{n:,} golden items", routes, worth, n * price))
    return batches


def _row(
    workload: str,
    measurement: str,
    inputs: Iterable[str],
    value: Interval,
    cost_usd: float,
    is_bound: bool = False,
) -> dict[str, Any]:
    """A row of `worth`. inputs: what is measured, names of inputs or of routes."""
    return (
        {"workload": workload, "measurement": measurement, "inputs": ", ".join(inputs)}
        | information.against_cost(value, cost_usd)
        | {"is_bound": is_bound}
    )


def _is_open(study: Study, row: Mapping[str, Any]) -> bool:
    """Whether a test on own items could still settle a candidate."""
    proven = row["verdict"] in ("non-inferior", "inferior")
    final_grade = row["grade"] == "measured" or row["lowest_grade"] == "published"
    return not (proven and final_grade)


def _released(
    study: Study,
    name: str,
    open_: list[dict[str, Any]],
    saved: Mapping[str, FloatArray],
    n: int,
    already: float = 0.0,
) -> FloatArray:
    """The gain from a test of n items in each draw, over what may move already. (n_draws,) usd.

    A candidate passes as in `quality.non_inferiority`, at its level in chapter 04; of those that
    pass and whose cost meets the study's lines, the one with the largest expected saving moves, if
    that is more than is saved `already`. One that passes although its true difference exceeds the
    margin is reversed later, which costs the move and the move back. Normal approximation of
    the paired difference, whose variance is (discordance - difference^2) / n (Tango 1998).
    """
    margin = study.workloads[name].quality.margin.value
    n_draws = len(next(iter(saved.values())))
    gained, settled = np.zeros(n_draws), np.zeros(n_draws, dtype=bool)
    for row in sorted(open_, key=lambda row: -float(np.mean(saved[row["route"]]))):
        route = row["route"]
        if np.mean(saved[route]) < already or not _worth_moving(study, saved[route]):
            continue
        true = difference_draws(study, name, route, n_draws)
        spread = np.sqrt(np.maximum(_discordance(study, name, route) - true**2, 1e-4) / n)
        uniforms = draws.noise(quality_stream(study, name, route), n_draws, 1, study.seed)[:, 0]
        observed = true + spread * norm.ppf(np.clip(uniforms, 1e-9, 1 - 1e-9))
        moves = (observed - norm.ppf(1 - row["next_alpha"]) * spread > -margin) & ~settled
        there_and_back = 2 * study.moving[study.routes[route].arm].cost.value
        gain = np.where(true >= -margin, saved[route] - already, -there_and_back)
        gained[moves] = gain[moves]
        settled |= moves
    return gained


def _worth_moving(study: Study, saved: FloatArray) -> bool:
    """Whether a saving, (n_draws,) usd, reaches the study's thresholds for a move."""
    return meets_lines(float((saved > 0).mean()), float(np.median(saved)), lines_of(study))


def _discordance(study: Study, name: str, route: str) -> float:
    evidence = study.workloads[name].quality.evidence.get(route)
    return UNPAIRED_DISCORDANCE if evidence is None else counts_of(evidence).discordance_share


# --- costs --------------------------------------------------------------------------------------


def _costs(
    study: Study,
    offers: Market,
    name: str,
    routes: list[str],
    benefit: FloatArray,
    perfect: Interval,
) -> list[dict[str, Any]]:
    """The worth of measurements of cost: a week of log, a count of each candidate's output tokens,
    and a probe and a quote for each self-hosted route.

    A log, a probe and a count of a candidate's output tokens on logged prompts measure their inputs
    with an error (`_ERROR`), a quote gives the rent exactly. A log is bought once for all
    workloads. Perfect information caps every interval; where it is worth less than a measurement
    costs, it is the value's bound, and no regression is fitted.
    """
    n, bundled = len(benefit), bundled_figures()
    fleets = [route for route in routes if study.routes[route].arm == "self_hosted"]

    def readings_of(route: str, inputs: tuple[str, ...], error_share: float) -> FloatArray:
        entries = pair_inputs(study, offers, name, route)
        d = draws_of({key: entries[key] for key in inputs}, n, study.seed)
        varying = [x for x in d.values() if np.ptp(x) > 0]
        readings = [
            x
            * np.exp(
                error_share * norm.ppf(draws.noise(f"seen {name} {i}", n, 1, study.seed)[:, 0])
            )
            for i, x in enumerate(varying)
        ]
        return np.column_stack(readings) if readings else np.zeros((n, 0))

    measurements: list[tuple[str, tuple[str, ...], str, str]]
    measurements = [("a week more of log", _OF_A_LOG, routes[0], "log")]
    measurements += [
        (f"8-point probe of {route}", ("capacity_factor",), route, "probe") for route in fleets
    ]
    measurements += [
        (f"quote for {route}", ("usd_per_gpu_hour",), route, "quote") for route in fleets
    ]
    route_of_model = {
        pair_inputs(study, offers, name, r)["output_tokens_ratio"][1].name: r for r in routes
    }
    measurements += [  # of one model at two hosts the tokens are counted once
        (f"output tokens of {study.routes[route].model}", ("output_tokens_ratio",), route, "tokens")
        for route in route_of_model.values()
    ]
    rows = []
    for measurement, inputs, route, kind in measurements:
        learned = readings_of(route, inputs, _ERROR[kind])
        if not learned.shape[1]:
            continue  # none of them is uncertain
        cost = bundled[f"measuring.{kind}_usd"].value
        cost /= len(study.workloads) if kind == "log" else 1
        is_bound = perfect.high <= cost
        value = perfect if is_bound else information.value_of_information(benefit, learned)
        capped = Interval(*map(float, np.minimum(astuple(value), astuple(perfect))))
        rows.append(_row(name, measurement, inputs, capped, cost, is_bound))
    return rows
