"""Which inputs decide, of what a month consists, and what to measure next."""

import pandas as pd

from llmstudy import charts
from llmstudy.charts import Chart
from llmstudy.memo.facts import INPUTS, Facts
from llmstudy.memo.pictures.crossover import self_hosted_move
from llmstudy.memo.pictures.notes import grades
from llmstudy.tables import named


def tornado(facts: Facts, inputs: int = 8) -> Chart | None:
    """What decides the saving of the lead workload's best move, where there is one."""
    found = facts.sensitivity()
    if found is None:
        return None
    table = pd.DataFrame(found["inputs"]).head(inputs)
    if table.empty:
        return None
    table["input"] = [INPUTS[name][0] for name in table["input"]]
    subject = f"the saving of moving {found['workload']} to {found['route']}"
    return charts.tornado(table, found["base_usd"], subject, grades(facts, found["workload"]))


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its inputs in a reader's words; a path is named in words already."""
    return table.assign(input=[INPUTS[x][0] if x in INPUTS else x for x in table["input"]])


def p_never_drivers(facts: Facts) -> Chart | None:
    """What decides that self-hosting never pays, for the workload where that is least settled."""
    found = [row for row in facts.crossing["never"] if row["inputs"]]
    if not found:
        return None
    row = min(found, key=lambda r: abs(r["p_never"]["estimate"] - 0.5))
    note = f"{row['workload']} to {row['route']} · {grades(facts, row['workload'])}"
    return charts.p_never_drivers(_named(pd.DataFrame(row["inputs"])), note)


def flips_table(facts: Facts) -> pd.DataFrame:
    """The value of each deciding input at which a move passes or fails the lines on cost.

    An input that flips nothing in what was searched is left out. The verdict at the value now is
    that of the study's lines with this input held there and the others drawn.
    """
    rows = [row for row in facts.crossing["flips"] if row["flips_at"] is not None]
    return pd.DataFrame(
        [
            {
                "workload": row["workload"],
                "route": row["route"],
                "passes now": row["passes_now"],
                "input": INPUTS[row["input"]][0],
                "now": row["value_now"],
                "passes": row["direction"],
                "flips at": row["flips_at"],
                "unit": row["unit"],
                "within its range": row["inside_range"],
            }
            for row in rows
        ],
        columns=[
            "workload",
            "route",
            "passes now",
            "input",
            "now",
            "passes",
            "flips at",
            "unit",
            "within its range",
        ],
    )


def cost_items(facts: Facts) -> Chart | None:
    """Of what a month consists, on today's API and on the fleet that comes nearest to paying."""
    move = self_hosted_move(facts)
    rows = [r for r in facts.crossing["cost_items"] if move and r["workload"] == move["workload"]]
    if not rows:
        return None
    table = pd.DataFrame(rows)
    table = table[table["usd_month"] > 0]
    return charts.cost_items(table, str(rows[0]["workload"]), "at the stated value of each figure")


def calculator_bridge(facts: Facts) -> Chart | None:
    """How the usual web calculator's fleet becomes ours, item by item."""
    move = self_hosted_move(facts)
    if move is None:
        return None
    place = (move["workload"], move["route"])
    items = [r for r in facts.crossing["attribution"] if (r["workload"], r["route"]) == place]
    found = [r for r in facts.crossing["calculators"] if (r["workload"], r["route"]) == place]
    if not items or not found:
        return None
    adds = [r for r in items if r["shapley_usd"]]
    steps = [("the calculator", found[0]["calculator_month_usd"], "start")]
    steps += [(named("item", r["item"]), r["shapley_usd"], "add") for r in adds]
    steps += [("this study", found[0]["our_month_usd"], "end")]
    table = pd.DataFrame(steps, columns=["step", "usd_month", "kind"])
    return charts.calculator_bridge(
        table, f"{place[0]} on {place[1]}", "each item's share of the difference (Shapley)"
    )


def information(facts: Facts) -> Chart | None:
    """What each measurement is worth against its cost."""
    table = facts.table("06_crossover", "worth")
    if table.empty:
        return None
    shown = table.assign(measurement=table["workload"] + ": " + table["measurement"]).head(12)
    return charts.information_bars(shown, "volumes, prices and quality as graded in the ledger")
