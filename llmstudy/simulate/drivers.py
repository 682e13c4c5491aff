"""Chapter 06: which inputs decide, at which value the answer flips, and whether the draws suffice.

Everything is asked of two moves of each workload: the one that saves most, and the self-hosted one
that saves most where that is another.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from llmstudy import tables
from llmstudy.figure import Figure, FloatArray
from llmstudy.simulate import bills, crossover, draws, sufficiency
from llmstudy.simulate.inputs import Market, draws_of, figures_of, pair_inputs, paths_of
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
"""Draws on which a threshold is solved: their noise moves it by some per cent."""

MOST_FLIPS = 8
"""Inputs whose thresholds are solved: those with the largest total effect."""

VOLUMES = np.array([0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300])
"""Volumes of the map of chances, over today's."""

MARGINS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)
"""Quality margins of the map of chances, shares."""


def driver_tables(
    study: Study, offers: Market, futures: Moves, savings: pd.DataFrame
) -> dict[str, Any]:
    """What decides the saving of each workload's moves.

    Returns: `sensitivity` (Sobol indices of each best move; base_usd: its saving with every input
    at its median, about which the inputs swing it), `pawn` (of the move that saves most
    of all and of the best self-hosted one, paths included), `never` (what decides that a move never
    pays), `flips` (solved thresholds), `chances` (P(cheaper and within the margin) by volume and
    margin), `convergence`.
    """
    best = savings.sort_values("saving_p50_usd", ascending=False, kind="stable")
    moves = _asked(best)
    ranked = {move: _ranked(study, offers, *move) for move in moves}
    own = [move for move in moves if study.routes[move[1]].arm == "self_hosted"]
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
            row for move in [*moves[:1], *own[:1]] for row in _pawn(study, offers, futures, *move)
        ],
        "never": [_never(study, offers, futures, *move) for move in own],
        "flips": [
            row for move in moves for row in _flips(study, offers, *move, ranked[move].inputs)
        ],
        "chances": [row for move in moves for row in _chances(study, offers, *move)],
        "convergence": _convergence(futures, moves),
    }


def _asked(best: pd.DataFrame) -> list[tuple[str, str]]:
    """The moves that are asked about, those that save most first."""
    own = best[best["arm"] == "self_hosted"]
    firsts = [table.groupby("workload", sort=False).head(1) for table in (best, own)]
    rows = pd.concat(firsts).drop_duplicates(["workload", "route"])
    return list(zip(rows["workload"], rows["route"], strict=True))


# --- which inputs decide ------------------------------------------------------------------------


class _Ranking(NamedTuple):
    """The inputs of a move as `mc.sensitivity` ranks them, and its saving at their medians."""

    inputs: pd.DataFrame
    base_usd: float


def _ranked(study: Study, offers: Market, name: str, route: str) -> _Ranking:
    """Sobol indices of a move's saving, prices and volumes at their trend."""
    current = offers.priced(name, study.workloads[name].current_route)
    challenger = offers.priced(name, route)
    inputs = pair_inputs(study, offers, name, route)
    used, same = _used(study, name, route), _same(inputs)
    figures = {
        key: figure if key in used else _held(figure)
        for key, figure in figures_of(inputs).items()
        if key not in same
    }

    def saved(d: draws.Draws) -> FloatArray:
        both = {**d, **{key: d[first] for key, first in same.items()}}
        return bills.move_saving_usd(current, challenger, both, study.months)

    ranking = sensitivity(figures, saved, N_SOBOL, study.seed)
    return _Ranking(ranking, at_medians(figures, saved))


def _same(found: Mapping[str, tuple[str, Figure]]) -> dict[str, str]:
    """Inputs that are one figure of the study under a second name: name -> the first name.

    What a move to another API costs is also what a retirement costs the one who stays.
    """
    first: dict[str, str] = {}
    same = {}
    for key, (path, figure) in found.items():
        place = figure.name or path
        if figure.uncertain and place in first:
            same[key] = first[place]
        elif place:
            first[place] = key
    return same


def _held(figure: Figure) -> Figure:
    return Figure(figure.name, figure.value, figure.unit)


def _used(study: Study, name: str, route: str) -> set[str]:
    """Inputs that the saving of a move can depend on, given the arms of the pair."""
    arms = {study.routes[study.workloads[name].current_route].arm, study.routes[route].arm}
    bears = arms | {"any"} | ({"api"} if arms - {"self_hosted"} else set())
    return {each.name for each in tables.inputs().values() if each.bears_on in bears}


_PATHS = {
    "proprietary_api": "jumps of the proprietary price",
    "gpu": "path of GPU rents",
    "requests": "scatter of the volume",
}
"""What a reader is told of a path."""


