"""The results of all chapters for each route of each workload, and the verdicts on them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from llmstudy.decide import verdicts
from llmstudy.decide.verdicts import Collect, Reason
from llmstudy.evidence import case
from llmstudy.evidence.case import Results, rows_of
from llmstudy.prices import same_model
from llmstudy.study import Study
from llmstudy.study.labelling import usd_per_item
from llmstudy.study.lines import lines_of
from llmstudy.text import count, share


def higher_tiers(
    rows: Iterable[Mapping[str, Any]], name: str, routes: Iterable[str | None]
) -> list[tuple[Collect, Reason]]:
    """The higher rate-limit tiers to request, and why: the busiest minute may reach a limit.

    rows: as `rate_limit_rows`. routes: those of the verdict. Of a route's limits the one that is
    reached first counts (at P10 of the month in which it is reached). A route without a stated
    limit has none.
    """
    tiers = []
    for route in dict.fromkeys(route for route in routes if route):
        reached = [
            row
            for row in rows_of(rows, workload=name, route=route)
            if row["from_month_p10"] is not None
        ]
        if not reached:
            continue
        row = min(reached, key=lambda row: (row["from_month_p10"], -_busiest_share(row)))
        month = int(row["from_month_p10"])
        ask = f"{route}: ask for a higher tier {'now' if month == 1 else f'before month {month}'}"
        sentence = (
            f"{route}: its busiest minute asks for {share(_busiest_share(row))} of the "
            f"{count(row['per_minute'])} {row['counted']} a minute that are let through"
        )
        if month > 1:
            sentence += f", and may ask for all of them in month {month}"
        tiers.append(
            (Collect("rate limit", None, None, ask), Reason("rate limit", route, sentence))
        )
    return tiers


def _busiest_share(row: Mapping[str, Any]) -> float:
    return float(row["busiest_p50"] / row["per_minute"])


Rows = pd.DataFrame | Sequence[Mapping[str, Any]]
"""A table, or its rows as a chapter wrote them."""


def verdicts_of(study: Study, routes: pd.DataFrame) -> dict[str, verdicts.Verdict]:
    """The verdict on each workload, by the study's thresholds. routes: as `route_table`."""
    lines = lines_of(study)
    # plain dictionaries: on a handful of rows, data-frame operations take most of the time
    rows: list[Any] = routes.to_dict("records")
    return {
        name: verdicts.verdict(
            [row for row in rows if row["workload"] == name],
            lines,
            usd_per_item(study, name).value,
        )
        for name in study.workloads
    }


def route_table(study: Study, results: Results) -> pd.DataFrame:
    """One row per workload and route, with `verdicts.ROUTE_COLUMNS`. results: of chapters 03 to
    06."""
    crossing = results["06_crossover"]
    key = ["workload", "route"]
    # without candidates these lists are empty, and an empty list has no columns
    columns = [*key, "saving_p10_usd", "saving_p50_usd", "saving_p90_usd", "p_cheaper"]
    savings = pd.DataFrame(crossing["savings"], columns=columns)
    equals = [*key, "p_cheaper_same_quality", "saving_same_quality_usd"]
    savings = savings.merge(pd.DataFrame(crossing["by_buyer"], columns=equals), on=key, how="left")
    allowed = pd.DataFrame(crossing["permissions"])
    quality, latency = results["04_quality"]["quality"], first_answers(results["03_latency"])
    failures = results["05_self_hosting"]["failures"]
    return with_savings(gates(study, allowed, quality, latency, failures), savings)


