"""The inputs that decide a study, the values at which the answer flips, and the number of draws.

Every table covers two moves of each workload: the one that saves most and, if it is another, the
self-hosted one that saves most.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from llmstudy import io, tables
from llmstudy.figure import Figure, FloatArray
from llmstudy.simulate import bills, crossover, draws, sufficiency
from llmstudy.simulate.inputs import (
    Inputs,
    Market,
    draws_of,
    draws_with_paths,
    figures_of,
    pair_inputs,
    paths_of,
)
from llmstudy.simulate.projection import Moves
from llmstudy.simulate.quality import difference_draws
from llmstudy.simulate.ranking import at_medians, never_by_input, pawn, sensitivity
from llmstudy.study import Study
from llmstudy.study.lines import lines_of, meets_lines

N_SOBOL = 1024
"""Base sample of the sensitivity analysis; runs are N * (inputs + 2)."""

N_PAWN = 2000
"""Draws of the rank-based indices: 200 in each of their ten slides."""

N_FLIPS = 600
"""Draws on which a threshold is solved: their noise moves it by a few per cent."""

MOST_FLIPS = 8
"""Inputs whose thresholds are solved: those with the largest total effect."""

VOLUMES = np.array([0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300])
"""Volumes of the map of probabilities, over today's."""

MARGINS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)
"""Quality margins of the map of probabilities, shares."""


def driver_tables(
    study: Study,
    offers: Market,
    futures: Moves,
    savings: pd.DataFrame,
    behind: Mapping[tuple[str, str], int] | None = None,
) -> dict[str, Any]:
    """The inputs that decide the saving of each workload's moves.

    behind: by (workload, route), the rank of a route before its saving counts: lower ranks are
    better, and 0 is the default.

    Returns: `sensitivity` (Sobol indices of each best move; base_usd: its saving with every input
    at its median, about which the inputs swing it), `pawn` (of the move that saves most
    of all and of the best self-hosted one, paths included), `never` (what decides that a move never
    pays), `flips` (solved thresholds), `chances` (P(cheaper and within the margin) by volume and
    margin), `convergence`.
    """
    best = savings.sort_values("saving_p50_usd", ascending=False, kind="stable")
    pairs = zip(best["workload"], best["route"], strict=True)
    ranks = [(behind or {}).get(pair, 0) for pair in pairs]
    best = best.assign(behind=ranks).sort_values("behind", kind="stable")
    moves = _leading_moves(best)
    ranked = {move: _ranked(study, offers, *move) for move in moves}
    to_fleets = [move for move in moves if study.routes[move[1]].arm == "self_hosted"]
    leads = best.groupby("workload").head(1)
    return {
        "sensitivity": [
            {
                "workload": row["workload"],
                "route": row["route"],
                "base_usd": ranked[row["workload"], row["route"]].base_usd,
                "inputs": ranked[row["workload"], row["route"]].inputs,
            }
            for row in leads.to_dict("records")
        ],
        "pawn": [
            row
            for move in [*moves[:1], *to_fleets[:1]]
            for row in _pawn(study, offers, futures, *move)
        ],
        "never": [_never(study, offers, futures, *move) for move in to_fleets],
        "flips": [
            row for move in moves for row in _flips(study, offers, *move, ranked[move].inputs)
        ],
        "chances": [row for move in moves for row in _chances(study, offers, *move)],
        "convergence": _convergence(futures, moves),
    }


def _leading_moves(best: pd.DataFrame) -> list[tuple[str, str]]:
    """The best move of each workload and its best self-hosted one, those that save most first."""
    to_fleets = best[best["arm"] == "self_hosted"]
    firsts = [table.groupby("workload", sort=False).head(1) for table in (best, to_fleets)]
    rows = pd.concat(firsts).drop_duplicates(["workload", "route"])
    return list(zip(rows["workload"], rows["route"], strict=True))


# --- which inputs decide ------------------------------------------------------------------------


class _Ranking(NamedTuple):
    """The inputs as ranked by `ranking.sensitivity`, and the saving with all at their medians."""

    inputs: pd.DataFrame
    base_usd: float


def _ranked(study: Study, offers: Market, name: str, route: str) -> _Ranking:
    """Sobol indices of a move's saving, prices and volumes at their trend."""
    inputs = pair_inputs(study, offers, name, route)
    used, aliases = _used(study, name, route), _aliases(inputs)
    figures = {
        key: figure if key in used else Figure(figure.name, figure.value, figure.unit)
        for key, figure in figures_of(inputs).items()
        if key not in aliases
    }
    saving_usd = _saving_of(study, offers, name, route, inputs)
    ranking = sensitivity(figures, saving_usd, N_SOBOL, study.seed)
    return _Ranking(ranking, at_medians(figures, saving_usd))


def _saving_of(
    study: Study, offers: Market, name: str, route: str, inputs: Inputs
) -> Callable[[draws.Draws], FloatArray]:
    """The saving of a move as a function of the draws of its inputs without aliases."""
    current = offers.priced(name, study.workloads[name].current_route)
    challenger, aliases = offers.priced(name, route), _aliases(inputs)
    of_every_input = bills.move_saving(current, challenger, study.months)

    def saving_usd(d: draws.Draws) -> FloatArray:
        return of_every_input({**d, **{key: d[first] for key, first in aliases.items()}})

    return saving_usd


def _aliases(inputs: Inputs) -> dict[str, str]:
    """Inputs that are the same figure as an earlier one: name -> name of the earlier one.

    The cost of a move to another API, for example, is also the cost of a forced migration.
    """
    first: dict[str, str] = {}
    aliases = {}
    for key, (path, figure) in inputs.items():
        place = figure.name or path
        if figure.uncertain and place in first:
            aliases[key] = first[place]
        elif place:
            first[place] = key
    return aliases


