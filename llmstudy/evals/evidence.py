"""What an evaluation says of one candidate: its counts, overall and by slice, and its flaws."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from llmstudy.evals.audit import audit
from llmstudy.evals.counts import ItemCounts, item_counts, judged_counts
from llmstudy.evals.table import accepted, pairs

MENDED_BY_LABELS = {"scorer_disagreement", "self_preference"}
"""Findings on a judge that its labels correct."""


@dataclass(frozen=True)
class Evidence:
    """The paired counts of a candidate against today's route.

    pairs: the items that both have scored answers to. overall: the counts of all of them. slices:
    of each slice asked for. flaws: sentences on faults of the scoring; with any of them the counts
    decide nothing. not_scored: answers of the two routes without a score. served: the models that
    answered, today's and the candidate's. scorers: of both, or of each where they are unlike.
    """

    pairs: pd.DataFrame
    overall: ItemCounts
    slices: dict[str, ItemCounts] = field(default_factory=dict)
    flaws: tuple[str, ...] = ()
    not_scored: int = 0
    served: tuple[str, str] = ("", "")
    scorers: tuple[str, ...] = ()


def paired_evidence(
    evaluation: pd.DataFrame,
    baseline: str,
    candidate: str,
    workload: str | None = None,
    slices: Iterable[str] = (),
    accepted_from: float | None = None,
    apart_from: Iterable[str] = (),
) -> Evidence:
    """The counts of a pair of routes in an evaluation, with what the audit has against them.

    Items that a judge scored need labels beside them, in `score_2` or as rows without a judge: the
    judge's scores are then corrected by them, and alone they decide nothing.

    evaluation: as `table.conform`. workload: whose items alone count, where the rows name one.
    slices: those that are also counted by themselves. accepted_from: as `table.accepted`.
    apart_from: kinds of findings (`audit`) that are no flaw here.
    Raises: ValueError as `table.pairs` and `table.accepted` do, and for a workload or a slice
    without items.

    >>> from llmstudy.evals.table import conform
    >>> rows = pd.DataFrame({"item_id": [1, 2] * 2, "route": ["api"] * 2 + ["open"] * 2,
    ...                      "score": [1, 1, 1, 0]})
    >>> paired_evidence(conform(rows), "api", "open").overall.cells
    (1, 1, 0, 0)
    """
    own = of_workload(evaluation, workload)
    routes = own["route"].isin([baseline, candidate])
    if {baseline, candidate} <= set(own["route"]):
        own = own[routes]
    answers = accepted(own, accepted_from)
    judged = answers["judge"].notna()
    labels = _labels(answers, accepted_from)
    items_scored = answers[judged] if judged.any() else answers
    items = pairs(items_scored, baseline, candidate)
    labelled = pairs(labels, baseline, candidate) if labels is not None else None
    counted = {"": _of_items(items, labelled)}
    for name in slices:
        of_slice = items[items["slice"] == name]
        if of_slice.empty:
            present = ", ".join(sorted(items["slice"].dropna().unique())) or "none"
            raise ValueError(f"no items of the slice {name}: the evaluation's slices are {present}")
        in_slice = None if labelled is None else labelled[labelled.index.isin(of_slice.index)]
        counted[name] = _of_items(of_slice, in_slice)
    return Evidence(
        items,
        counted.pop(""),
        counted,
        tuple(_flaws(own, labelled, set(apart_from))),
        int((~own["scored"]).sum()),
        (_served(own, baseline), _served(own, candidate)),
        tuple(map(str, items_scored["scorer"].dropna().unique())),
    )


def of_workload(evaluation: pd.DataFrame, workload: str | None) -> pd.DataFrame:
    """The rows of a workload; all of them where none names one, or none is asked for."""
    if workload is None or evaluation["workload"].isna().all():
        return evaluation
    own = evaluation[evaluation["workload"] == workload]
    if own.empty:
        names = ", ".join(sorted(evaluation["workload"].dropna().unique()))
        raise ValueError(f"the evaluation has no items of {workload}: its workloads are {names}")
    return own


def _labels(answers: pd.DataFrame, accepted_from: float | None) -> pd.DataFrame | None:
    """The answers that a person scored beside the judge; None without a judge or without labels."""
    judged = answers["judge"].notna()
    if not judged.any():
        return None
    labels = answers[~judged]
    if labels.empty:
        second = answers.assign(score=answers["score_2"])
        second["scored"] = second["score"].notna()
        labels = accepted(second[second["scored"]], accepted_from)
    return None if labels.empty else labels


def _of_items(items: pd.DataFrame, labelled: pd.DataFrame | None) -> ItemCounts:
    if labelled is None or labelled.empty:
        return item_counts(items)
    return judged_counts(labelled, items)


def _flaws(own: pd.DataFrame, labelled: pd.DataFrame | None, without: set[str]) -> list[str]:
    findings = audit(own).findings
    if labelled is not None:
        without |= MENDED_BY_LABELS
    sentences = list(map(str, findings.loc[~findings["kind"].isin(without), "sentence"]))
    judges = own["judge"].dropna().unique()
    if len(judges) and labelled is None:
        sentences.append(
            f"The judge {', '.join(judges)} scored these answers, and no label checks it: label "
            f"some of them by hand (`llmstudy eval calibrate`), and its scores count as far as "
            f"they agree."
        )
    return sentences


def _served(evaluation: pd.DataFrame, route: str) -> str:
    models = evaluation.loc[evaluation["route"] == route, "served_model"].dropna().unique()
    return ", ".join(models) or route