def _drawn(
    study: Study, offers: Market, name: str, route: str, n: int
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """The inputs that a move depends on, and the mean of each path that it follows. (n,) each."""
    used = _used(study, name, route)
    arms = {study.routes[study.workloads[name].current_route].arm, study.routes[route].arm}
    followed = {"requests", *(arms & {"proprietary_api"})}
    followed |= {"gpu"} if "self_hosted" in arms else set()
    inputs = pair_inputs(study, offers, name, route)
    d, same = draws_of(inputs, n, study.seed), _same(inputs)
    paths = paths_of(study, name, n)
    means = {_PATHS[key]: paths[draws.PATH + key].mean(axis=1) for key in sorted(followed)}
    return {key: x for key, x in d.items() if key in used and key not in same}, means


def _pawn(
    study: Study, offers: Market, futures: Moves, name: str, route: str
) -> list[dict[str, Any]]:
    """Which inputs and paths move the distribution of a move's saving, on the draws themselves."""
    saved = futures[name, route].saving_usd()[:N_PAWN]
    inputs, paths = _drawn(study, offers, name, route, len(saved))
    found = pawn(inputs | paths, saved, study.seed).to_dict("records")
    return [{"workload": name, "route": route} | {str(k): v for k, v in r.items()} for r in found]


def _never(study: Study, offers: Market, futures: Moves, name: str, route: str) -> dict[str, Any]:
    """Which inputs decide that a move never pays within the horizon."""
    never = np.isinf(futures[name, route].pays_from_month())
    inputs, paths = _drawn(study, offers, name, route, len(never))
    found = never_by_input(inputs | paths, never, study.seed)
    return {
        "workload": name,
        "route": route,
        "p_never": asdict(found.p_never),
        "reason": found.reason,
        "inputs": found.inputs,
    }


# --- where the answer flips ---------------------------------------------------------------------


def _flips(
    study: Study, offers: Market, name: str, route: str, ranked: pd.DataFrame
) -> list[dict[str, Any]]:
    """The value of each deciding input at which a move passes, or fails, the study's cost lines.

    A move passes when the chance that it is cheaper than staying on today's named model reaches
    `thresholds.probability` and its median saving `thresholds.saving`.
    """
    current = offers.priced(name, study.workloads[name].current_route)
    challenger = offers.priced(name, route)
    inputs, lines = pair_inputs(study, offers, name, route), lines_of(study)
    every, same = figures_of(inputs), _same(inputs)
    figures = {key: every[key] for key in ranked["input"].head(MOST_FLIPS)}
    d = {**draws_of(inputs, N_FLIPS, study.seed), **paths_of(study, name, N_FLIPS)}

    def margin(draws: draws.Draws) -> float:
        both = {**draws, **{key: draws[first] for key, first in same.items()}}
        saved = bills.move_saving_usd(current, challenger, both, study.months)
        return 1.0 if meets_lines((saved > 0).mean(), float(np.median(saved)), lines) else -1.0

    found = crossover.solve_thresholds(figures, d, margin, {"peak_to_mean": (1.0, np.inf)})
    passes = margin(d) >= 0
    return [
        {"workload": name, "route": route, "passes_now": passes}
        | {str(key): None if _is_nan(x) else x for key, x in row.items()}
        for row in found.to_dict("records")
    ]


def _is_nan(x: Any) -> bool:
    return isinstance(x, float) and np.isnan(x)


def _chances(study: Study, offers: Market, name: str, route: str) -> list[dict[str, Any]]:
    """P(a move is cheaper and the candidate within a quality margin), by steady volume and margin.

    Quality and cost are drawn apart: nothing that is known ties them.
    """
    current = offers.priced(name, study.workloads[name].current_route)
    challenger = offers.priced(name, route)
    n, now = N_FLIPS, study.workloads[name].intake.requests.value
    d = dict(draws_of(pair_inputs(study, offers, name, route), n, study.seed))
    d |= {key: path for key, path in paths_of(study, name, n).items() if "requests" not in key}
    d["growth"] = np.zeros(n)
    difference = difference_draws(study, name, route, n)
    rows = []
    for requests in VOLUMES * now:
        d["requests"] = np.full(n, requests)
        cheaper = float((bills.move_saving_usd(current, challenger, d, study.months) > 0).mean())
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


# --- are there draws enough? --------------------------------------------------------------------


def _convergence(futures: Moves, moves: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """The chance that a move is cheaper, as the draws double; of the move where it is least sure,
    whose error is therefore the largest."""
    if not moves:
        return []
    chances = {move: futures[move].saving_usd() > 0 for move in moves}
    name, route = least = min(moves, key=lambda move: abs(chances[move].mean() - 0.5))
    return [
        {"workload": name, "route": route} | {str(k): v for k, v in found.items()}
        for found in sufficiency.convergence(chances[least].astype(float), "share").to_dict(
            "records"
        )
    ]