def _used(study: Study, name: str, route: str) -> set[str]:
    """Inputs that the saving of a move can depend on, given the arms of the pair."""
    arms = {study.routes[study.workloads[name].current_route].arm, study.routes[route].arm}
    bears = arms | {"any"} | ({"api"} if arms - {"self_hosted"} else set())
    return {spec.name for spec in tables.inputs().values() if spec.bears_on in bears}


_PATHS = {
    "proprietary_api": "jumps of the proprietary price",
    "gpu": "path of GPU rents",
    "requests": "scatter of the volume",
}
"""Path -> its label in a ranking, where it is represented by its mean."""


def _draws_and_paths(
    study: Study, offers: Market, name: str, route: str, n: int
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Draws of the inputs that a move depends on, and the mean of each of its paths. (n,) each."""
    used = _used(study, name, route)
    arms = {study.routes[study.workloads[name].current_route].arm, study.routes[route].arm}
    followed = {"requests", *(arms & {"proprietary_api"})}
    followed |= {"gpu"} if "self_hosted" in arms else set()
    inputs = pair_inputs(study, offers, name, route)
    d, aliases = draws_of(inputs, n, study.seed), _aliases(inputs)
    paths = paths_of(study, name, n)
    means = {_PATHS[key]: paths[draws.PATH + key].mean(axis=1) for key in sorted(followed)}
    return {key: x for key, x in d.items() if key in used and key not in aliases}, means


def _pawn(
    study: Study, offers: Market, futures: Moves, name: str, route: str
) -> list[dict[str, Any]]:
    """Which inputs and paths move the distribution of a move's saving, on the draws themselves."""
    saving_usd = futures[name, route].saving_usd()[:N_PAWN]
    inputs, paths = _draws_and_paths(study, offers, name, route, len(saving_usd))
    ranking = pawn(inputs | paths, saving_usd, study.seed).to_dict("records")
    return [{"workload": name, "route": route} | {str(k): v for k, v in r.items()} for r in ranking]


def _never(study: Study, offers: Market, futures: Moves, name: str, route: str) -> dict[str, Any]:
    """Which inputs decide that a move never pays within the horizon."""
    never = np.isinf(futures[name, route].pays_from_month())
    inputs, paths = _draws_and_paths(study, offers, name, route, len(never))
    ranking = never_by_input(inputs | paths, never, study.seed)
    return {
        "workload": name,
        "route": route,
        "p_never": asdict(ranking.p_never),
        "reason": ranking.reason,
        "inputs": ranking.inputs,
    }


# --- where the answer flips ---------------------------------------------------------------------


def _flips(
    study: Study, offers: Market, name: str, route: str, ranked: pd.DataFrame
) -> list[dict[str, Any]]:
    """The value of each deciding input at which a move passes, or fails, the study's cost lines.

    A move passes when the chance that it is cheaper than staying on today's named model reaches
    `thresholds.probability` and its median saving `thresholds.saving`.
    """
    inputs, lines = pair_inputs(study, offers, name, route), lines_of(study)
    figures = {key: inputs[key][1] for key in ranked["input"].head(MOST_FLIPS)}
    d = draws_with_paths(study, name, inputs, N_FLIPS)
    saving_usd = _saving_of(study, offers, name, route, inputs)

    def margin(draws: draws.Draws) -> float:
        savings = saving_usd(draws)
        return 1.0 if meets_lines((savings > 0).mean(), float(np.median(savings)), lines) else -1.0

    flips = crossover.solve_thresholds(figures, d, margin, {"peak_to_mean": (1.0, np.inf)})
    passes = margin(d) >= 0
    return [
        {"workload": name, "route": route, "passes_now": passes}
        | {str(key): None if io.missing(x) else x for key, x in row.items()}
        for row in flips.to_dict("records")
    ]


def _chances(study: Study, offers: Market, name: str, route: str) -> list[dict[str, Any]]:
    """P(a move is cheaper and the candidate within a quality margin), by steady volume and margin.

    Quality and cost are drawn independently: no evidence ties them.
    """
    n, now = N_FLIPS, study.workloads[name].intake.requests.value
    inputs = pair_inputs(study, offers, name, route)
    saving_usd = _saving_of(study, offers, name, route, inputs)
    d = {**draws_with_paths(study, name, inputs, n), "growth": np.zeros(n)}
    del d[draws.PATH + "requests"]
    difference = difference_draws(study, name, route, n)
    rows = []
    for requests in VOLUMES * now:
        d["requests"] = np.full(n, requests)
        cheaper = float((saving_usd(d) > 0).mean())
        rows += [
            {
                "workload": name,
                "route": route,
                "requests_per_month": float(requests),
                "quality_margin": margin,
                "p_cheaper": cheaper * float((difference >= -margin).mean()),
            }
            for margin in MARGINS
        ]
    return rows


# --- are there enough draws? --------------------------------------------------------------------


def _convergence(futures: Moves, moves: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """The probability that a move is cheaper, as the number of draws doubles.

    For the move whose probability is nearest to 50 %, where the error is largest.
    """
    if not moves:
        return []
    chances = {move: futures[move].saving_usd() > 0 for move in moves}
    name, route = least = min(moves, key=lambda move: abs(chances[move].mean() - 0.5))
    return [
        {"workload": name, "route": route} | {str(k): v for k, v in row.items()}
        for row in sufficiency.convergence(chances[least].astype(float), "share").to_dict("records")
    ]
