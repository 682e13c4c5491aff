"""Bills, first tokens and quality."""

from llmstudy import charts
from llmstudy.charts import Chart
from llmstudy.memo.facts import Facts


def month_bills(facts: Facts) -> Chart | None:
    """This month's bill of each token-billed route."""
    bills = facts.table("02_cost", "bills")
    if bills.empty:
        return None
    ledger = facts.chapters["01_evidence"]["figures"]
    grades = sorted({row["grade"] for row in ledger if ".price." in row["name"]})
    return charts.month_bills(bills, f"prices at {facts.study.as_of}: {', '.join(grades)}")


def first_tokens(facts: Facts) -> Chart:
    """The first token of each route against its target."""
    note = (
        "A range that nobody measured meets no target; where even its best case is late, it misses."
    )
    return charts.first_tokens(facts.table("03_latency", "latency"), note)


def quality_forest(facts: Facts) -> Chart | None:
    """Paired differences of every comparison against its margin."""
    table = facts.comparisons()
    return None if table.empty else charts.quality_forest(table)


MOST_COMPARISONS = 5
"""Lines of the memo's chart: what is left of page one."""


def quality_in_short(facts: Facts) -> Chart | None:
    """The scored ones alone: routes that rest on the same items share a line.

    Of too many, those of the largest bills.
    """
    table = facts.comparisons()
    bills = facts.crossing["month_usd"]["today_by_workload"]
    scored = table[table["verdict"] != "none"]
    order = scored["workload"].map(lambda name: -bills.get(name, 0.0)).sort_values(kind="stable")
    shown = scored.loc[sorted(order.index[:MOST_COMPARISONS])].reset_index(drop=True)
    return None if shown.empty else charts.quality_forest(shown)