def first_answers(timed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Chapter 03's latency rows, each with `first_answer_s`. timed: results of chapter 03."""
    begins = {(row["workload"], row["route"]): row["first_answer_s"] for row in timed["answers"]}
    return [
        row | {"first_answer_s": begins[row["workload"], row["route"]]} for row in timed["latency"]
    ]


def handicaps(results: Results) -> dict[tuple[str, str], int]:
    """How far a route ranks behind the others of its workload, whatever it saves.

    By (workload, route): 3 if it misses its target, 2 if its quality is inferior, 1 if its stated
    answer begins late, else 0. results: of chapters 03 and 04.
    """
    ranks: dict[tuple[str, str], int] = {}
    for row in first_answers(results["03_latency"]):
        late = verdicts.answers_late(row | {"latency": row["verdict"]})
        ranks[row["workload"], row["route"]] = 3 if row["verdict"] == "misses" else int(late)
    for row in results["04_quality"]["quality"]:
        pair = row["workload"], row["route"]
        if row["verdict"] == "inferior":
            ranks[pair] = max(ranks.get(pair, 0), 2)
    return ranks


def gates(
    study: Study,
    allowed: pd.DataFrame,
    quality: Rows,
    latency: Rows,
    failures: Sequence[Mapping[str, Any]],
) -> pd.DataFrame:
    """The columns that a verdict reads of each route, without the savings.

    allowed: as `case.permissions`. quality, latency: tables of chapters 04 and 03, the latter with
    first_answer_s if known; a route without a row is not scored, or not timed. failures: of chapter
    05, the fleets that cannot be sized.
    """
    key = ["workload", "route"]
    scored = [*key, "verdict", "grade", "lowest_grade", "n", "looks", "n_needed", "pass_mark"]
    scored += ["difference", "benchmark", "closeness"]
    scores = pd.DataFrame(quality, columns=scored).rename(
        columns={
            "verdict": "quality",
            "grade": "quality_grade",
            "n": "items",
            "n_needed": "items_needed",
        }
    )
    timed = pd.DataFrame(latency).rename(columns={"verdict": "latency", "grade": "latency_grade"})
    columns = [*key, "latency", "latency_grade", "target_s", "first_answer_s"]
    table = allowed.merge(scores, on=key, how="left")
    table = table.merge(timed.reindex(columns=columns), on=key, how="left")
    pairs = list(zip(table["workload"], table["route"], strict=True))
    failed = {(row["workload"], row["route"]) for row in failures}
    table["sized"] = [pair not in failed for pair in pairs]
    models = {name: study.routes[w.current_route].model for name, w in study.workloads.items()}
    table["same_model"] = [
        same_model(study.routes[route].model, models[name]) for name, route in pairs
    ]
    ends = [
        case.retires_within_horizon(study, route) if current else None
        for route, current in zip(table["route"], table["current"], strict=True)
    ]
    table["ends"] = [day.isoformat() if day else None for day in ends]
    unscored = pd.Series(np.where(table["current"], "baseline", "none"), index=table.index)
    return table.fillna(
        {
            "quality": unscored,
            "quality_grade": "assumed",
            "lowest_grade": "measured",
            "latency": "undecided",
            "items": 0,
            "items_needed": 0,
            "looks": 0,
        }
    )


def with_savings(table: pd.DataFrame, savings: pd.DataFrame) -> pd.DataFrame:
    """The table of routes that `verdict` reads: `gates` with the savings of each move.

    table: as `gates`. savings: workload, route, saving_p10_usd, saving_p50_usd, saving_p90_usd,
    p_cheaper, and against a buyer of equal quality p_cheaper_same_quality and
    saving_same_quality_usd (NaN: there is only one way to stay). A move without a row has no known
    cost.
    """
    table = table.merge(savings, on=["workload", "route"], how="left")
    sized, ends = table.pop("sized"), table.pop("ends")
    table["sized"] = np.where(table["current"], sized, table["p_cheaper"].notna())
    table["ends"] = ends
    # off the proprietary APIs there is only one way to stay
    for equal, named in (
        ("p_cheaper_same_quality", "p_cheaper"),
        ("saving_same_quality_usd", "saving_p50_usd"),
    ):
        table[equal] = table[equal].fillna(table[named])
    amounts = [column for column in savings if column not in ("workload", "route")]
    return table.fillna(dict.fromkeys(amounts, 0.0))
