"""The findings of each chapter: sentences computed from its results, shown as headings."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from llmstudy import io
from llmstudy.measures.latency import PERCENTILES, percentile_minimum_n
from llmstudy.tables import Rows, named
from llmstudy.text import count, listed, opening, share, span, usd

Results = Mapping[str, Any]


def _rows(table: Rows) -> list[Any]:
    """A result table as rows, from a frame or from written results."""
    return list(io.plain(table)) if isinstance(table, pd.DataFrame) else list(table)


def grades(ledger: Rows, part: str) -> str:
    """The grades of the figures of a ledger whose name contains part, for the note of a chart."""
    return ", ".join(sorted({row["grade"] for row in _rows(ledger) if part in row["name"]}))


def traffic(workloads: Rows) -> str:
    """The grades of the requests, for the note of a chart. workloads: the table of chapter 01."""
    grades_seen = dict.fromkeys(row["traffic"] for row in _rows(workloads))
    return f"requests: {listed([*grades_seen])}"


def evidence(results: Results) -> str:
    """How much of the study is measured."""
    rows = _rows(results["workloads"])
    measured = [row["workload"] for row in rows if row["traffic"] == "measured"]
    if not measured:
        return (
            f"None of {len(rows)} workloads has a log yet; "
            "requests are simulated from published figures"
        )
    log = results["log"]
    usable = f"{count(log['rows_accepted'])} of {count(log['rows_read'])} rows were usable"
    return f"{listed(measured)} {'has' if len(measured) == 1 else 'have'} a log: {usable}"


def cost(results: Results) -> str:
    """Today's token bill, and the workload with most of it."""
    now = [row for row in _rows(results["bills"]) if row["current"]]
    total = sum(row["month_usd"] for row in now)
    if not now:
        return "No workload runs on a route that bills by the token"
    most = max(now, key=lambda row: row["month_usd"])
    part = share(most["month_usd"] / total if total else 0)
    return f"Token bills come to {usd(total)} a month; {most['workload']} is {part} of it"


def controls(results: Results) -> str:
    """Which cost control saves most of today's bill."""
    priced = [row for row in _rows(results["controls"]) if row["saving_usd"] is not None]
    spared = [row for row in priced if row["control"] != "cap on loops"]
    if not spared or max(row["saving_usd"] for row in spared) <= 0:
        return "No control would lower today's token bills"
    best = max(spared, key=lambda row: row["saving_usd"])
    ends = span(best["saving_low_usd"], best["saving_high_usd"], usd)
    return (
        f"Of the controls of today's bills {best['control']} on {best['workload']} would save "
        f"most: {usd(best['saving_usd'])} a month, {ends}"
    )


def latency(results: Results) -> str:
    """How many TTFT targets are met, missed or undecided."""
    rows = _rows(results["latency"])
    tally = {v: sum(row["verdict"] == v for row in rows) for v in ("meets", "misses", "undecided")}
    straddling = sum(row["verdict"] == "undecided" and row["grade"] == "measured" for row in rows)
    open_ = f", {straddling} are measured and undecided" if straddling else ""
    return (
        f"Of {len(rows)} pairs of workload and route {tally['meets']} meet the first-token target, "
        f"{tally['misses']} miss it{open_} and {tally['undecided'] - straddling} are not measured"
    )


