"""Does a judge agree with people? A sheet of the answers that it scored, and what labels say of it.

The sheet names neither the route nor the judge's score, and mixes the routes. The labels become
the second scores of the evaluation: `evidence` then corrects the judge's difference by them.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from llmstudy.evals.counts import clusters_of
from llmstudy.evals.identity import sha256_of
from llmstudy.evals.items import ItemSet, agreement, label_shares, prompt_of, read_labelled
from llmstudy.evals.judges import calibration, measure_of
from llmstudy.evals.table import accepted, pairs
from llmstudy.figure import Interval
from llmstudy.measures.quality import (
    JudgedDifference,
    clustered_difference,
    judged_difference,
    krippendorff_alpha,
)
from llmstudy.text import refuse

DIFFERENCE = "difference"
"""The row of a calibration that is of the pair: candidate less baseline of each item."""


@dataclass(frozen=True)
class Corrected:
    """The candidate's accuracy less the baseline's, by labels alone and by the judge with them.

    labelled: items with labels; judged: all items that the judge scored.
    """

    candidate: str
    baseline: str
    labelled: int
    judged: int
    labels_only: Interval
    by_judge: JudgedDifference


@dataclass(frozen=True)
class Calibrated:
    """A judge beside labels.

    evaluation: with the labels as `score_2`. table: a row for each route, and one (`DIFFERENCE`)
    for each candidate, where two are compared; columns what, route, n, agreement, agreement_low,
    agreement_high, kappa, kappa_low, kappa_high, alpha (Krippendorff's), sufficient, sentence;
    null where nothing differs. corrected: of each candidate. measure: what the judge's scores may
    be called. labellers_alpha: Krippendorff's, of the labellers among themselves. scoring_usd: what
    the judge's scores cost; null where that is not recorded.
    """

    evaluation: pd.DataFrame
    table: pd.DataFrame
    corrected: tuple[Corrected, ...]
    measure: str
    labellers_alpha: float | None
    scoring_usd: float | None


def answers_sheet(
    evaluation: pd.DataFrame, n: int, items: ItemSet | None = None, labellers: int = 1
) -> pd.DataFrame:
    """The answers to n items that a judge scored, for people to label blindly.

    evaluation: as `table.conform`. n: items, drawn by the hash of their ids; all routes' first
    answers to each. items: for the prompts and references.
    Returns: answer_id, prompt, reference, answer, label_1... (one of `items.LABELS`), note; in an
    order that mixes the routes.
    Raises: ValueError where no judge scored an item on every route, and for answers without text.
    """
    judged = _judged(evaluation)
    answers = judged[judged["epoch"] == judged["epoch"].min()]
    on_all = answers.groupby("item_id")["route"].nunique() == answers["route"].nunique()
    drawn = sorted(on_all.index[on_all], key=sha256_of)[:n]
    rows = answers[answers["item_id"].isin(drawn)]
    refuse(rows.loc[rows["answer"].isna(), "item_id"], "without the text of an answer: keep it")
    texts = {str(item["item_id"]): item for item in items.items} if items else {}
    shown = [texts.get(item_id) for item_id in rows["item_id"]]
    sheet = pd.DataFrame(
        {
            "answer_id": rows["answer_id"].to_numpy(),
            "prompt": [item and prompt_of(item) for item in shown],
            "reference": [item and item.get("reference") for item in shown],
            "answer": rows["answer"].to_numpy(dtype=object),
            **{f"label_{k}": None for k in range(1, labellers + 1)},
            "note": None,
        }
    )
    return sheet.sort_values("answer_id", ignore_index=True)


def calibrated(
    evaluation: pd.DataFrame,
    sheet: str | Path,
    baseline: str | None = None,
    accepted_from: float | None = None,
) -> Calibrated:
    """What the labels of a sheet say of the judge of an evaluation.

    sheet: as `answers_sheet` made it, filled in; where labellers differ the majority counts, and an
    answer on which they are even is not labelled. baseline: the route that others are compared
    with; None: the first. accepted_from: the judge's score from which an answer is right, which a
    judge that grades needs.
    Raises: ValueError as `items.read_labelled`, `table.accepted` and `table.pairs` do, for a sheet
    without labels, and for fewer labelled items than `judged_difference` needs.
    """
    judged = _judged(evaluation)
    rows = read_labelled(
        sheet, "answer_id", set(judged["answer_id"]), "that the evaluation does not have"
    )
    shares = label_shares(rows).set_axis(rows["answer_id"])
    majority = (shares > 0.5).astype(float).mask(shares.isna() | (shares == 0.5))
    labels = judged["answer_id"].map(majority)
    if labels.isna().all():
        raise ValueError(f"{sheet}: no answer is labelled: write right or wrong in label_1")
    both = accepted(judged, accepted_from).assign(score_2=labels)
    labelled = evaluation.assign(score_2=labels.reindex(evaluation.index).astype(float))
    baseline = baseline or str(both["route"].iloc[0])
    candidates = [str(route) for route in both["route"].unique() if route != baseline]
    side_by_side = " against " in str(both["scorer"].iloc[0])
    table = [] if side_by_side else [_of_route(route, own) for route, own in both.groupby("route")]
    corrected = []
    for candidate in candidates:
        row, difference = _of_pair(both, baseline, candidate)
        table.append(row)
        corrected.append(difference)
    # one answer at a time is what a grade speaks of, the pair what a preference does
    decides = table if side_by_side else [row for row in table if row["what"] != DIFFERENCE]
    words = str(both["scorer"].iloc[0]).split()
    rubric = words[1] if words[0] == "judge" and len(words) > 1 else " ".join(words)
    return Calibrated(
        labelled,
        pd.DataFrame(table),
        tuple(corrected),
        measure_of(rubric, all(row["sufficient"] for row in decides)),
        agreement(rows),
        _total(judged["scoring_usd"]),
    )


def _judged(evaluation: pd.DataFrame) -> pd.DataFrame:
    """The answers that a judge scored, each with its `answer_id`."""
    judged = evaluation[evaluation["judge"].notna() & evaluation["scored"]]
    if judged.empty:
        raise ValueError("no answer with a score of a judge: score them with `eval run --judge`")
    names = judged[["item_id", "route", "run", "epoch"]].astype(object)
    ids = [sha256_of([str(cell) for cell in row])[:12] for row in names.to_numpy().tolist()]
    return judged.assign(answer_id=ids)


def _of_route(route: object, own: pd.DataFrame) -> dict[str, object]:
    labelled = own[own["score_2"].notna()]
    return _row("route", str(route), labelled["score"], labelled["score_2"])


def _of_pair(
    both: pd.DataFrame, baseline: str, candidate: str
) -> tuple[dict[str, object], Corrected]:
    """The judge's agreement on the differences of items, and the difference without its bias."""
    second = both.assign(score=both["score_2"], scored=both["score_2"].notna())
    judged = pairs(both, baseline, candidate)
    by_hand = pairs(second, baseline, candidate).reindex(judged.index).dropna(subset="baseline")
    ours = (by_hand["candidate"] - by_hand["baseline"]).astype(float)
    every = (judged["candidate"] - judged["baseline"]).astype(float)
    theirs, more = every[ours.index], every[~every.index.isin(ours.index)]
    clusters = clusters_of(judged)
    names = None if clusters is None else (clusters[ours.index], clusters[more.index])
    labels_only = clustered_difference(ours, None if names is None else names[0])
    if more.empty:  # labels leave a judge nothing to add
        judge_only = clustered_difference(every, clusters)
        by_judge = JudgedDifference(labels_only, 0.0, judge_only)
    else:
        by_judge = judged_difference(ours, theirs, more, clusters=names)
    row = _row(DIFFERENCE, candidate, theirs, ours)
    return row, Corrected(candidate, baseline, len(ours), len(every), labels_only, by_judge)


def _row(
    what: str, route: str, judged: "pd.Series[float]", labels: "pd.Series[float]"
) -> dict[str, object]:
    """A row of the table of a calibration."""
    row: dict[str, object] = {"what": what, "route": route, "n": len(labels)}
    try:
        measured = calibration(judged.round(12).tolist(), labels.round(12).tolist())
        alpha = krippendorff_alpha(np.array([judged, labels]))
    except ValueError as error:
        return row | {"sufficient": False, "sentence": str(error)}
    figures = {name: value for name, value in asdict(measured).items() if name != "rarest_n"}
    more = {"alpha": alpha, "sufficient": measured.sufficient, "sentence": measured.sentence}
    return row | figures | more


def _total(usd: "pd.Series[float]") -> float | None:
    return float(usd.sum()) if usd.notna().all() else None
