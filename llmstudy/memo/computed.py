"""Which figures does the memo reckon itself from those of the chapters?

Its own chapter writes them as `reckoned` in its results, so that every number in its prose has a
place that a reader can look up and a program can read.
"""

from typing import Any

import pandas as pd

from llmstudy import paths
from llmstudy.memo.context import Facts
from llmstudy.simulate.inputs import N_DRAWS

RANGE_SHARE = 0.9 - 0.1
"""Share of the draws that a range holds: from the 10th to the 90th percentile."""


def reckoned(facts: Facts) -> dict[str, Any]:
    """The memo's own figures, by name."""
    study = facts.study
    return {
        "version": study.version,
        "range_share": round(RANGE_SHARE, 9),
        "draws": N_DRAWS,
        "spare_replicas": study.self_hosting.spare_replicas,
        "lead_share": _lead_share(facts),
        "decisions": {
            **{kind: len(facts.deciding(kind)) for kind in ("move", "stay", "undecided")},
            "barred": len(facts.barred()),
        },
        "extra_usd": _extra(facts),
        "last_begins": {kind: facts.last_begins(kind) for kind in ("move", "undecided")},
        "waiting_usd": {kind: facts.waiting_usd(kind) for kind in ("move", "undecided")},
        "items": _items(facts),
        "confidence": _confidence(facts),
        "comparisons": _comparisons(facts),
        "favoured": _favoured(facts),
        "times_today": _times_today(facts),
        "before_a_move_usd": _before_a_move(facts),
        "against_this_memo_usd": _against_this_memo(facts),
        "unmeasured_routes": sorted(_unmeasured(facts)),
        "heldout_error": _heldout_error(facts),
        "gates": {"passed": _in_state(facts, "plan_gates", "passed")},
        "risks": {state: _in_state(facts, "risks", state) for state in ("active", "warning")},
        "roadmap": roadmap(),
    }


def _lead_share(facts: Facts) -> float | None:
    month = facts.crossing["month_usd"]
    if month["today"] <= 0:
        return None
    return float(month["today_by_workload"].get(facts.lead, 0.0) / month["today"])


def _extra(facts: Facts) -> dict[str, float] | None:
    """What moves that must be made cost more than staying, where they save nothing."""
    saving = facts.decided["saving"]
    if saving is None or saving["p50"] >= 0:
        return None
    return {"p10": -saving["p90"], "p50": -saving["p50"], "p90": -saving["p10"]}


def _items(facts: Facts) -> dict[str, Any]:
    """Items asked for by workload, and in all; the value is None where a part of it is not known.

    Values of workloads add up: each has its own bill.
    """
    rows = facts.asked_items()
    values = [row["value_usd"] for row in rows]
    n, usd = facts.items_to_collect()
    complete = rows and None not in values
    return {"rows": rows, "n": n, "usd": usd, "value_usd": sum(values) if complete else None}


def _confidence(facts: Facts) -> dict[str, Any]:
    """What the level of confidence counts."""
    rows, comparisons = facts.chapters["01_evidence"]["workloads"], _comparisons(facts)
    return {
        "logged": sum(row["traffic"] == "measured" for row in rows),
        "workloads": len(rows),
        "own": comparisons["own"],
        "comparisons": comparisons["scored"],
    }


def _comparisons(facts: Facts) -> dict[str, Any]:
    """Scored comparisons, those that hold the margin, those on own items, those that wait; and the
    worst inferior one, in points."""
    table = facts.comparisons()
    scored = table[table["verdict"] != "none"]
    worse = scored[scored["verdict"] == "inferior"].sort_values("difference", kind="stable")
    worst = None
    if not worse.empty:
        row = worse.iloc[0]
        lost = -float(row["difference"])
        worst = {"workload": row["workload"], "route": row["routes"][0], "lost_share": lost}
        worst["benchmark"] = row["benchmark"]
    return {
        "scored": len(scored),
        "held": int((scored["verdict"] == "non-inferior").sum()),
        "own": int((scored["grade"] == "measured").sum()),
        "waiting": len(table) - len(scored),
        "public": sorted(set(scored.loc[scored["closeness"] != "own", "benchmark"])),
        "far": int((scored["closeness"] == "far").sum()),
        "worst": worst,
    }


def _favoured(facts: Facts) -> dict[str, int]:
    """How many favoured candidates of undecided workloads there are, and are models on APIs."""
    targets = [facts.verdicts[name]["target"] for name in facts.deciding("undecided")]
    arms = [facts.study.routes[target].arm for target in targets if target]
    return {"all": len(arms), "on_apis": arms.count("proprietary_api")}


def _times_today(facts: Facts) -> list[dict[str, Any]]:
    """Each crossover of the lead workload as a multiple of its volume today."""
    now = facts.requests_per_month(facts.lead)
    return [
        {"from_arm": row["from_arm"], "to_arm": row["to_arm"], "times": at / now if at else None}
        for row in facts.crossovers(facts.lead)
        for at in (row["requests_per_month"]["p50"],)
    ]


def _before_a_move(facts: Facts) -> dict[str, float]:
    """What the phases before any move cost."""
    early = facts.decided["phases"][:2]
    return {end: sum(row[f"cost_{end}_usd"] for row in early) for end in ("low", "high")}


def _against_this_memo(facts: Facts) -> dict[str, float]:
    """Median of what each option costs over the horizon beyond what the memo recommends."""
    return {row["option"]: row["beyond_verdict_usd"]["p50"] for row in facts.decided["options"]}


def _unmeasured(facts: Facts) -> set[str]:
    """Routes whose first token has not been measured against its target."""
    rows = facts.chapters["03_latency"]["latency"]
    return {r["route"] for r in rows if r["verdict"] == "undecided" and r["grade"] != "measured"}


def _heldout_error(facts: Facts) -> float:
    fits = facts.table("05_self_hosting", "serving_fit")
    return float(fits["median_abs_error_share"].median())


def _in_state(facts: Facts, table: str, state: str) -> int:
    """How many rows of a table of the last analysis chapter are in a state."""
    return sum(row["state"] == state for row in facts.decided.get(table, []))


def roadmap() -> list[dict[str, str]]:
    """Systems that nothing in this package proves yet: id, line, phase and owner.

    Which they are stands in `source_memo_lines.csv`: those that no function carries.
    """
    lines = pd.read_csv(paths.data("source_memo_lines.csv"), keep_default_na=False)
    open_ = lines[lines["id"].str.startswith("S") & (lines["functions"] == "")]
    phases = {row["phase"]: row for row in pd.read_csv(paths.data("phases.csv")).to_dict("records")}
    return [
        {"id": system, "line": line, "title": phase["title"], "owner": phase["owner"]}
        for system, line in zip(open_["id"], open_["line"], strict=True)
        for phase in (phases[_PHASE[system]],)
    ]


_PHASE = {"S1": 1, "S3": 2, "S4": 2, "S6": 3, "S7": 3, "S8": 3}
"""The phase in which a system is wanted. Source: source memo, phases of the synthesis (V2)."""
