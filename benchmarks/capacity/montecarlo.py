"""How fast is the Monte Carlo of every move beside a loop over draws, and how does it grow?

All moves of params/default.yaml: each workload to each route that has an offer for it, every draw,
every month. The loop adds up one draw after the other as an accountant would, from the same inputs.
"""

import math
import time
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from clock import cpu_s

from llmstudy import simulate
from llmstudy.chapters.cost import cost_tables
from llmstudy.chapters.hosting import hosting_tables
from llmstudy.chapters.sizing import peak_fleets
from llmstudy.evidence.case import open_case
from llmstudy.figure import FloatArray
from llmstudy.io import plain
from llmstudy.measures import cost
from llmstudy.measures.cost import TokenPrice
from llmstudy.run.sweep import in_blocks
from llmstudy.simulate.futures import futures_of_routes
from llmstudy.simulate.inputs import (
    Market,
    draws_of,
    market,
    pair_inputs,
    paths_of,
    staff_draws,
    todays_fleets,
)
from llmstudy.study import Study, load

DRAWS, MONTHS = (1_000, 10_000, 100_000), (12, 24, 60)
BLOCK = 4_000
LOOP_DRAWS = 100


@dataclass(frozen=True)
class Moves:
    """A study with its offers, and the moves that can be priced: workload -> routes."""

    study: Study
    offers: Market
    routes: Mapping[str, tuple[str, ...]]

    @property
    def count(self) -> int:
        """How many moves there are."""
        return sum(map(len, self.routes.values()))

    def offer(self, name: str, route: str) -> cost.Offer:
        """What a route of a move, or the one of today, charges."""
        found = self.offers.offer(name, route)
        assert found is not None
        return found


def default_moves() -> Moves:
    """Those of params/default.yaml."""
    case = open_case(load("params/default.yaml"))
    offers = market(plain(cost_tables(case)), plain(hosting_tables(case, peak_fleets(case))))
    routes = {
        name: tuple(
            route
            for route in workload.routes
            if route != workload.current_route and offers.offer(name, route)
        )
        for name, workload in case.study.workloads.items()
        if offers.offer(name, workload.current_route)
    }
    return Moves(case.study, offers, routes)


# ---- ours ----------------------------------------------------------------------------------------


def savings(moves: Moves, months: int, seed: int, n: int) -> FloatArray:
    """What each move has saved by the horizon's end. (n, moves) usd.

    One workload after the other, so that only its futures are held at a time.
    """
    study = moves.study.model_copy(update={"seed": seed})
    found = []
    for name, routes in moves.routes.items():
        futures = futures_of_routes(study, moves.offers, name, routes, months, n)
        found += [futures[route].saving_usd() for route in routes]
    return np.stack(found, axis=1)


# ---- the loop ------------------------------------------------------------------------------------

Numbers = dict[str, Any]
"""One draw: input -> number, and path -> list of numbers, one for each month."""


def inputs_of(moves: Moves, name: str, route: str, months: int, n: int) -> list[Numbers]:
    """The inputs of a move, draw by draw, with `team_usd`, what the team costs a month.

    The study has no fleet today: a move to one pays the team, and no other spares it.
    """
    study, offers = moves.study, moves.offers
    drawn = dict(draws_of(pair_inputs(study, offers, name, route), n, study.seed))
    drawn |= paths_of(study, name, n, months)
    first_fleet = study.routes[route].arm == "self_hosted" and not todays_fleets(study)
    drawn["team_usd"] = staff_draws(study, n) if first_fleet else np.zeros(n)
    lists = {key: x.tolist() for key, x in drawn.items()}  # faster to read than arrays
    return [{key: x[i] for key, x in lists.items()} for i in range(n)]


def stay_bills(current: cost.Offer, d: Numbers, months: int) -> list[float]:
    """What each month costs on today's route, in one draw: it began before the first."""
    today = {**d, simulate.START: 0.0}
    today |= {
        k.removeprefix(simulate.TODAY): x for k, x in d.items() if k.startswith(simulate.TODAY)
    }
    return [month_bill(current, today, month) for month in range(months)]


def volume(d: Numbers, month: int) -> float:
    """Requests of a month in one draw."""
    requests: float = d["requests"] * (1 + d["growth"]) ** month
    return requests * off_trend(d, "requests", month)


def answer_tokens(d: Numbers) -> float:
    """Tokens of an answer in one draw, reasoning included."""
    tokens: float = d["output_tokens"] * d["output_tokens_ratio"]
    return tokens


def off_trend(d: Numbers, name: str, month: int) -> float:
    """The factor by which a price or a volume leaves its trend; 1 where it has no path."""
    path = d.get(simulate.PATH + name)
    return path[month] if path else 1.0


