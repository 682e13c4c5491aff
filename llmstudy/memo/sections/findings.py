"""Why: three findings, each heading a sentence. Where the money is, whether the candidates are good
enough, and what contracts and vendors force."""

from typing import Any

from markupsafe import Markup

from llmstudy.memo.context import ARMS, Facts
from llmstudy.memo.figures import quoted, told, told_span
from llmstudy.memo.sections.prose import first_few, heading, owner_text, paragraph
from llmstudy.text import count, listed, opening, share, usd

_PARTS = {
    "growth": "growth of volume",
    "scheduled": "announced prices",
    "prompts": "growing prompts",
    "drift": "the trend of prices",
    "upkeep": "evaluation and forced migrations",
    "spread": "the long upper tail of the draws",
    "discount": "discounting",
}


def cost_finding(facts: Facts) -> str:
    """Finding one: where the money is, what makes it grow, and from which volume another arm is
    cheaper."""
    lead, month, part = facts.lead, facts.crossing["month_usd"], facts.reckoned["lead_share"]
    title = "Today's routes cost nothing that can be stated"
    if part is not None:
        of = f"{told(part, share)} of {told(month['today'], usd)} a month"
        title = f"{owner_text(opening(lead))} is {of}"
    crossovers = [_crossover_sentence(row, facts) for row in ladder(facts.crossovers(lead))]
    return heading("finding-cost", title) + paragraph(
        _reconciled(facts), *crossovers, _undrawn(facts)
    )


def _undrawn(facts: Facts) -> str:
    """The favoured route where the chart, with one line for each arm, leaves it out."""
    lead, routes = facts.lead, facts.study.routes
    target, today = facts.verdicts[lead]["target"], facts.study.workloads[lead].current_route
    if target is None or target == today or routes[target].arm != routes[today].arm:
        return ""
    bills = facts.chapters["02_cost"]["bills"]
    bill = next((r for r in bills if (r["workload"], r["route"]) == (lead, target)), None)
    if bill is None:
        return ""
    return (
        f"The favoured {owner_text(target)}, on the same arm as today's route and not drawn, bills "
        f"{told(bill['month_usd'], usd)} a month."
    )


def _reconciled(facts: Facts) -> str:
    """From this month's bill to what staying costs, the largest part first."""
    rows = facts.crossing.get("stay_parts", [])
    if facts.unbilled() or not rows:
        return ""
    stay, months = facts.crossing["month_usd"]["horizon"]["p50"], facts.stated("horizon")["value"]
    first, *rest = sorted(rows, key=lambda row: (row["part"] != "today", -abs(row["usd"])))
    parts = [(row["usd"], f"{told(row['usd'], usd)} {_PARTS[row['part']]}") for row in rest]
    more = listed([part for amount, part in parts if amount >= 0])
    less = listed([part for amount, part in parts if amount < 0])
    adds = [f"{word} {sum_}" for word, sum_ in (("plus", more), ("and", less)) if sum_]
    month = f"{told(months)} such months, {told(first['usd'], usd)}"
    return f"Staying costs {told(stay, usd)}: {', '.join([month, *adds])}."


def ladder(rows: list[Any]) -> list[Any]:
    """The comparisons that matter: open weights against the API, and self-hosting against the
    cheaper of the two where both may serve."""
    by_arm = {(row["from_arm"], row["to_arm"]): row for row in rows}
    self_hosted = by_arm.get(("hosted_open", "self_hosted")) or by_arm.get(
        ("proprietary_api", "self_hosted")
    )
    return [row for row in (by_arm.get(("proprietary_api", "hosted_open")), self_hosted) if row]


def _crossover_sentence(row: Any, facts: Facts) -> str:
    volume, never = row["requests_per_month"], row["p_never"]
    arm, other = opening(ARMS[row["to_arm"]]), ARMS[row["from_arm"]]
    verb = "are" if row["to_arm"] == "hosted_open" else "is"
    if volume["p50"] is None:
        return f"{arm} {verb} never cheaper than {other} in {told(never, share)} of draws."
    arms = (row["from_arm"], row["to_arm"])
    multiples = facts.reckoned["times_today"]
    times = next(r["times"] for r in multiples if (r["from_arm"], r["to_arm"]) == arms)
    place = (
        f"{told(times, _times)} times today's" if times >= 2 else f"{told(times, share)} of today's"
    )
    unless = f"; never in {told(never, share)} of draws" if never >= 0.005 else ""
    within = f"{told(facts.reckoned['range_share'], share)} range"
    return (
        f"{arm} {verb} cheaper than {other} from {told(volume['p50'])} requests a month, {place} "
        f"({within} {told_span(volume['p10'], volume['p90'])}{unless})."
    )


