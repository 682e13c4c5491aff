"""What to do with a workload: switch, part it, stay, or collect more items first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from llmstudy.evals.anytime import AnytimeLook, anytime_look
from llmstudy.evals.counts import ItemCounts, clusters_of
from llmstudy.evals.evidence import Evidence, of_workload, paired_evidence
from llmstudy.evals.table import one_name_each
from llmstudy.figure import FloatArray, Interval
from llmstudy.measures import quality
from llmstudy.measures.cost import usd_per_accepted_answer
from llmstudy.measures.quality import ALPHA, NonInferiority, PairedCounts
from llmstudy.text import count, listed, usd

Action = Literal["SWITCH", "HYBRID", "STAY", "COLLECT"]

SEED = 20261201
"""Of the resamples behind the intervals of cost, so that a file has one verdict."""

_DRAWS = 20_000
"""Of mean acceptances and costs, where items cannot be resampled."""


@dataclass(frozen=True)
class Part:
    """The test of all items (slice "") or of a slice.

    pass_mark: the lowest difference that passes with these items; None where none does.
    """

    slice: str
    protected: bool
    items: ItemCounts
    test: NonInferiority
    pass_mark: float | None


@dataclass(frozen=True)
class Costs:
    """USD per accepted answer of both routes, and the candidate's less the baseline's."""

    baseline: Interval
    candidate: Interval
    difference: Interval


@dataclass(frozen=True)
class Verdict:
    """What an evaluation says of a candidate, and what follows.

    parts: all items first, then slices. more_items: those to collect, for COLLECT. noise_floor: the
    half-width of the difference that repeats of one route show by chance; None without repeats.
    costs: None where an answer has none. flaws: faults of the scoring, which are mended first.
    not_scored: answers without a score. scorers: what scored both routes; several where the routes
    have their own, so that a difference may be theirs. anytime: what may be acted on at any look
    while items come in; None where a judge scored, or the scoring has a fault.
    """

    workload: str | None
    baseline: str
    candidate: str
    action: Action
    because: str
    parts: tuple[Part, ...]
    more_items: int | None
    looks: int
    noise_floor: float | None
    costs: Costs | None
    flaws: tuple[str, ...]
    not_scored: int
    scorers: tuple[str, ...] = ()
    anytime: AnytimeLook | None = None

    @property
    def sentence(self) -> str:
        """The verdict as a reader wants it."""
        what = f"{self.workload}: " if self.workload else ""
        return f"{what}{_DO[self.action].format(self.candidate, self.baseline)}: {self.because}"


_DO = {
    "SWITCH": "SWITCH to {0}",
    "HYBRID": "HYBRID of {0} and {1}",
    "STAY": "STAY on {1}, not {0}",
    "COLLECT": "COLLECT more on {0}",
}


def compare(
    evaluation: pd.DataFrame,
    baseline: str,
    margin_share: float,
    candidates: Sequence[str] = (),
    protected: Sequence[str] = (),
    accepted_from: float | None = None,
    repair_usd: float | None = None,
    looks: int = 0,
    alpha: float = ALPHA,
) -> list[Verdict]:
    """The verdict on each candidate for each workload of an evaluation.

    - SWITCH: non-inferior over all items and in each protected slice, and cheaper per accepted
      answer, or no costs are recorded.
    - HYBRID: not so, but non-inferior in some slices, which may move alone, and not dearer.
    - STAY: worse by more than the margin, or dearer.
    - COLLECT: the scoring has a fault, or more items are needed.

    Holm's method shares alpha among candidates and workloads; `looks` earlier judgements of these
    items leave a smaller part of it (`quality.look_share`). The slices of a candidate share its
    level equally where they are to move alone.

    evaluation: as `table.conform`. candidates: routes; empty: all but the baseline. repair_usd:
    cost of putting a wrong answer right. accepted_from: score from which an answer is accepted.
    Raises: ValueError as `paired_evidence`, or for a margin or an alpha out of range.

    >>> from llmstudy.evals.table import conform
    >>> api, open_ = [1] * 380 + [0] * 20, [0] * 4 + [1] * 380 + [0] * 16
    >>> rows = {"item_id": [*range(400)] * 2, "route": ["api"] * 400 + ["open"] * 400,
    ...         "score": api + open_, "cost_usd": [0.004] * 400 + [0.001] * 400}
    >>> compare(conform(pd.DataFrame(rows)), "api", 0.03)[0].sentence
    'SWITCH to open: +0.0 [-1.7, +1.7] points on 400 items keep the margin of 3 points; an \
accepted answer costs USD 0.0011 instead of USD 0.0042.'
    """
    quality.check_alpha(alpha)
    claims = list(_claims(evaluation, baseline, candidates, protected, accepted_from))
    share = quality.look_share(looks)
    p = [
        max(quality.non_inferiority_p(c.counts, margin_share) for c in _required(claim, protected))
        for claim in claims
    ]
    levels = quality.holm_levels(np.minimum(np.array(p) / share, 1), alpha) * share
    following = alpha / len(claims) * quality.look_share(looks + 1)
    return [
        _verdict(
            claim,
            baseline,
            _parts(claim.evidence, protected, margin_share, float(level), following),
            repair_usd,
            looks,
            _anytime(claim, margin_share, len(claims) / alpha, protected),
        )
        for claim, level in zip(claims, levels, strict=True)
    ]


@dataclass(frozen=True)
class _Claim:
    workload: str | None
    candidate: str
    answers: pd.DataFrame
    evidence: Evidence


def _claims(
    evaluation: pd.DataFrame,
    baseline: str,
    candidates: Sequence[str],
    protected: Sequence[str],
    accepted_from: float | None,
) -> "list[_Claim]":
    claims = []
    for name in evaluation["workload"].dropna().unique().tolist() or [None]:
        own = of_workload(evaluation, name)
        routes = candidates or [r for r in own["route"].unique() if r != baseline]
        if not routes:
            raise ValueError(
                f"no route but {baseline} in the evaluation: add a candidate's answers"
            )
        for route in routes:
            both = own[own["route"].isin([baseline, route])]
            slices = dict.fromkeys([*protected, *map(str, both["slice"].dropna().unique())])
            evidence = paired_evidence(own, baseline, route, None, slices, accepted_from)
            claims.append(_Claim(name, route, both, evidence))
    return claims


def _required(claim: _Claim, protected: Sequence[str]) -> list[ItemCounts]:
    """What must keep the margin before everything moves: all items and each protected slice."""
    evidence = claim.evidence
    return [evidence.overall, *(evidence.slices[name] for name in protected)]


def _parts(
    evidence: Evidence, protected: Sequence[str], margin: float, level: float, following: float
) -> tuple[Part, ...]:
    def part(name: str, items: ItemCounts, at: float) -> Part:
        counts = items.counts
        test = quality.non_inferiority(counts, margin, at, following)
        mark = quality.pass_mark(counts.n, counts.discordance_share, margin, at)
        return Part(name, name in protected, items, test, mark)

    alone = level / max(len(evidence.slices), 1)
    return (
        part("", evidence.overall, level),
        *(
            part(name, items, level if name in protected else alone)
            for name, items in evidence.slices.items()
        ),
    )


def _verdict(
    claim: _Claim,
    baseline: str,
    parts: tuple[Part, ...],
    repair_usd: float | None,
    looks: int,
    anytime: AnytimeLook | None,
) -> Verdict:
    evidence, costs = claim.evidence, costs_of(claim.evidence, repair_usd)
    action, more, because = _action(parts, evidence.flaws, costs)
    return Verdict(
        claim.workload,
        baseline,
        claim.candidate,
        action,
        because + _cost_words(costs),
        parts,
        more,
        looks,
        noise_floor(claim.answers),
        costs,
        evidence.flaws,
        evidence.not_scored,
        evidence.scorers,
        anytime,
    )


def _anytime(
    claim: _Claim, margin_share: float, needed: float, protected: Sequence[str]
) -> AnytimeLook | None:
    if claim.evidence.flaws or claim.answers["judge"].notna().any():
        return None
    return anytime_look(claim.evidence.pairs, margin_share, needed, protected)


@dataclass(frozen=True)
class Gate:
    """Whether a change of a prompt or a model keeps the margin; if not, `sentence` says why."""

    passes: bool
    sentence: str
    parts: tuple[Part, ...]
    flaws: tuple[str, ...]


def gate(
    before: pd.DataFrame | str | Path,
    after: pd.DataFrame | str | Path,
    margin_share: float,
    route: str | None = None,
    protected: Sequence[str] = (),
    accepted_from: float | None = None,
    alpha: float = ALPHA,
) -> Gate:
    """Whether the answers after a change are less than the margin worse than those before.

    It passes only where that is shown, over all items and in each protected slice, and the scoring
    has no fault: too few items do not pass.

    before, after: evaluations of the same items, tables or files of any format. route: the one to
    take where they have several.
    Raises: ValueError as `compare`, or for several routes of which none is named.

    >>> before = pd.DataFrame({"item_id": range(300), "route": "app"})
    >>> before = before.assign(score=[1] * 290 + [0] * 10)
    >>> after = before.assign(score=[1] * 200 + [0] * 100)
    >>> gate(before, after, margin_share=0.05).sentence
    '-30.0 [-34.5, -25.8] points on 300 items are worse than the margin of 5 points'
    >>> gate(before, before, margin_share=0.05).passes
    True
    """
    from llmstudy.evals.importers import read_evaluation

    sides = []
    for name, side in (("before", before), ("after", after)):
        answers = read_evaluation(side, scale=None if accepted_from is None else 1)
        routes = answers["route"].unique().tolist()
        if route is None and len(routes) > 1:
            raise ValueError(f"{name} has the routes {', '.join(routes)}: name the one to compare")
        own = answers if route is None else answers[answers["route"] == route]
        if own.empty:
            raise ValueError(f"{name} has no route {route}: it has {', '.join(routes)}")
        sides.append(own.assign(route=name, run=None, workload=None))
    quality.check_alpha(alpha)
    evidence = paired_evidence(
        one_name_each(pd.concat(sides, ignore_index=True)),
        "before",
        "after",
        slices=protected,
        accepted_from=accepted_from,
        apart_from=("duplicate_scores",),  # a change may change no answer
    )
    parts = _parts(evidence, protected, margin_share, alpha, alpha)
    action, _, because = _action(parts, evidence.flaws, None)
    return Gate(action == "SWITCH", because, parts, evidence.flaws)


def _action(
    parts: tuple[Part, ...], flaws: tuple[str, ...], costs: Costs | None
) -> tuple[Action, int | None, str]:
    """What to do, the items to collect, and why."""
    overall, slices = parts[0], parts[1:]
    required = [overall, *(part for part in slices if part.protected)]
    states = {part.test.verdict for part in required}
    if flaws:
        n = overall.items.items
        return "COLLECT", n, f"mend the scoring and score the {count(n)} items again. {flaws[0]}"
    dearer = costs is not None and costs.difference.low > 0
    if states == {"non-inferior"}:
        weakest = min(required, key=lambda part: part.test.difference.low)
        why = f"{_words(weakest)} keep the margin of {_points(weakest.test.margin_share)} points"
        if dearer:
            return "STAY", None, f"{why}, but it costs more"
        if costs is not None and costs.difference.high >= 0:
            most = _items_for_costs(overall.items.items, costs.difference)
            more = f"{count(most)} more items would show" if most else "no number of items shows"
            return "COLLECT", most, f"{why}; {more} whether it costs less"
        return "SWITCH", None, why
    moving = [part.slice for part in slices if part.test.verdict == "non-inferior"]
    staying = [part.slice for part in slices if part.slice not in moving]
    if moving and staying and not dearer:
        return (
            "HYBRID",
            None,
            f"{listed(moving)} may move; {listed(staying)} {'stay' if staying[1:] else 'stays'} "
            f"({_words(overall)}, margin {_points(overall.test.margin_share)} points)",
        )
    if "inferior" in states:
        worst = next(part for part in required if part.test.verdict == "inferior")
        margin = _points(worst.test.margin_share)
        return "STAY", None, f"{_words(worst)} are worse than the margin of {margin} points"
    hardest = max(required, key=lambda part: _needed(part, overall))
    items = max(_needed(hardest, overall) - overall.items.items, 1)
    return (
        "COLLECT",
        items,
        f"{_words(hardest)} do not settle the margin of {_points(overall.test.margin_share)} "
        f"points; {count(items)} more items would",
    )


def _needed(part: Part, overall: Part) -> int:
    """Items of the evaluation that settle a part, which keeps its share of them; 0 if settled."""
    test = part.test
    if test.verdict != "undecided":
        return 0
    counts = part.items.counts
    # on the margin no number would settle it: plan for no true difference
    worth = test.n_needed or quality.score_test_size(
        counts.discordance_share, test.margin_share, test.alpha
    )
    items = worth * part.items.items / counts.n
    return ceil(items * overall.items.items / part.items.items)


def _items_for_costs(n: int, difference: Interval) -> int | None:
    if not difference.estimate:
        return None
    half = (difference.high - difference.low) / 2
    return max(ceil(n * ((half / abs(difference.estimate)) ** 2 - 1)), 1)


def _points(x: float) -> str:
    return f"{100 * x:.3g}"


def _words(part: Part) -> str:
    d = part.test.difference
    where = f" of {part.slice}" if part.slice else ""
    return (
        f"{100 * d.estimate:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}] points on "
        f"{part.items}{where}"
    )


def _cost_words(costs: Costs | None) -> str:
    if costs is None:
        return "; the cost of an accepted answer is not known."
    return (
        f"; an accepted answer costs {usd(costs.candidate.estimate)} instead of "
        f"{usd(costs.baseline.estimate)}."
    )


def costs_of(evidence: Evidence, repair_usd: float | None = None) -> Costs | None:
    """Cost per accepted answer of both routes with 95 % intervals; None where one is not recorded.

    The intervals are from resampled items, or clusters, of both routes together, so that they
    account for what the routes share (`quality.bootstrap_interval`). Where too few answers are
    wrong for that, acceptance is drawn from the posterior of the counts (`quality.draw_acceptance`)
    and the mean costs from their normal distributions.

    repair_usd: as `cost.usd_per_accepted_answer`.

    >>> from llmstudy.evals.table import conform
    >>> rows = {"item_id": [*range(100)] * 2, "route": ["api"] * 100 + ["open"] * 100,
    ...         "score": [1, 0] * 50 + [1] * 100, "cost_usd": [0.004, 0.002] * 50 + [0.002] * 100}
    >>> evidence = paired_evidence(conform(pd.DataFrame(rows)), "api", "open")
    >>> for repair in (None, 1.0):
    ...     print(round(costs_of(evidence, repair).baseline.estimate, 6))
    0.006
    0.503
    """
    rows = evidence.pairs[["baseline", "candidate", "baseline_usd", "candidate_usd"]]
    figures = rows.to_numpy(dtype=float)
    if not np.isfinite(figures).all() or not figures[:, :2].any(axis=0).all():
        return None
    clusters = clusters_of(evidence.pairs)
    try:
        intervals = [
            quality.bootstrap_interval(each, figures, clusters, np.random.default_rng(SEED))
            for each in _per_accepted(repair_usd)
        ]
    except ValueError:
        return _drawn_costs(figures.mean(axis=0), _drawn_means(evidence, figures), repair_usd)
    return Costs(*intervals)


def costs_at_prices(
    counts: PairedCounts,
    baseline_usd: float,
    candidate_usd: float,
    repair_usd: float | None = None,
) -> Costs | None:
    """As `costs_of`, where the mean price of an answer is known and acceptance alone is uncertain.

    counts: a is the baseline, b the candidate. baseline_usd, candidate_usd: of a request.
    None where a route has no accepted answer.

    >>> costs = costs_at_prices(PairedCounts(900, 50, 30, 20), 0.005, 0.001)
    >>> for each in (costs.candidate, costs.difference):
    ...     print(f"{each.estimate:.5f} [{each.low:.5f}, {each.high:.5f}]")
    0.00108 [0.00106, 0.00110]
    -0.00419 [-0.00427, -0.00412]
    """
    accepted = np.array([counts.both + counts.only_a, counts.both + counts.only_b]) / counts.n
    if not accepted.all():
        return None
    prices = np.array([baseline_usd, candidate_usd])
    drawn = quality.draw_acceptance(counts, _DRAWS, np.random.default_rng(SEED))
    draws = np.hstack([drawn, np.broadcast_to(prices, drawn.shape)])
    return _drawn_costs(np.concatenate([accepted, prices]), draws, repair_usd)


_Statistic = Callable[[FloatArray], FloatArray]


def _per_accepted(repair_usd: float | None) -> tuple[_Statistic, _Statistic, _Statistic]:
    """Cost per accepted answer of both routes, and the candidate's less the baseline's.

    Each takes means (..., 4) as `_drawn_means` returns.
    """

    def of_side(mean: FloatArray, side: int) -> FloatArray:
        return np.asarray(usd_per_accepted_answer(mean[..., 2 + side], mean[..., side], repair_usd))

    return (
        lambda mean: of_side(mean, 0),
        lambda mean: of_side(mean, 1),
        lambda mean: of_side(mean, 1) - of_side(mean, 0),
    )


def _drawn_costs(mean: FloatArray, draws: FloatArray, repair_usd: float | None) -> Costs:
    """Costs at the means, (4,), with the 95 % intervals of their draws, (draws, 4)."""
    ends = [0.025, 0.975]
    return Costs(
        *(
            Interval(float(each(mean)), *np.quantile(each(draws), ends).tolist())
            for each in _per_accepted(repair_usd)
        )
    )


def _drawn_means(evidence: Evidence, figures: FloatArray) -> FloatArray:
    """Draws of the mean acceptance and the mean cost of both routes. (draws, 4)"""
    rng = np.random.default_rng(SEED)
    accepted = quality.draw_acceptance(evidence.overall.counts, _DRAWS, rng)
    worth = evidence.overall.counts.n
    usd_means, usd_errors = figures[:, 2:].mean(axis=0), figures[:, 2:].std(axis=0, ddof=1)
    costs = usd_means + usd_errors / sqrt(worth) * rng.standard_normal((_DRAWS, 2))
    return np.hstack([accepted, costs])


def noise_floor(answers: pd.DataFrame) -> float | None:
    """The noise floor (`quality.noise_floor`) of a route's first two answers to these items.

    The larger one of the routes; None where none answered its items twice.

    answers: as `table.conform`.

    >>> from llmstudy.evals.table import conform
    >>> rows = {"item_id": [*range(100)] * 2, "route": "open", "score": [1] * 190 + [0] * 10}
    >>> round(noise_floor(conform(pd.DataFrame(rows))), 3)
    0.062
    """
    scored = answers[answers["scored"] & answers["epoch"].isin([1, 2])]
    repeats = []
    for route, of_route in scored.groupby("route"):
        both = of_route.pivot_table("score", "item_id", "epoch").reindex(columns=[1, 2]).dropna()
        unlike = {
            "only_a": int((both[1] > both[2]).sum()),
            "only_b": int((both[1] < both[2]).sum()),
        }
        if len(both):
            repeats.append({"benchmark": route, "n": len(both), **unlike})
    if not repeats:
        return None
    return float(quality.noise_floor(pd.DataFrame(repeats))["floor"].max())