def loop_savings(stay: list[float], challenger: cost.Offer, d: Numbers) -> list[float]:
    """What a move has saved by the end of each month, in one draw. stay: bills of today's route.

    Nothing is paid or saved until it begins, on the plan's day or now.
    """
    start: float = d.get(simulate.START, 0.0)
    full, saved, by_month = start + d["ramp"] + d.get(simulate.CANARY, 0.0), 0.0, []
    for month, stay_usd in enumerate(stay):
        if month + 1 > start:
            go_usd = month_bill(challenger, d, month)
            saved -= d["moving_cost"] if month <= start else 0.0
            saved -= d["team_usd"] * min(1.0, month + 1 - start)
            saved += min(1.0, max(0.0, month + 1 - full)) * (stay_usd - go_usd)
            if month == math.ceil(full):  # the first that the new route serves in full
                saved -= d["dual_running"] * go_usd
        by_month.append(saved)
    return by_month


def loop_over_draws(
    current: cost.Offer,
    challengers: Mapping[str, cost.Offer],
    draws: Mapping[str, list[Numbers]],
    months: int,
) -> dict[str, list[list[float]]]:
    """Savings by month of one workload, draw by draw: route -> draws -> months.

    Today's bills are the same whichever the move, and added up once.
    """
    found: dict[str, list[list[float]]] = {route: [] for route in challengers}
    for each in zip(*draws.values(), strict=True):
        stay = stay_bills(current, each[0], months)
        for (route, challenger), d in zip(challengers.items(), each, strict=True):
            found[route].append(loop_savings(stay, challenger, d))
    return found


def month_bill(offer: cost.Offer, d: Numbers, month: int) -> float:
    """The bill of one month in one draw, without the team."""
    years, prompts = month / 12, d["input_tokens"] * d["tokenizer"]
    requests = volume(d, month)
    if isinstance(offer, TokenPrice):
        cached, wrote = d["cached_input_share"], d["cache_write_share"]
        usd_per_token = (
            (1 - cached - wrote) * offer.uncached_input_usd
            + cached * offer.cached_input_usd
            + wrote * offer.written_input_usd
        ) / offer.input_tokens
        prompts *= (1 + d["prompt_growth"]) ** month
        dearer_in, dearer_out = beyond_thresholds(offer, prompts)
        usd = usd_per_token * prompts * dearer_in
        usd += offer.output_usd / offer.output_tokens * answer_tokens(d) * dearer_out
        usd *= (1 + d["retry_share"]) * d[f"drift_{offer.arm}"] ** years
        usd *= off_trend(d, offer.arm, month)
        usd *= offer.month_factors[min(month, len(offer.month_factors) - 1)]
        beside: float = d["api_evaluation"] / 12 + d["provisioned"]
        beside += d[f"migration_{offer.arm}"] / d[f"model_life_{offer.arm}"]
        of_requests: float = requests * (usd + d["tool_usd"] / 1000)
        return of_requests + beside
    share, per_on_demand = offer.reserved_share, offer.reserved_price_share
    first = int(d.get(simulate.START, 0.0))
    term = first + (month - first) // offer.term_months * offer.term_months
    reserved = share * replicas(offer, d, term)
    beyond = (1 - share + share / per_on_demand) * replicas(offer, d, month)
    beyond -= reserved / per_on_demand
    hours = reserved * d["drift_gpu"] ** (term / 12) * off_trend(d, "gpu", term)
    hours += max(beyond, 0.0) * d["drift_gpu"] ** years * off_trend(d, "gpu", month)
    rent: float = hours * offer.gpus_per_replica * 730 * d["usd_per_gpu_hour"]
    upkeep: float = d["observability"] + (d["upgrades"] * d["upgrade_usd"] + d["fine_tuning"]) / 12
    rent *= 1 + d["overhead_share"]
    return rent + upkeep


def beyond_thresholds(offer: TokenPrice, prompt_tokens: float) -> tuple[float, float]:
    """Price of a token in and of one out at a mean prompt's length, over today's."""
    factors = offer.context_factors or ((1.0, 1.0, 1.0),)
    length = min(max(prompt_tokens / offer.input_tokens, factors[0][0]), factors[-1][0])
    for shorter, longer in pairwise(factors):
        if length <= longer[0]:
            part = math.log(length / shorter[0]) / math.log(longer[0] / shorter[0])
            dearer_in, dearer_out = (
                a + part * (b - a) for a, b in zip(shorter[1:], longer[1:], strict=True)
            )
            return dearer_in, dearer_out
    return factors[-1][1:]


def replicas(offer: cost.Fleet, d: Numbers, month: int) -> float:
    """What a month's requests take in one draw, spares and staging included."""
    prompts = d["input_tokens"] * d["tokenizer"]
    longer_in = prompts * (1 + d["prompt_growth"]) ** month / offer.input_tokens
    longer_out = answer_tokens(d) / offer.output_tokens
    per_s = offer.capacity_requests_per_s * d["capacity_factor"]
    per_s *= longer_in**offer.input_elasticity * longer_out**offer.output_elasticity
    shares, factors = zip(*offer.cached_factors, strict=True)
    per_s /= float(np.interp(d["cached_input_share"], shares, 1 / np.array(factors)))
    peak_per_s = volume(d, month) * (1 + d["retry_share"]) / (730 * 3600) * d["peak_to_mean"]
    needed = math.ceil(peak_per_s / (per_s * d["target_utilisation"]) * (1 - 1e-12))
    return max(needed + offer.spare, 1) + float(d["staging_replicas"])


