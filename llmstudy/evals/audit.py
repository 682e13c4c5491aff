"""Is the scorer sound? Faults of an evaluation that are looked for before any claim rests on it.

Each check is a function of one table that returns what it finds, or says why it cannot look. Tests
are at a level that a sound evaluation rarely fails: all the tests of a check together raise a false
alarm in one of a hundred (`FALSE_ALARM`), a score below guessing in one of a thousand.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from llmstudy.figure import Interval
from llmstudy.measures.quality import (
    IMPLAUSIBLE,
    PairedCounts,
    clustered_difference,
    paired_difference,
    same_weights_hosts,
    wilson,
)
from llmstudy.text import listed, refuse

FALSE_ALARM = 0.01
"""Chance that a check of shares or gaps has a finding in a sound evaluation."""

MARGIN_SHARE = 0.02
"""Share of the answers that a fault of the scorer must touch to matter, unless a study says so."""

FINDING = ("kind", "route", "other", "slice", "n", "figure", "low", "high", "sentence")

_Table = pd.DataFrame
_Rows = list[dict[str, Any]]


class Audit(NamedTuple):
    """What is wrong with an evaluation, and what could not be looked at.

    findings: a row for each, with the columns FINDING: kind, route (null: of all), other (route
    that it is compared with), slice (null: all items), n (items), figure with low and high (a share
    or a difference of shares, 95 % interval; null where none is meant), sentence (with what to do).
    noise: two answers of one model to the same items: served_model, route, other, n,
    discordance_share (items that differ), difference, low, high. not_checked: why, by kind.
    """

    findings: pd.DataFrame
    noise: pd.DataFrame
    not_checked: dict[str, str]


class NotCheckedError(Exception):
    """The evaluation lacks what a check needs; the message says what."""


def audit(evaluation: pd.DataFrame, margin_share: float = MARGIN_SHARE) -> Audit:
    """The faults of an evaluation that its own rows show.

    evaluation: as `evals.table.conform` returns; labels by hand are in score_2, or are rows without
    a judge beside those of a judge. margin_share: difference between routes that matters to the
    decision.
    Raises: ValueError if not 0 < margin < 1, and for answers with scores of several scorers.

    >>> from llmstudy.evals.table import conform
    >>> rows = pd.DataFrame({"item_id": range(270), "route": "gpt-4", "chance": 0.25,
    ...                      "score": [item < 8 for item in range(270)]})
    >>> audit(conform(rows)).findings[["kind", "n", "figure"]].round(3).values.tolist()
    [['below_chance', 270, 0.03]]
    """
    if not 0 < margin_share < 1:
        raise ValueError(f"margin {margin_share:g}: give a share between 0 and 1, such as 0.02")
    evaluation = _with_labels(evaluation)
    answers = evaluation.assign(by=_by(evaluation))
    twice = answers.duplicated(["item_id", "by", "epoch"])
    refuse(answers["item_id"][twice], "scored by several scorers: choose one")
    rows: _Rows = []
    not_checked = {}
    for kind, check in _CHECKS.items():
        if kind in _NEEDS:
            column, meaning = _NEEDS[kind]
            has = answers[column].notna().groupby(answers["by"], sort=False).any()
            if not has.all():
                without = f" of {listed(list(map(str, has.index[~has])))}" if has.any() else ""
                not_checked[kind] = f"no column {column}{without}, {meaning}"
            if not has.any():
                continue
        try:
            rows += [{"kind": kind, **each} for each in check(answers, margin_share)]
        except NotCheckedError as reason:
            not_checked[kind] = str(reason)
    findings = pd.DataFrame(rows, columns=list(FINDING)).astype({"n": "Int64"})
    try:
        noise_ = noise(evaluation)
    except NotCheckedError:
        noise_ = pd.DataFrame(columns=list(_NOISE))
    return Audit(findings, noise_, not_checked)


def _with_labels(evaluation: pd.DataFrame) -> pd.DataFrame:
    """The evaluation with labels that are rows of their own as second scores of the judged ones."""
    answer = ["item_id", "route", "run", "epoch"]
    is_judged = evaluation["judge"].notna()
    labels = evaluation.loc[~is_judged, [*answer, "score"]].rename(columns={"score": "label"})
    judged = evaluation[is_judged]
    beside = judged.merge(labels, how="left", on=answer)
    if len(beside) != len(judged) or beside["label"].isna().all():
        return evaluation
    return beside.assign(score_2=beside["score_2"].fillna(beside["label"]))[evaluation.columns]


def _by(evaluation: pd.DataFrame) -> "pd.Series[Any]":
    """What answered: the route, and its run where it has several."""
    route = evaluation["route"].astype(object)
    run = evaluation["run"].astype(object).fillna("without a name")
    return route.where(run.groupby(route).transform("nunique") < 2, route + ", run " + run)


def _first(answers: _Table) -> _Table:
    """One answer to each item, the first: repeats of an item are not independent."""
    return answers[~answers.duplicated(["item_id", "by"])]


# ---- one route ----------------------------------------------------------------------------------


def _below_chance(answers: _Table, _: float) -> Iterator[dict[str, Any]]:
    """Routes and slices with a score that guessing beats.

    Exact binomial test of the mean chance, corrected for the number of cells. Where chances differ
    between items it is conservative: Hoeffding (1956), Annals of Mathematical Statistics 27:713.
    """
    scored = _first(answers[answers["scored"]])
    scored = scored[scored["chance"].notna()]
    if not scored["score"].isin([0, 1]).all():
        raise NotCheckedError("scores are not 0 or 1")
    cells: list[tuple[str, str | None, _Table]] = [
        (str(by), None, rows) for by, rows in scored.groupby("by", sort=False)
    ]
    if len(set(scored["slice"].dropna())) > 1:
        parts = scored.groupby(["by", "slice"], sort=False)
        cells += [(str(by), str(part), rows) for (by, part), rows in parts]
    for by, part, rows in cells:
        n, right, chance = len(rows), int(rows["score"].sum()), float(rows["chance"].mean())
        p = binomtest(right, n, min(chance, 1.0), alternative="less").pvalue * len(cells)
        if p < IMPLAUSIBLE:
            share = wilson(right, n)
            where = f" of slice {part}" if part else ""
            yield _finding(
                by,
                share,
                n,
                f"{by} answers {right} of {n} items{where} correctly, fewer than guessing would "
                f"({chance:.0%}; p = {p:.0e}): read its outputs and mend the scorer, or leave "
                "these items out.",
                part,
            )


def _extraction_failure(answers: _Table, margin_share: float) -> Iterator[dict[str, Any]]:
    failed = answers["extracted"].eq(False).astype("boolean")
    yield from _lost(
        answers.assign(lost=failed.mask(answers["extracted"].isna())),
        margin_share,
        "No answer could be taken from {share} of the outputs of {by} ({n} items), which count as "
        "wrong: read them, and mend the scorer or the prompt's output format",
        "No answer could be taken from {share} more outputs of {by} than of {other}, more than the "
        "margin of {margin}: compare them after the scorer or the prompt is mended",
    )


def _unscored(answers: _Table, margin_share: float) -> Iterator[dict[str, Any]]:
    yield from _lost(
        answers.assign(lost=~answers["scored"]),
        margin_share,
        "{share} of the answers of {by} ({n} items) are not scored and leave the comparison: run "
        "them again",
        "{share} more answers of {by} than of {other} are not scored, more than the margin of "
        "{margin}: run them again, since the items that are left may be the easy ones",
    )


def _lost(
    answers: _Table, margin_share: float, of_one: str, of_two: str
) -> Iterator[dict[str, Any]]:
    """Routes that lose more than the margin, and pairs that differ by more than it."""
    first = _first(answers[answers["lost"].notna()])
    routes = {str(by): rows["lost"].astype(float) for by, rows in first.groupby("by", sort=False)}
    level = 1 - FALSE_ALARM / len(routes)
    for by, lost in routes.items():
        n, count = len(lost), int(lost.sum())
        if wilson(count, n, level).low > margin_share:
            words = of_one.format(by=by, n=n, share=f"{count / n:.1%}")
            yield _finding(by, wilson(count, n), n, f"{words}.")
    for by, other, pair in _pairs(first, "lost"):
        counts = _counts(pair[other], pair[by])
        test = paired_difference(counts, level)
        if test.low > 0 or test.high < 0:
            more, less = (by, other) if test.low > 0 else (other, by)
            difference = paired_difference(_counts(pair[less], pair[more]))
            if difference.estimate > margin_share:
                share, margin = f"{difference.estimate:.1%}", f"{margin_share:.1%}"
                words = of_two.format(by=more, other=less, share=share, margin=margin)
                yield _finding(more, difference, len(pair), f"{words}.", other=less)


# ---- copies -------------------------------------------------------------------------------------


def _duplicate_items(answers: _Table, _: float) -> Iterator[dict[str, Any]]:
    items = answers[answers["item_hash"].notna()].drop_duplicates(["item_id", "item_hash"])
    copies = items[items.duplicated("item_hash", keep=False)]
    extra = len(copies) - copies["item_hash"].nunique()
    if extra:
        groups = copies.groupby("item_hash", sort=False)["item_id"].agg(list)
        names = listed([str(name) for name in groups.iloc[0][:3]])
        yield {
            "n": extra,
            "figure": extra / items["item_id"].nunique(),
            "sentence": f"{extra} of {items['item_id'].nunique()} items have the prompt and "
            f"reference answer of another (first: {names}): leave the copies out, since they count "
            "double.",
        }


def _duplicate_scores(answers: _Table, _: float) -> Iterator[dict[str, Any]]:
    """Pairs with the same score on every item, where that is not by chance."""
    scored = answers[answers["scored"]]
    wide = scored.pivot_table("score", ["item_id", "epoch"], "by")
    pairs_ = list(combinations([str(by) for by in dict.fromkeys(answers["by"])], 2))
    if not pairs_:
        raise NotCheckedError("one route in one run")
    for by, other in pairs_:
        if not {by, other} <= set(wide.columns):
            continue
        both = wide[[by, other]].dropna()
        if both.empty or not np.allclose(both[by], both[other], rtol=0, atol=1e-12):
            continue
        p = agreement_chance(both[by].to_numpy()) * len(pairs_)
        if p < IMPLAUSIBLE:
            yield {
                "route": by,
                "other": other,
                "n": len(both),
                "sentence": f"{by} and {other} have the same score on each of {len(both)} answers "
                f"(p < {max(p, 1e-99):.0e}): look whether one is a copy of the other or comes from "
                "a cache, and run it again.",
            }


def agreement_chance(scores: Sequence[float] | np.ndarray[Any, Any]) -> float:
    """Highest chance that another model or run has just these scores, all of them.

    Two independent vectors with these shares of each value differ on 1 - sum(share^2) of the items.
    Two hosts of the same weights differ on a part of that, on 22 % or more of it in the bundled
    runs, so that every item agrees with a chance of 1 - that part at most. Figures that are no
    simple fraction, such as 0.919591, are published means: each agrees in one case of a hundred.

    >>> agreement_chance([1, 0] * 50) < 1e-4, agreement_chance([1] * 100)
    (True, 1.0)
    >>> agreement_chance([0.958333, 0.919591, 0.883772, 0.850877]) < 1e-5
    True
    """
    values, counts = np.unique(np.asarray(scores, dtype=float), return_counts=True)
    hosts = same_weights_hosts()
    right = (2 * hosts["both"] + hosts["only_a"] + hosts["only_b"]) / (2 * hosts["n"])
    independent = 2 * right * (1 - right)
    least = float(((hosts["only_a"] + hosts["only_b"]) / hosts["n"] / independent).min())
    differing = 1 - float(((counts / counts.sum()) ** 2).sum())
    precise = sum(
        abs(value - float(Fraction(float(value)).limit_denominator(20))) > 1e-9 for value in values
    )
    return float(min((1 - least * differing) ** int(counts.sum()), 100.0**-precise))


# ---- two scorers --------------------------------------------------------------------------------


def _scorer_disagreement(answers: _Table, margin_share: float) -> Iterator[dict[str, Any]]:
    scored = answers[answers["scored"] & answers["score_2"].notna()]
    change = (scored["score_2"] - scored["score"]).round(12)
    first = _first(scored.assign(change=change))
    routes = {str(by): rows for by, rows in first.groupby("by", sort=False)}
    for by, rows in routes.items():
        n, count = len(rows), int((rows["change"] != 0).sum())
        if wilson(count, n, 1 - FALSE_ALARM / len(routes)).low > margin_share:
            yield _finding(
                by,
                wilson(count, n),
                n,
                f"Two scorers differ on {count} of {n} answers of {by} ({count / n:.1%}), and its "
                f"mean moves from {rows['score'].mean():.1%} to {rows['score_2'].mean():.1%}: read "
                "the answers that differ, and take the scorer that is right.",
            )
    pairs_ = list(_pairs(first, "change"))
    for by, other, moved in pairs_:
        shift = moved[by] - moved[other]
        if _moves(shift, first, len(pairs_)):
            scores = first[first["item_id"].isin(moved.index)].groupby("by")["score"].mean()
            gap = float(scores[by] - scores[other])
            yield _finding(
                by,
                mean_interval(shift),
                len(moved),
                f"The gap between {by} and {other} is {100 * gap:+.1f} points by one scorer and "
                f"{100 * (gap + shift.mean()):+.1f} by the other: settle on one before comparing.",
                other=other,
            )


def _self_preference(answers: _Table, _: float) -> Iterator[dict[str, Any]]:
    """Routes whose answers a judge of their own family scores, against a second scorer."""
    judged = answers[answers["scored"] & answers["judge"].notna()]
    model = judged["served_model"].fillna(judged["route"])
    families = model.map(family), judged["judge"].map(family)
    own = _first(judged.assign(own=families[0] == families[1]))
    change = own["score"] - own["score_2"]
    favoured = own.groupby("by", sort=False)["own"].all()
    judges = own.groupby("by")["judge"].first()
    related = [str(by) for by in favoured.index[favoured]]
    if not related:
        return
    if change.isna().all():
        for by in related:
            yield {
                "route": by,
                "n": int((own["by"] == by).sum()),
                "sentence": f"The judge {judges[by]} is of the family of {by}, and nothing shows "
                "whether it prefers its own: have some 100 answers of each route scored by hand "
                "(`llmstudy eval calibrate`).",
            }
        return
    pairs_ = [
        each
        for each in _pairs(own.assign(change=change)[change.notna()], "change")
        if (each[0] in related) != (each[1] in related)
    ]
    for by, other, moved in pairs_:
        mine, theirs = (by, other) if by in related else (other, by)
        preference = (moved[mine] - moved[theirs]).round(12)
        if preference.mean() > 0 and _moves(preference, own, len(pairs_)):
            yield _finding(
                mine,
                mean_interval(preference),
                len(moved),
                f"The judge {judges[mine]} puts {mine}, of its own family, "
                f"{100 * preference.mean():.1f} points further ahead of {theirs} than the second "
                "scorer does: take a judge of another family, or calibrate it on hand-scored "
                "answers.",
                other=theirs,
            )


def family(model: str) -> str:
    """Who makes a model, by its name; the first word of a name that is not of a usual family.

    >>> [family(name) for name in ("openai/o3-mini", "gpt-4o", "mistralai/Mixtral-8x7B", "acme-1")]
    ['gpt', 'gpt', 'mistral', 'acme']
    """
    name = str(model).casefold().rpartition("/")[2]
    for maker, beginnings in _FAMILIES.items():
        if name.startswith(beginnings):
            return maker
    return name.replace("_", "-").split("-")[0]


_FAMILIES = {
    "gpt": ("gpt", "chatgpt", "o1", "o3", "o4"),
    "claude": ("claude", "anthropic.claude"),
    "gemini": ("gemini", "gemma"),
    "llama": ("llama", "meta-llama", "meta.llama"),
    "mistral": ("mistral", "mixtral", "ministral", "magistral", "codestral", "pixtral"),
    "qwen": ("qwen", "qwq"),
}


# ---- the noise floor ----------------------------------------------------------------------------

_NOISE = (
    "served_model",
    "route",
    "other",
    "n",
    "discordance_share",
    "difference",
    "low",
    "high",
)


def noise(evaluation: pd.DataFrame) -> pd.DataFrame:
    """How far two answers of one model to the same items differ: on two routes, or in two runs.

    A difference between models is to be read against it. Columns: served_model, route, other, n
    (items), discordance_share, difference (mean of other minus that of route), low, high (95 %).
    Raises: NotCheckedError if no model answered twice.
    """
    rows: _Rows = []
    for model, by, other, pair in _same_model(evaluation.assign(by=_by(evaluation))):
        difference = mean_interval(pair[other] - pair[by])
        rows.append(
            {
                "served_model": model,
                "route": by,
                "other": other,
                "n": len(pair),
                "discordance_share": float((pair[by] != pair[other]).mean()),
                "difference": difference.estimate,
                "low": difference.low,
                "high": difference.high,
            }
        )
    return pd.DataFrame(rows, columns=list(_NOISE))


def _noise_floor(answers: _Table, _: float) -> Iterator[dict[str, Any]]:
    """Two runs of one model that differ by more than chance."""
    twice = _same_model(answers)
    for model, by, other, pair in twice:
        less, more = sorted((by, other), key=dict(pair.mean()).__getitem__)
        difference = pair[more] - pair[less]
        if _moves(difference, answers, len(twice)):
            yield _finding(
                more,
                mean_interval(difference),
                len(pair),
                f"{model} scores {100 * difference.mean():.1f} points more on {more} than on "
                f"{less}, beyond chance: compare the prompt template, context limit, precision and "
                "sampling of the two.",
                other=less,
            )


def _same_model(answers: _Table) -> list[tuple[str, str, str, _Table]]:
    """Each model that answered twice, on what, and its mean scores of the items of both."""
    scored = answers[answers["scored"] & answers["served_model"].notna()]
    twice = [
        (str(model), by, other, pair)
        for model, own in scored.groupby("served_model", sort=False)
        for by, other, pair in _pairs(own, "score")
    ]
    if not twice:
        raise NotCheckedError(
            "no served_model answered the same items on two routes or in two runs"
        )
    return twice


# ---- statistics ---------------------------------------------------------------------------------


def sign_test_p(difference: "pd.Series[float]") -> float:
    """Two-sided p-value of the hypothesis that differences are as often above 0 as below.

    The exact McNemar test where differences are of right and wrong answers.

    >>> round(sign_test_p(pd.Series([1.0] * 3 + [-1.0] + [0.0] * 100)), 3)
    0.625
    """
    up, down = int((difference > 0).sum()), int((difference < 0).sum())
    return float(binomtest(up, up + down).pvalue) if up + down else 1.0


def _moves(difference: "pd.Series[float]", answers: _Table, tests: int) -> bool:
    """Whether the items' differences lean to one side; items of one cluster count as one."""
    clusters = answers.drop_duplicates("item_id").set_index("item_id")["cluster"].astype(object)
    of_item = clusters.reindex(difference.index)
    of_item = of_item.where(of_item.notna(), difference.index.to_series())
    return sign_test_p(difference.groupby(of_item.to_numpy()).sum()) < FALSE_ALARM / tests


