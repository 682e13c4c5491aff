"""How does each arm do on the six criteria of the source memo (C1 to C6)?

All six share one scale, and each has one rule that ties its score to evidence:

4     met with room to spare
3     met
2     even: evidence on both sides of the line, or today's own bill, the baseline of the others
1     not met, in a way that could be fixed
0     far from met, or barred
null  no evidence for a score: a claim, a prior, an unanswered question

A claim by a vendor or the source memo is no evidence. Scores of different criteria are not added
up: privacy bars an arm whatever the others say, and then each of its rows says so.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from llmstudy import paths
from llmstudy.decide.team import Readiness
from llmstudy.decide.verdicts import against_equals, pays
from llmstudy.study.lines import Lines
from llmstudy.text import count, share, span, usd

CRITERIA = {
    "C1": "latency",
    "C2": "cost at scale",
    "C3": "customisation",
    "C4": "lock-in",
    "C5": "privacy",
    "C6": "team",
}
"""The source memo's criteria, in its order."""


@dataclass(frozen=True)
class Score:
    """A score on the scale above, and the fact behind it in words."""

    score: int | None
    verdict: str


def best_route(routes: pd.DataFrame) -> pd.Series | None:
    """The permitted route of an arm with the best evidence; None if none is permitted.

    Routes that can serve come first; among them those that keep their quality (today's own, or not
    inferior), then unscored ones, then inferior ones; among equals the one that saves most.
    routes: those of one workload and arm, with `ROUTE_COLUMNS`.
    """
    open_ = routes[routes["permitted"].astype(bool)]
    if open_.empty:
        return None
    able = open_["fits_context"] & open_["sized"] & (open_["latency"] != "misses")
    quality = open_["quality"].map({"baseline": 2, "non-inferior": 2, "inferior": 0}).fillna(1)
    ranked = open_.assign(able=able.astype(int), quality_rank=quality)
    order = ["able", "quality_rank", "saving_p50_usd"]
    return ranked.sort_values(order, ascending=False, kind="stable").iloc[0]


# --- C1 to C6 -------------------------------------------------------------------------------


def latency(
    verdict: str, grade: str, p95_s: tuple[float | None, float | None], target_s: float
) -> Score:
    """C1: the p95 TTFT against its target, as chapter 03 judged it.

    verdict: meets, misses, undecided. p95_s: low and high end (None: among failures, or unknown;
    the low end of an unprobed fleet is a bound). Scores 4 if the high end is at most half the
    target, and 0 if the low end is more than twice the target.
    """
    low, high = p95_s
    target = f"against {count(1000 * target_s)} ms"
    p95 = "no p95"
    if low is not None and high is not None:
        p95 = f"{span(1000 * low, 1000 * high, count)} ms"
    elif low is not None:
        p95 = f"at least {count(1000 * low)} ms"
    sentence = f"first token at the p95: {p95} {target}"
    if verdict == "meets":
        roomy = high is not None and high <= target_s / 2
        return Score(4 if roomy else 3, f"holds; {sentence}")
    if verdict == "misses":
        far = low is None or low > 2 * target_s
        return Score(0 if far else 1, f"missed; {sentence}")
    if grade in ("measured", "recorded"):
        return Score(2, f"measured on both sides of the target; {sentence}")
    return Score(None, f"not measured; {sentence}, {grade} only")


def cost(
    *,
    current: bool,
    sized: bool,
    savings: Any,
    lines: Lines,
) -> Score:
    """C2: what moving to the route saves over the horizon, against the study's two thresholds.

    savings: p_cheaper, saving_p50_usd and the same against cheaper equals, as in `ROUTE_COLUMNS`.
    Cheaper in enough draws scores 4 if the move pays against both buyers who stay, else 3. Dearer
    in as many draws scores 0 if the loss reaches the threshold of a saving, else 1. Anything in
    between, and today's own bill, scores 2.
    """
    if not sized:
        return Score(None, "no bill can be stated: it cannot be sized at its targets")
    if current:
        return Score(2, "today's own bill, with which the others are compared")
    p_cheaper, saving_usd = savings["p_cheaper"], savings["saving_p50_usd"]
    probability, line_usd = lines.probability, lines.saving_usd
    sure, gain = share(p_cheaper), usd(saving_usd)
    if p_cheaper >= probability:
        enough, paid = saving_usd >= line_usd, pays(savings, lines)
        kind = "at least" if enough else "less than"
        sentence = (
            f"cheaper in {sure} of simulated futures, {gain} at the median, {kind} the line of "
            f"{usd(line_usd)}"
        )
        if enough and not paid:
            sentence += f"; {against_equals(savings)}"
        return Score(4 if paid else 3, sentence)
    if p_cheaper <= 1 - probability:
        far = saving_usd <= -line_usd
        less = f"by {usd(-saving_usd)} at the median"
        sentence = f"dearer in {share(1 - p_cheaper)} of simulated futures, {less}"
        return Score(0 if far else 1, sentence)
    sentence = (
        f"cheaper in {sure} of simulated futures, saving {gain} at the median: neither way is sure"
    )
    return Score(2, sentence)


