"""What does the golden set of a verdict cost? Time to read and judge its items, and to answer them.

How many items a verdict needs is chapter 04's; here is what one of them takes, by its length. One
set serves all candidates of a workload.
"""

from collections.abc import Mapping

import pandas as pd

from llmstudy import io
from llmstudy.decide.dates import items_left
from llmstudy.study import Study
from llmstudy.study.labelling import minutes_per_item, usd_per_item
from llmstudy.tables import Rows


def golden_plan(study: Study, quality: Rows, bills: Rows) -> pd.DataFrame:
    """What the verdict on each candidate still takes: items, hours and money.

    quality: chapter 04's table. bills: chapter 02's, for the price of a request.
    Returns: a row for each candidate: workload, route, verdict, items (still to be labelled),
    minutes_per_item, hours (of labelling), usd_per_item, label_usd with low_usd and high_usd,
    run_usd (both routes answer them once; null where one is not billed by tokens), usd (label and
    run), pass_mark, plan (what the number of items rests on).
    """
    prices: dict[str, dict[str, float]] = {name: {} for name in study.workloads}
    for bill in io.plain(bills):
        prices[bill["workload"]][bill["route"]] = bill["usd_per_request"]
    rows = []
    for row in io.plain(quality):
        name, route = str(row["workload"]), str(row["route"])
        items, minutes = items_left(row), minutes_per_item(study, name)
        each = usd_per_item(study, name)
        run = _run_usd(prices[name], (study.workloads[name].current_route, route), items)
        rows.append(
            {
                "workload": name,
                "route": route,
                "verdict": row["verdict"],
                "items": items,
                "minutes_per_item": minutes.value,
                "hours": items * minutes.value / 60,
                "usd_per_item": each.value,
                "label_usd": items * each.value,
                "low_usd": items * each.ends[0],
                "high_usd": items * each.ends[1],
                "run_usd": run,
                "usd": items * each.value + (run or 0.0),
                "pass_mark": row["pass_mark"],
                "plan": row["plan"],
            }
        )
    return pd.DataFrame(rows)


def _run_usd(
    usd_per_request: Mapping[str, float], routes: tuple[str, str], items: int
) -> float | None:
    """What it costs that two routes answer the items once."""
    if not usd_per_request.keys() >= set(routes):
        return None
    return items * sum(usd_per_request[route] for route in routes)


def plan_by_workload(plan: pd.DataFrame) -> pd.DataFrame:
    """The plan of each workload: one set of items for all its candidates, each of which answers it.

    plan: `golden_plan`. Returns: workload, items, hours, label_usd, low_usd, high_usd, run_usd
    (without routes that are not billed by tokens), usd; the workloads that need none are left out.
    """
    if plan.empty:  # no candidate
        return plan
    open_ = plan[plan["items"] > 0].assign(run_usd=lambda rows: rows["run_usd"].astype(float))
    largest = ["items", "hours", "label_usd", "low_usd", "high_usd"]
    grouped = open_.groupby("workload", sort=False)
    table = grouped[largest].max().join(grouped["run_usd"].sum())
    return table.assign(usd=table["label_usd"] + table["run_usd"]).reset_index()