def mean_interval(difference: "pd.Series[float]") -> Interval:
    """Mean of the items' differences with its 95 % interval.

    Tango's where they are of right and wrong answers, Student's t otherwise; without ends for
    items too few, or too alike, to tell.

    >>> mean_interval(pd.Series([0.0] * 95 + [1.0] * 5)).low > 0
    True
    """
    n = len(difference)
    if difference.isin([-1, 0, 1]).all():
        up, down = int((difference > 0).sum()), int((difference < 0).sum())
        return paired_difference(PairedCounts(0, down, up, n - up - down))
    try:
        return clustered_difference(difference.to_numpy())
    except ValueError:
        return Interval(float(difference.mean()), math.nan, math.nan)


def _pairs(answers: _Table, values: str) -> Iterator[tuple[str, str, _Table]]:
    """Each pair of what answered, with the mean value of each on every item that both have."""
    means = answers.assign(value=answers[values].astype(float))
    wide = means.pivot_table("value", "item_id", "by", sort=False)
    order = [by for by in dict.fromkeys(answers["by"]) if by in wide]
    for by, other in combinations(order, 2):
        pair = wide[[by, other]].dropna()
        if len(pair):
            yield str(by), str(other), pair


def _counts(a: "pd.Series[Any]", b: "pd.Series[Any]") -> PairedCounts:
    a, b = a.astype(bool), b.astype(bool)
    both, only_a, only_b = (int(cell.sum()) for cell in (a & b, a & ~b, ~a & b))
    return PairedCounts(both, only_a, only_b, len(a) - both - only_a - only_b)


def _finding(
    route: str,
    figure: Interval,
    n: int,
    sentence: str,
    part: str | None = None,
    other: str | None = None,
) -> dict[str, Any]:
    return {
        "route": route,
        "other": other,
        "slice": part,
        "n": n,
        "figure": figure.estimate,
        "low": figure.low,
        "high": figure.high,
        "sentence": sentence,
    }


_CHECKS: dict[str, Callable[[_Table, float], Iterator[dict[str, Any]]]] = {
    "below_chance": _below_chance,
    "extraction_failure": _extraction_failure,
    "unscored": _unscored,
    "duplicate_items": _duplicate_items,
    "duplicate_scores": _duplicate_scores,
    "scorer_disagreement": _scorer_disagreement,
    "self_preference": _self_preference,
    "noise_floor": _noise_floor,
}

_NEEDS = {
    "below_chance": ("chance", "the score that guessing has"),
    "extraction_failure": ("extracted", "whether an answer could be taken from an output"),
    "duplicate_items": ("item_hash", "which a column prompt would give"),
    "scorer_disagreement": ("score_2", "a second scorer's score of the same answers"),
    "self_preference": ("judge", "the model that scored the answers"),
}
"""The column that a check rests on, and what it is."""