def customisation(
    *,
    quality: str,
    items: int,
    benchmark: str,
    difference: float | None,
    margin: float,
    insufficient: str,
    tuning: str,
    claimed_gain: float,
) -> Score:
    """C3: does the arm answer well enough, or can it be tuned to?

    quality: baseline, non-inferior, inferior, undecided or none, from paired items. benchmark: the
    source of the items. difference, margin: shares. insufficient: whether prompting and retrieval
    are proven insufficient (yes, no, unknown). tuning: `fine_tuning` of `arm_facts()`; yes if
    weights can be tuned freely. claimed_gain: the most that tuning is claimed to add (share).
    Today's route scores 3 if prompting suffices; else 2 with free tuning and 1 without. A candidate
    scores 3 if it is not inferior, and 4 if it can also be tuned and needs to be; an inferior one
    scores 1 if the claimed gain would close the gap and it is free to tune, else 0.
    """
    free = tuning == "yes"
    if quality == "baseline":
        if insufficient == "unknown":
            return Score(None, "nobody has said whether prompting and retrieval suffice")
        if insufficient == "no":
            return Score(3, "prompting and retrieval are not proven insufficient on today's route")
        can = "its weights can be tuned" if free else f"tuning: {tuning} only"
        return Score(2 if free else 1, f"prompting and retrieval are proven insufficient; {can}")
    if quality == "none" or difference is None:
        return Score(None, "no paired items yet")
    evidence = f"{100 * difference:+.1f} points on {count(items)} paired items".replace("-", "−")
    evidence += f" of {benchmark}, margin {100 * margin:.1f}"
    if quality == "non-inferior":
        needed = insufficient == "yes" and free
        also = "; can be tuned, which is proven to be needed" if needed else ""
        return Score(4 if needed else 3, f"not inferior: {evidence}{also}")
    if quality == "undecided":
        return Score(2, f"undecided: {evidence}")
    closes = free and difference + claimed_gain >= -margin
    gain = f"the {share(claimed_gain)} that tuning is claimed to add at most"
    return Score(
        1 if closes else 0,
        f"inferior: {evidence}; {gain} {'would close the gap' if closes else 'would not close it'}"
        if free
        else f"inferior: {evidence}; its weights are not free to tune",
    )


def cannot_serve() -> Score:
    """C1 to C3 of a route whose context is shorter than the workload needs."""
    return Score(0, "cannot serve: its context is shorter than the workload needs")


def lock_in(low: float, high: float) -> Score:
    """C4: the portability score, from 0 to 100, in five equal bands.

    null if its ends are more than one band apart: too much is unknown.
    """
    least, most = (min(4, int(points // 20)) for points in (low, high))
    sentence = f"portability {span(low, high, count)} of 100"
    if most - least > 1:
        return Score(None, f"{sentence}: too much is unknown")
    return Score(min(4, int((low + high) / 2 // 20)), sentence)


def privacy(
    *,
    data_class: str,
    permitted: bool,
    signable: bool,
    reason: str,
    ends: date | None,
    until: date,
) -> Score:
    """C5: may the data go there, and for how long?

    signable: signing a contract would permit it. ends: the first day on which a needed contract
    ends; None if none is needed. until: the end of the horizon.
    """
    if not permitted:
        return Score(1 if signable else 0, f"barred: {reason}")
    if data_class == "unknown":
        return Score(None, "data not classified yet: classify before anything else")
    if ends is None:
        return Score(4, f"permitted without a contract: {reason}")
    if ends >= until:
        return Score(4, f"permitted: contracts hold beyond the horizon, to {ends}")
    return Score(3, f"permitted: contracts hold to {ends}, before the horizon ends on {until}")


def team(needs_engineers: bool, readiness: Readiness) -> Score:
    """C6: the readiness of the team, if the arm takes ML engineers at all."""
    if not needs_engineers:
        return Score(4, "takes no ML engineers")
    if readiness.verdict == "ready":
        return Score(4, readiness.sentence)
    if readiness.verdict == "unknown":
        return Score(2, readiness.sentence)
    return Score(1 if readiness.engineers >= readiness.need_low / 2 else 0, readiness.sentence)


def arm_facts() -> pd.DataFrame:
    """What can be tuned on each arm, and whom it needs: by arm, columns as in `arm_facts.csv`."""
    return pd.read_csv(paths.data("arm_facts.csv")).set_index("arm")