def probes(results: Results) -> str:
    """Which routes were probed, and which percentiles need more requests."""
    rows = _rows(results["probes"])
    if not rows:
        return "No route of this study has been probed."
    runs, requests = (sum(row[key] for row in rows) for key in ("runs", "requests"))
    sentence = (
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
    other = [f"{row['not_comparable']}." for row in rows if row["not_comparable"]]
    return " ".join([sentence, *other, *closed, *map(_undersized, _rows(results["undersized"]))])


def measured_requests(samples: pd.DataFrame) -> str:
    """How many requests were measured, or what it takes to measure some.

    samples: as `chapters.latency.measured_requests`.
    """
    if samples.empty:
        least = count(percentile_minimum_n(PERCENTILES["p95"]))
        return (
            "Nothing is measured yet: the study names no log with times to the first token and no "
            f"probe. A p95 takes at least {least} requests to a route, sent at its own load."
        )
    routes = samples[["workload", "route"]].drop_duplicates()
    pairs = f"{count(len(routes))} pairs of workload and route"
    return f"{count(len(samples))} requests were measured, over {pairs}."


_ANOTHER = {"days": "on another day", "runs": "in another run"}


def _undersized(row: Mapping[str, Any]) -> str:
    what = f"{row['metric'].removesuffix('_ms').upper()} {row['percentile']}"
    if not row["requests"]:
        return (
            f"{row['route']}: no {what} is known, as the tokens of its answers were not counted, "
            "or the answers came in one piece or in bursts."
        )
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


def quality(results: Results) -> str:
    """How many scored candidates keep their margin."""
    # routes of a workload that rest on the same items are one comparison
    rows = {(row["workload"], row["source"], row["n"]): row for row in _rows(results["quality"])}
    scored = [row["verdict"] for row in rows.values() if row["verdict"] != "none"]
    if not scored:
        return "No candidate has been scored against today's route"
    passed, waiting = scored.count("non-inferior"), len(rows) - len(scored)
    hold = "holds" if passed == 1 else "hold"
    sentence = f"{passed} of {len(scored)} scored comparisons {hold} the margin"
    far = sum(row["closeness"] == "far" for row in rows.values())
    aside = f"; {far} rest{'s' if far == 1 else ''} on a benchmark far from the task"
    more = f"; {waiting} more {'waits' if waiting == 1 else 'wait'} for paired items"
    return sentence + (aside if far else "") + (more if waiting else "")


def accepted_answers(rows: pd.DataFrame) -> str:
    """On how many scored routes an accepted answer costs less, and on how many more.

    rows: `quality.accepted_answer_costs`.
    """
    compared = rows.dropna(subset="difference_usd") if len(rows) else rows
    if compared.empty:
        return "No token-billed candidate is scored, so what an accepted answer costs is not known"
    cheaper = int((compared["difference_high_usd"] < 0).sum())
    dearer = int((compared["difference_low_usd"] > 0).sum())
    open_ = len(compared) - cheaper - dearer
    far = int((compared["closeness"] == "far").sum())
    sentence = (
        f"On {cheaper} of {len(compared)} scored routes an accepted answer costs less than on "
        f"today's, on {dearer or 'none'} more"
    )
    aside = f"; on {open_} the items leave it open" if open_ else ""
    return sentence + aside + (f"; {far} of them on items far from the task" if far else "")


def hosting(results: Results) -> str:
    """How busy the fleets would be."""
    fleets = _rows(results["fleets"])
    if not fleets:
        return "No self-hosted route can serve any of the workloads"
    least, most = (pick(row["utilisation"] for row in fleets) for pick in (min, max))
    return f"At today's volume a fleet would be {span(least, most, share)} busy"


def sizing(results: Results) -> list[str]:
    """Notes on the replay (arrivals, limits, hours left out) and the routes that failed."""
    notes = [f"{r['workload']} on {r['route']}: {r['note']}" for r in results["sizing_notes"]]
    notes += [f"{r['workload']} on {r['route']}: {r['reason']}" for r in results["unsized"]]
    return notes or ["No fleet could be replayed."]


def own_gpu(results: Results) -> str:
    """Which serving points were measured on our own GPU, and which settings were not, and why."""
    rows, now = results["own_runs"], results["own_source"] == "this run"
    if rows:
        points = count(sum(row["points"] for row in rows))
        cards, days, weights = (
            listed(sorted({row[key] for row in rows})) for key in ("gpu", "recorded", "weights")
        )
        measured = f"on {cards}, {days}, with {weights} weights"
    if not rows:
        sentence = (
            "The points below were published by others on real hardware; nothing in this run was "
            "measured on a GPU of ours."
        )
    elif now:
        sentence = (
            f"{points} points were measured in this run {measured}. They lie in its folder probes; "
            "the curves below do not rest on them until that is put into data/probes."
        )
    else:
        sentence = (
            f"{points} points were recorded by our own probe {measured}; those of a route's own "
            "model are in its curve, beside points published by others. Nothing in this run was "
            "measured on a GPU of ours."
        )
    return " ".join([sentence, *(row["reason"] for row in results["own_skipped"])])


def crossover(results: Results) -> str:
    """From which volume self-hosting is cheaper, or how often it never is."""
    fleets = [row for row in results["crossover"] if row["to_arm"] == "self_hosted"]
    if not fleets:
        return "No permitted route is self-hosted, so there is no crossover to look for"
    likeliest = min(fleets, key=lambda row: row["p_never"])
    name, rival = likeliest["workload"], likeliest["from_route"]
    volume, p = likeliest["requests_per_month"]["p50"], likeliest["p_never"]
    if volume is None:
        return (
            f"Self-hosting is never cheaper in most simulated futures, at any volume: for {name}, "
            f"where it is likeliest, in {share(p)} of them"
        )
    return (
        f"Self-hosting is nearest for {name}: cheaper than {rival} from {count(volume)} requests a "
        "month"
    )


def best_move(move: Mapping[str, Any]) -> str:
    """What the lead workload's best move saves. move: its row of `savings`."""
    ends = span(move["saving_p10_usd"], move["saving_p90_usd"], usd)
    return (
        f"Moving {move['workload']} to {move['route']} saves {usd(move['saving_p50_usd'])} over "
        f"the horizon, {ends} in eight of ten futures"
    )


def payback(results: Results) -> str:
    """How many moves pay for themselves, and which one first."""
    rows = results["savings"]
    if not rows:
        return "No move can be priced, so that none can pay"
    paying = [row for row in rows if row["p_never_pays"] < 0.5]
    tally = f"{count(len(paying))} of {count(len(rows))} moves pay for themselves in most futures"
    if not paying:
        return tally
    first = min(paying, key=lambda row: row["pays_from_month_p50"])
    month = count(first["pays_from_month_p50"])
    return f"{tally}, soonest {first['workload']} on {first['route']}: by month {month}"


def drivers(sensitivity: Mapping[str, Any]) -> str:
    """Which input decides a move most. sensitivity: a row of chapter 06's table `sensitivity`."""
    most = min(sensitivity["inputs"], key=lambda row: row["rank"])
    name = opening(named("input", most["input"]))
    low, high = sorted((most["low_usd"], most["high_usd"]))
    ends = span(low, high, usd)
    return f"{name} decides most: between the ends of its range the saving is {ends}"


def claims(results: Results) -> str:
    """From which volumes the advisors would move."""
    named_volumes = [row[end] for row in results["claims"] for end in ("low", "high") if row[end]]
    if not named_volumes:
        return "No advisor's volume can be put in tokens here"
    ends = span(min(named_volumes), max(named_volumes), count)
    return f"The advisors would move at {ends} tokens a month, depending on advisor and model"


def futures(drawn: pd.DataFrame) -> str:
    """In how many simulated futures a move pays off.

    drawn: as `chapters.crossover.simulated_futures`.
    """
    saving = drawn["saving_usd"]
    never = int((drawn["pays_from_month"] == float("inf")).sum())
    return (
        f"Of {count(len(drawn))} simulated futures the move is cheaper than staying in "
        f"{count(int((saving > 0).sum()))}; in {count(never)} it has not paid for itself by the "
        "end of the horizon."
    )


def measure_next(results: Results) -> str:
    """What to measure next, or that nothing is worth its cost."""
    row = results["measure_next"]
    if row is not None:
        what = f"{row['workload']}, {row['measurement']}"
        return f"Measure next: {what}, worth {usd(row['value_usd'])} for {usd(row['cost_usd'])}"
    open_ = [row for row in results["worth"] if row["verdict"] == "undecided"]
    if open_:
        what = f"{open_[0]['workload']}, {open_[0]['measurement']}"
        return f"Whether to measure takes more draws to tell: {what}"
    if not results["worth"]:
        return "There is no permitted move, so there is nothing to measure"
    return "No measurement is worth its cost: decide on what is known"


def rules(results: Results) -> str:
    """What the rules of thumb would have cost compared with hindsight."""
    rows = [row for row in results["regret"] if row["buyer"] == "named_model"]
    if not rows:
        return opening(f"{results['timing']['reason']}, so that no rule is on trial")
    advisors = [row for row in rows if not row["improved"] and not row["benchmark"]]
    best, worst = (pick(advisors, key=lambda row: row["regret_usd"]) for pick in (min, max))
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


_BLIND_POLICIES = {
    "commit now": "Committing now",
    "never": "Never moving",
    "best month set in advance": "Moving in the best month set in advance",
}
"""The policies that do not watch; the best of them is the baseline of waiting and watching."""


def waiting(results: Results) -> str:
    """What waiting and watching saves against the best policy that does not watch.

    The interval of the difference between two savings is taken at its widest, so that a gain is
    stated only if it is certain whatever their correlation.
    """
    rows = [row for row in results["waiting"] if row["buyer"] == "named_model"]
    if not rows:
        return "There is no commitment to wait for"
    base = min((row for row in rows if row["policy"] in _BLIND_POLICIES), key=_mean_cost)
    watching = [row for row in rows if row["policy"] not in (*_BLIND_POLICIES, "hindsight")]
    cost, months = usd(base["mean_cost_usd"]), results["timing"]["months"]
    sentence = f"{_BLIND_POLICIES[base['policy']]} costs {cost} over {months} months"
    sure = [row for row in watching if row["saving_low_usd"] > base["saving_high_usd"]]
    if not sure:
        return f"{sentence}; no saving from waiting and watching can be shown"
    best = min(sure, key=_mean_cost)
    more = usd(base["mean_cost_usd"] - best["mean_cost_usd"])
    return f"{sentence}; waiting and watching ({best['policy']}) saves another {more}"


def _mean_cost(row: Mapping[str, Any]) -> float:
    return float(row["mean_cost_usd"])


def triggers(results: Results) -> str:
    """Which triggers have fired, and how many cannot be judged."""
    rows = results["triggers"]
    fired = [f"{row['id']} on {row['workload']}" for row in rows if row["status"] == "fired"]
    blind = sum(row["status"] == "unknown" for row in rows)
    what = f"{listed(fired)} fired" if fired else "No trigger has fired"
    return f"{what}; {blind} of {len(rows)} cannot be judged yet"


def verdicts(results: Results) -> str:
    """The overall verdict, and the tally of decisions."""
    decisions = [v["decision"] for v in results["verdicts"].values()]
    tally = [f"{decisions.count(d)} {d}" for d in ("move", "stay", "undecided") if d in decisions]
    return f"{named('overall', results['overall'])}: {listed(tally)}"


def tradeoffs(results: Results) -> str:
    """How many of the source memo's figures this study agrees with, and which it does not."""
    compared = [row for row in results["tradeoffs"] if row["agrees"] != "not comparable"]
    if not compared:
        return "None of the memo's trade-offs can be compared with a figure of this study"
    other = [
        f"{row['title']} of {named('arm', row['arm'])} ({row['agrees']})"
        for row in compared
        if row["agrees"] != "agrees"
    ]
    agreed = (
        f"{len(compared) - len(other)} of {len(compared)} of the memo's figures for trade-offs hold"
    )
    return f"{agreed}; this study's differ on {listed(other)}" if other else agreed


def intake(results: Results) -> str:
    """How many of the six questions are open, and which to ask first."""
    open_ = sorted((r for r in results["intake"] if r["unknown"]), key=lambda r: r["rank"])
    if not open_:
        return f"All {len(results['intake'])} answers that intake asks for are there"
    first = f"{open_[0]['field'].replace('_', ' ')} of {open_[0]['workload']}"
    return (
        f"{len(open_)} of {len(results['intake'])} intake answers are unknown; ask first: {first}"
    )


def risks(results: Results) -> str:
    """Which risks are active, and how many have no live evidence."""
    rows = results["risks"]
    active = [f"{row['id']} ({row['live']})" for row in rows if row["state"] == "active"]
    blind = sum(row["state"] == "no live evidence" for row in rows)
    shows = f"Active risks: {listed(active)}" if active else "No risk is active"
    return f"{shows}; {blind} of {len(rows)} have no live evidence"


def alternatives(results: Results) -> str:
    """For which alternatives the conditions are met, open or not met."""
    parts = []
    for verdict in ("met", "open", "not met"):
        names = [row["alternative"] for row in results["alternatives"] if row["verdict"] == verdict]
        if names:
            parts.append(f"{verdict} for {listed(names)}")
    return f"The conditions for choosing it are {'; '.join(parts)}"


def plan(results: Results) -> str:
    """How many gates are passed, and which one the current phase waits for."""
    gates = results["plan_gates"]
    passed = sum(row["state"] == "passed" for row in gates)
    progress = f"{passed} of {len(gates)} gates are passed"
    at = next((row for row in results["phases"] if row["exit_state"] != "passed"), None)
    if at is None:
        return f"{progress}, and every phase is done"
    open_gates = [row for row in gates if row["phase"] == at["phase"] and row["state"] != "passed"]
    waits = list(dict.fromkeys(row["gate"] for row in open_gates))
    return f"{progress}; phase {at['phase']} ({at['title']}) waits first for: {waits[0]}"


def first_moves(results: Results) -> str:
    """Which workloads move first by the source memo's rule, and which stay."""
    rows = results["first_moves"]
    of = {v3: [row["workload"] for row in rows if row["v3"] == v3] for v3 in ("moves", "stays")}
    moves, stays = of["moves"], of["stays"]
    first = (
        f"By the source memo's rule {listed(moves)} would move first"
        if moves
        else "No workload is sensitive, or simple and frequent: by that rule none moves first"
    )
    return f"{first}; {listed(stays)} would stay" if stays else first


def canary(results: Results) -> str:
    """How long each canary takes."""
    days: dict[str, int] = {}
    for row in results["canary"]:
        days[row["workload"]] = row["days_so_far"]
    if not days:
        return "Nothing moves and no candidate is favoured, so that there is no canary to plan"
    lengths = [f"{count(n)} {'day' if n == 1 else 'days'} on {name}" for name, n in days.items()]
    return f"Up to full traffic a canary takes {listed(lengths)}"


def panel(results: Results) -> str:
    """How many advisors' rules would move now, what this memo does, and how far they agree."""
    rows, whole = results["panel"], results["agreement"][0]
    n = sum(row["decides"] == "now" for row in rows)
    memo = "leaves the API for a workload" if whole["this_memo"] == "now" else "does not yet"
    sentence = f"{n or 'None'} of {len(rows)} advisors' rules would move now, and this memo {memo}"
    if not whole["judged"]:
        return f"{sentence}; no two advisors can be compared on what is known"
    return (
        f"{sentence}; of {whole['judged']} pairs of advisors that can judge, {whole['agree']} agree"
    )


def disagreements(results: Results) -> str:
    """Which of the advisors' disagreements this study settles, and which stay open."""
    rows = results["disagreements"]
    open_ = [row["id"] for row in rows if not row["holds"]]
    settled = [f"{row['id']} ({row['holds']})" for row in rows if row["holds"]]
    if not settled:
        return f"None of the {len(rows)} disagreements is settled here"
    sentence = f"{len(settled)} of {len(rows)} disagreements are settled here: {listed(settled)}"
    return f"{sentence}; open: {listed(open_)}" if open_ else sentence


def criteria(results: Results) -> str:
    """How many scores can be given, how often each arm fails, and what privacy bars."""
    rows = results["criteria"]
    scored = [row for row in rows if row["score"] is not None]
    failed = Counter(row["arm"] for row in scored if row["score"] == 0)
    barred = {(row["workload"], row["arm"]) for row in rows if row["overridden"]}
    sentence = f"{len(scored)} of {len(rows)} scores can be given"
    if barred:
        sentence += f"; privacy bars {len(barred)} {'arm' if len(barred) == 1 else 'arms'}"
    arms = [
        f"{named('arm', arm)} fails {failed[arm] or 'none'} of "
        f"{sum(row['arm'] == arm for row in scored)}"
        for arm in dict.fromkeys(row["arm"] for row in scored)
    ]
    return f"{sentence}; {listed(arms)} outright" if arms else sentence


def portability(results: Results) -> str:
    """The portability of today's routes, and how long leaving them takes."""
    now = [row for row in results["portability"] if row["current"]]
    least = min(row["score_low"] for row in now)
    most = max(row["score_high"] for row in now)
    out = results["switching"]
    days = min(row["low_days"] for row in out), max(row["high_days"] for row in out)
    week = sum(row["within_a_week"] == "yes" for row in out)
    return (
        f"Today's routes score {span(least, most, count)} of 100 on portability; leaving one takes "
        f"{span(*days, count)} working days, and a week suffices for {week or 'none'} of {len(out)}"
    )


def contracts(results: Results) -> str:
    """How many needed contracts are in force, which are not, and which one ends first."""
    needed = [row for row in results["contracts"] if row["needed_by"]]
    if not needed:
        return "No contract is known to be needed for these data"
    in_force = [row for row in needed if row["state"] == "in force"]
    lacking = [
        f"{row['item']} of {row['route']} {row['state']}"
        for row in needed
        if row["state"] != "in force"
    ]
    sentence = f"{len(in_force)} of {len(needed)} contracts that the data need are in force"
    if lacking:
        sentence += f"; {listed(lacking)}"
    if in_force:
        first = min(in_force, key=lambda row: row["days_left"])
        sentence += f"; the first to end is the {first['item']} of {first['route']}"
        sentence += f" in {count(first['days_left'])} days"
    return sentence


def team(results: Results) -> str:
    """Whether there is a team for a fleet, what it would cost and how long it takes to build."""
    gate = results["team"]
    if not gate["asked_by"]:
        return "No workload has a self-hosted route, so that no team is needed"
    usd_year = span(gate["heads_usd_year"]["low"], gate["heads_usd_year"]["high"], usd)
    sentence = f"The team for a fleet is {gate['sentence']}; a full one costs {usd_year} a year"
    if gate["verdict"] == "ready":
        return sentence
    ramp = span(gate["ramp_months"]["low"], gate["ramp_months"]["high"], count)
    return f"{sentence} and takes {ramp} months to build"


def source_memo_costs(costs: pd.DataFrame) -> str:
    """From which volume self-hosting is cheaper in the source memo's table, and in ours.

    costs: the table `t1` of chapter 09.
    """
    cheaper = {who: costs[f"{who}_cheaper"] == "self_hosted" for who in ("memo", "our")}
    first = costs.loc[cheaper["memo"], "tokens_per_month"].min()
    return (
        f"The source memo has self-hosting cheaper from {count(first)} tokens a month; with whole "
        f"fleets and engineers it is in {cheaper['our'].sum() or 'none'} of its {len(costs)} rows"
    )


def source_memo_prices(claims: pd.DataFrame) -> str:
    """How many of the source memo's price claims hold on each of two days.

    claims: the table `t2` of chapter 09.
    """
    agrees = claims[claims["agrees"] != "not checkable"].groupby("on")["agrees"]
    days = [
        f"at the prices of {day} {(answers == 'yes').sum()} hold and "
        f"{(answers == 'partly').sum()} more in part"
        for day, answers in agrees
    ]
    return f"Of {agrees.size().max()} price claims that can be checked, {'; '.join(days)}"


def calculators(rows: pd.DataFrame, parts: pd.DataFrame) -> str:
    """How far the usual calculator's break-even is from ours, and what it mostly leaves out.

    rows, parts: the tables `calculators` and `attribution` of chapter 09.
    """
    if rows.empty:
        return "No fleet of this study can be compared with the usual calculator"
    most = named("item", str(parts.groupby("item")["shapley_usd"].mean().idxmax()))
    factors = rows["our_break_even_tokens"] / rows["calculator_break_even_tokens"]
    reached, never = factors.dropna(), int(factors.isna().sum())
    when = [f"never for {never} of {len(rows)} fleets"] if never else []
    if len(reached):
        times = span(reached.min(), reached.max(), count)
        when = [f"at {times} times the volume that the usual calculator says", *when]
    return f"A fleet breaks even {listed(when)}; what that page leaves out is mostly {most}"