def _times(x: float) -> str:
    return count(x) if x < 10 else count(round(x))


def quality_finding(facts: Facts) -> str:
    """Finding two: whether the candidates are good enough."""
    comparisons = facts.reckoned["comparisons"]
    scored, n_held, waiting, n_own = (
        comparisons[key] for key in ("scored", "held", "waiting", "own")
    )
    if not scored:
        return heading("finding-quality", "No candidate has been scored against today's route")
    what = "scored comparison" + ("s" if scored > 1 else "")
    verb = "is shown to hold" if n_held <= 1 else "are shown to hold"
    title = (
        f"{told(n_held) if n_held else 'None'} of {told(scored)} {what} {verb} the quality margin"
    )
    if scored == 1:
        does = "holds" if n_held else "is not shown to hold"
        title = f"The one scored comparison {does} the quality margin"
    if waiting:
        title += f"; {told(waiting)} more {'waits' if waiting == 1 else 'wait'} for paired items"
    rest = (
        "None of these comparisons rests"
        if n_own == 0
        else f"{told(n_own)} of {told(scored)} rest{'s' if n_own == 1 else ''}"
    )
    sentence = f"{rest} on our own items"
    if n_own < scored:
        stand = "stands" if len(comparisons["public"]) == 1 else "stand"
        sentence += f"; {first_few(comparisons['public'])} {stand} in for the others"
    if comparisons["far"]:
        compare = "compares" if comparisons["far"] == 1 else "compare"
        sentence += f"; {told(comparisons['far'])} {compare} on a benchmark far from the task, "
        sentence += "which decides nothing"
    sentence += "."
    return heading("finding-quality", title) + paragraph(
        sentence, _inferior(comparisons["worst"]), _by_own_rule(facts)
    )


def _by_own_rule(facts: Facts) -> str:
    """Moves that rest on published items, which the study allows for some workloads."""
    lowest = {name: spec.quality.lowest_grade for name, spec in facts.study.workloads.items()}
    moves = [name for name in facts.deciding("move") if not facts.forced(name)]
    resting = [name for name in moves if lowest[name] == "published"]
    if not resting:
        return ""
    strict = "; the others must rest on our own" if "measured" in lowest.values() else ""
    table = facts.comparisons()
    named = sorted(set(table.loc[table["workload"].isin(resting), "benchmark"].dropna()))
    return (
        f"By the study's rule {first_few(resting)} may move on published items of "
        f"{first_few(named)}{strict}."
    )


def _inferior(worst: Any) -> str:
    if worst is None:
        return ""
    lost = told(worst["lost_share"], points)
    route, workload = owner_text(worst["route"]), owner_text(worst["workload"])
    return f"{route} loses {lost} points on {workload}, on {owner_text(worst['benchmark'])}."


def points(x: float) -> str:
    """A share as percentage points.

    >>> points(0.03), points(0.1023), points(-0.0121)
    ('3', '10', '−1.2')
    """
    return (f"{100 * x:.0f}" if abs(x) >= 0.095 else f"{100 * x:.2g}").replace("-", "−")


def vendor_finding(facts: Facts) -> str:
    """Finding three: contracts and vendors, from the triggers that fired and from what ends."""
    fired = facts.fired()
    ends = [f for f in facts.chapters["01_evidence"]["findings"] if f["severity"] != "info"]
    dated = sorted((f for f in ends if f["effective"]), key=lambda f: str(f["effective"]))
    sentences = [str(quoted(f["sentence"])) for f in dated[:2]]
    missing = [r for r in facts.crossing["permissions"] if not r["permitted"]]
    if missing:
        sentences.append(f"{_excluded(missing)} before any cost was read.")
    title = "No trigger has fired"
    parts = {row["part"]: row["usd"] for row in facts.crossing.get("stay_parts", [])}
    if any(row["id"] == "G4" for row in fired) and parts.get("scheduled"):
        sentences.append(
            f"Announced prices are {told(parts['scheduled'], usd)} of what staying costs."
        )
    if fired:
        which = [
            Markup("{} ({}) on {}").format(row["id"], row["name"], owner_text(row["workload"]))
            for row in fired
        ]
        title = f"Fired: {first_few(which)}"
    return heading("finding-vendor", title) + paragraph(*sentences)


def _excluded(missing: list[Any]) -> str:
    pairs = [
        owner_text(row["route"]) + Markup(" on ") + owner_text(row["workload"]) for row in missing
    ]
    verb = "was" if len(pairs) == 1 else "were"
    return f"{first_few(pairs)} {verb} ruled out by privacy"