# ---- both ----------------------------------------------------------------------------------------


def loops(moves: Moves, months: int, n: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """The loop of each workload over n draws, its inputs drawn beforehand: workload -> call."""
    found: dict[str, Callable[[], dict[str, Any]]] = {}
    for name, routes in moves.routes.items():
        current = moves.offer(name, moves.study.workloads[name].current_route)
        offers = {route: moves.offer(name, route) for route in routes}
        draws = {route: inputs_of(moves, name, route, months, n) for route in routes}
        found[name] = partial(loop_over_draws, current, offers, draws, months)
    return found


def largest_difference(moves: Moves, months: int, n: int) -> float:
    """By how much the loop's savings differ from ours, as a share of the largest saving."""
    worst = 0.0
    for name, loop in loops(moves, months, n).items():
        theirs = loop()
        ours = futures_of_routes(moves.study, moves.offers, name, theirs, months, n)
        for route, by_draw in theirs.items():
            apart = ours[route].saving_by_month() - np.array(by_draw)
            worst = max(worst, float(np.abs(apart).max() / np.abs(by_draw).max()))
    return worst


def against_a_loop(repeats: int = 3) -> list[dict[str, Any]]:
    """Ratio per draw, the growth with draws and months, and the blocks on one and two workers."""
    moves = default_moves()
    rows = [_ratio(moves, months, repeats) for months in MONTHS]
    grown = [_growth(moves, n, months) for n in DRAWS for months in MONTHS]
    return [*rows, *grown, *slopes(grown), *_blocks(moves)]


def _ratio(moves: Moves, months: int, repeats: int) -> dict[str, Any]:
    """Processor seconds of a draw of all moves. Of the loop its drawing is not counted."""
    each = loops(moves, months, LOOP_DRAWS).values()

    def loop() -> None:
        for of_workload in each:
            of_workload()

    n, seed = BLOCK, moves.study.seed
    ours = cpu_s(partial(savings, moves, months, seed, n), repeats) / n
    theirs = cpu_s(loop, repeats) / LOOP_DRAWS
    return {
        "months": months,
        "moves": moves.count,
        "ours_us_per_draw": 1e6 * ours,
        "loop_us_per_draw": 1e6 * theirs,
        "ratio": theirs / ours,
        "largest_difference_share": largest_difference(moves, months, 20),
    }


def _growth(moves: Moves, n: int, months: int) -> dict[str, Any]:
    """Time and peak memory of all draws at once; memory in a run of its own, since tracing costs.

    The peak is of what Python and numpy allocate beyond what was there.
    """
    call = partial(savings, moves, months, moves.study.seed, n)
    took = cpu_s(call, 3 if n < max(DRAWS) else 1)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    call()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return {
        "draws": n,
        "months": months,
        "cpu_s": took,
        "ns_per_draw_month_move": 1e9 * took / (n * months * moves.count),
        "peak_mb": peak / 1e6,
        "bytes_per_draw_month": peak / (n * months),
    }


def slopes(grown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Exponents of time and memory in draws and months: 1 is in proportion, above it is worse.

    Least squares on logarithms.

    >>> rows = [
    ...     {"draws": n, "months": m, "cpu_s": 1e-6 * n * m, "peak_mb": 1.0 * n}
    ...     for n in (1, 10)
    ...     for m in (12, 24)
    ... ]
    >>> [abs(round(x, 9)) for x in list(slopes(rows)[0].values())[1:]]
    [1.0, 1.0, 1.0, 0.0]
    """
    at = np.log([[row["draws"], row["months"]] for row in grown])
    design = np.column_stack([np.ones(len(at)), at])
    found: dict[str, Any] = {"slope": "exponent"}
    for measure in ("cpu_s", "peak_mb"):
        fitted = np.linalg.lstsq(design, np.log([row[measure] for row in grown]), rcond=None)[0]
        found |= {f"{measure}_in_draws": float(fitted[1]), f"{measure}_in_months": float(fitted[2])}
    return [found]


def _blocks(moves: Moves) -> list[dict[str, Any]]:
    """All draws and months in blocks, on one worker and on two, with the same outcome."""
    n, months = max(DRAWS), max(MONTHS)
    outcome = partial(savings, moves, months)
    rows, outcomes = [], []
    for workers in (1, 2):
        in_blocks(outcome, BLOCK * workers, BLOCK, seed=0, n_jobs=workers)  # starts the workers
        began = time.perf_counter(), time.process_time()
        outcomes.append(in_blocks(outcome, n, BLOCK, moves.study.seed, n_jobs=workers))
        row: dict[str, Any] = {"draws": n, "months": months, "block": BLOCK, "workers": workers}
        row["s"] = time.perf_counter() - began[0]
        if workers == 1:  # what other processes take is not in this one's processor time
            row["cpu_s"] = time.process_time() - began[1]
        rows.append(row)
    assert np.array_equal(outcomes[0], outcomes[1])
    tracemalloc.start()
    in_blocks(outcome, 3 * BLOCK, BLOCK, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return [row | {"peak_mb_of_three_blocks": peak / 1e6} for row in rows]
