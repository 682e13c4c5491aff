"""What does a chapter find? One sentence per chapter, computed from its results."""

from collections.abc import Mapping
from typing import Any

from llmstudy.memo.facts import listed, opening
from llmstudy.text import count, share, span, usd
from llmstudy.words import named

Results = Mapping[str, Any]


def evidence(found: Results) -> str:
    """How much of the study is measured."""
    rows = found["workloads"]
    measured = [row["workload"] for row in rows if row["traffic"] == "measured"]
    if not measured:
        return (
            f"None of {len(rows)} workloads has a log yet; "
            "requests are simulated from published figures"
        )
    log = found["log"]
    kept = f"{count(log['rows_accepted'])} of {count(log['rows_read'])} rows were usable"
    return f"{listed(measured)} has a log: {kept}"


def cost(found: Results) -> str:
    """Where today's money goes."""
    now = [row for row in found["bills"] if row["current"]]
    total = sum(row["month_usd"] for row in now)
    if not now:
        return "No workload runs on a route that bills by the token"
    most = max(now, key=lambda row: row["month_usd"])
    part = share(most["month_usd"] / total if total else 0)
    return f"Token bills come to {usd(total)} a month; {most['workload']} is {part} of it"


def controls(found: Results) -> str:
    """Which control of today's bill saves most."""
    known = [row for row in found["controls"] if row["saving_usd"] is not None]
    spared = [row for row in known if row["control"] != "cap on loops"]
    if not spared or max(row["saving_usd"] for row in spared) <= 0:
        return "No control would lower today's token bills"
    best = max(spared, key=lambda row: row["saving_usd"])
    ends = span(best["saving_low_usd"], best["saving_high_usd"], usd)
    return (
        f"Of the controls of today's bills {best['control']} on {best['workload']} would save "
        f"most: {usd(best['saving_usd'])} a month, {ends}"
    )


def latency(found: Results) -> str:
    """Which targets are known to be met."""
    rows = found["latency"]
    tally = {v: sum(row["verdict"] == v for row in rows) for v in ("meets", "misses", "undecided")}
    seen = sum(row["verdict"] == "undecided" and row["grade"] == "measured" for row in rows)
    open_ = f", {seen} are measured and undecided" if seen else ""
    return (
        f"Of {len(rows)} pairs of workload and route {tally['meets']} meet the first-token target, "
        f"{tally['misses']} miss it{open_} and {tally['undecided'] - seen} are not measured"
    )


def probes(found: Results) -> str:
    """Which routes were probed, and what their runs are too short for."""
    rows = found["probes"]
    if not rows:
        return "No route of this study has been probed."
    runs, requests = (sum(row[key] for row in rows) for key in ("runs", "requests"))
    said = (
        f"Probed: {listed([row['route'] for row in rows])}, with {count(requests)} requests in "
        f"{count(runs)} {'run' if runs == 1 else 'runs'}, each found valid by its audit."
    )
    closed = [
        f"{row['route']} was probed in closed loop ({row['load']}), which hides the wait of "
        "requests that arrive on their own: whether its first token meets a target takes a run in "
        "open loop."
        for row in rows
        if row["closed_loop"]
    ]
    return " ".join([said, *closed, *map(_undersized, found["undersized"])])


_ANOTHER = {"days": "on another day", "runs": "in another run"}


def _undersized(row: Mapping[str, Any]) -> str:
    what = f"{row['metric'].removesuffix('_ms').upper()} {row['percentile']}"
    if not row["requests"]:
        return f"{row['route']} told no {what}."
    if row["requests_needed"] is None:
        units, unit = count(row["units"]), row["unit"]
        return (
            f"{row['route']}: {units} {unit} do not support a {what}, however many requests they "
            f"have: probe {_ANOTHER[unit]}."
        )
    return (
        f"{row['route']}: {count(row['requests'])} requests do not support a {what}; like these it "
        f"takes {count(row['requests_needed'])}."
    )


def quality(found: Results) -> str:
    """How many candidates are good enough."""
    rows = found["quality"]
    scored = [row for row in rows if row["verdict"] != "none"]
    held = sum(row["verdict"] == "non-inferior" for row in scored)
    if not scored:
        return "No candidate has been scored against today's route"
    return f"{held} of {len(scored)} scored candidates hold the margin; {len(rows)} are wanted"


def hosting(found: Results) -> str:
    """How busy the fleets would be."""
    fleets = found["fleets"]
    if not fleets:
        return "No self-hosted route can serve any of the workloads"
    least, most = (pick(row["utilisation"] for row in fleets) for pick in (min, max))
    return f"At today's volume a fleet would be {span(least, most, share)} busy"


def own_gpu(found: Results) -> str:
    """What of the serving points was measured on a GPU of ours, and what was not and why."""
    rows, now = found["own_runs"], found["own_source"] == "this run"
    if rows:
        points = count(sum(row["points"] for row in rows))
        cards, days, weights = (
            listed(sorted({row[key] for row in rows})) for key in ("gpu", "recorded", "weights")
        )
        measured = f"on {cards}, {days}, with {weights} weights"
    if not rows:
        said = (
            "The points below were published by others on real hardware; nothing in this run was "
            "measured on a GPU of ours."
        )
    elif now:
        said = (
            f"{points} points were measured in this run {measured}. They lie in its folder "
            "`probes`; the curves below do not rest on them until that is put into `data/probes`."
        )
    else:
        said = (
            f"{points} points were recorded by our own probe {measured}; those of a route's own "
            "model are in its curve, beside points published by others. Nothing in this run was "
            "measured on a GPU of ours."
        )
    return " ".join([said, *(row["reason"] for row in found["own_skipped"])])


def crossover(found: Results) -> str:
    """How often self-hosting never pays."""
    own = [row for row in found["crossover"] if row["to_arm"] == "self_hosted"]
    if not own:
        return "No permitted route is self-hosted, so there is no crossover to look for"
    low, high = (pick(row["p_never"] for row in own) for pick in (min, max))
    return f"Self-hosting never becomes cheaper in {span(low, high, share)} of draws"


def measure_next(found: Results) -> str:
    """What to measure next, or that nothing is worth it."""
    row = found["measure_next"]
    if row is not None:
        what = f"{row['workload']}, {row['measurement']}"
        return f"Measure next: {what}, worth {usd(row['value_usd'])} for {usd(row['cost_usd'])}"
    open_ = [row for row in found["worth"] if row["verdict"] == "undecided"]
    if open_:
        what = f"{open_[0]['workload']}, {open_[0]['measurement']}"
        return f"Whether to measure takes more draws to tell: {what}"
    if not found["worth"]:
        return "There is no permitted move, so there is nothing to measure for"
    return "No measurement is worth what it costs: decide on what is known"


def rules(found: Results) -> str:
    """What the rules of thumb would have cost."""
    rows = [row for row in found["regret"] if row["buyer"] == "named_model"]
    if not rows:
        return opening(f"{found['timing']['reason']}, so that no rule is on trial")
    told = [row for row in rows if not row["improved"] and not row["benchmark"]]
    best, worst = (pick(told, key=lambda row: row["regret_usd"]) for pick in (min, max))
    improved = next(row for row in rows if row["improved"])
    return opening(
        f"{_rule(worst)} costs {usd(worst['regret_usd'])} against hindsight, "
        f"{_rule(best)} {usd(best['regret_usd'])}, and the threshold that the back-test finds "
        f"{usd(improved['regret_usd'])}"
    )


def _rule(row: Mapping[str, Any]) -> str:
    if row["rule"] == "triggers":
        return "this product's own rule"
    return f"the {row['advisor']}'s rule on {named('rule', row['rule'])}"


_UNSEEN = {
    "commit now": "Committing now",
    "never": "Never moving",
    "best month set in advance": "Moving in the best month set in advance",
}
"""The policies that watch nothing: what waiting and watching is worth is told against the best."""


def waiting(found: Results) -> str:
    """What waiting and watching saves against the best that can be done without.

    Each saving against committing now has its interval; that of the difference of two of them is
    taken at its widest, so that a gain is told only where no pairing of the ends could undo it.
    """
    rows = [row for row in found["waiting"] if row["buyer"] == "named_model"]
    if not rows:
        return "There is no commitment to wait with"
    base = min((row for row in rows if row["policy"] in _UNSEEN), key=_mean_cost)
    watching = [row for row in rows if row["policy"] not in (*_UNSEEN, "hindsight")]
    cost, months = usd(base["mean_cost_usd"]), found["timing"]["months"]
    said = f"{_UNSEEN[base['policy']]} costs {cost} over {months} months"
    sure = [row for row in watching if row["saving_low_usd"] > base["saving_high_usd"]]
    if not sure:
        return f"{said}; waiting and watching is worth nothing that can be told"
    best = min(sure, key=_mean_cost)
    more = usd(base["mean_cost_usd"] - best["mean_cost_usd"])
    return f"{said}; waiting and watching ({best['policy']}) saves another {more}"


def _mean_cost(row: Mapping[str, Any]) -> float:
    return float(row["mean_cost_usd"])


def triggers(found: Results) -> str:
    """What has fired."""
    rows = found["triggers"]
    fired = [f"{row['id']} on {row['workload']}" for row in rows if row["status"] == "fired"]
    blind = sum(row["status"] == "unknown" for row in rows)
    what = f"{listed(fired)} fired" if fired else "No trigger has fired"
    return f"{what}; {blind} of {len(rows)} cannot be judged yet"


def verdicts(found: Results) -> str:
    """What is to be done."""
    decisions = [v["decision"] for v in found["verdicts"].values()]
    tally = [f"{decisions.count(d)} {d}" for d in ("move", "stay", "undecided") if d in decisions]
    name = {"api_first": "API first", "hybrid": "Hybrid", "off_api": "Off the API"}
    return f"{name[found['overall']]}: {listed(tally)}"
