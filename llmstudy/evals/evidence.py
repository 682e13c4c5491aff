"""What an evaluation says of one candidate: its counts, overall and by slice, and its flaws."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from llmstudy.evals.audit import audit
from llmstudy.evals.counts import ItemCounts, item_counts
from llmstudy.evals.table import accepted, pairs


@dataclass(frozen=True)
class Evidence:
    """The paired counts of a candidate against today's route.

    overall: of all items. slices: of each protected slice. flaws: sentences on faults of the
    scoring; with any of them the counts decide nothing. not_scored: answers of both routes that
    have no score. served: the models that answered, today's and the candidate's.
    """

    overall: ItemCounts
    slices: dict[str, ItemCounts] = field(default_factory=dict)
    flaws: tuple[str, ...] = ()
    not_scored: int = 0
    served: tuple[str, str] = ("", "")


def paired_evidence(
    evaluation: pd.DataFrame,
    baseline: str,
    candidate: str,
    workload: str | None = None,
    protected: Sequence[str] = (),
    accepted_from: float | None = None,
) -> Evidence:
    """The counts of a pair of routes in an evaluation, with what the audit has against them.

    evaluation: as `table.conform`. workload: whose items alone count, where the rows name one.
    protected: slices that are also counted by themselves. accepted_from: as `table.accepted`.
    Raises: ValueError as `table.pairs` and `table.accepted` do, for a workload or a protected slice
    without items.

    >>> rows = pd.DataFrame({"item_id": [1, 2] * 2, "route": ["api"] * 2 + ["open"] * 2,
    ...                      "score": [1, 1, 1, 0]})
    >>> paired_evidence(conform(rows), "api", "open").overall.counts.only_a
    1
    """
    own = of_workload(evaluation, workload)
    own = (
        own[own["route"].isin([baseline, candidate])]
        if {baseline, candidate} <= set(own["route"])
        else own
    )
    items = pairs(accepted(own, accepted_from), baseline, candidate)
    slices = {}
    for name in protected:
        of_slice = items[items["slice"] == name]
        if of_slice.empty:
            present = ", ".join(sorted(items["slice"].dropna().unique())) or "none"
            raise ValueError(
                f"the evaluation has no items of the protected slice {name}: its slices are "
                f"{present}"
            )
        slices[name] = item_counts(of_slice)
    return Evidence(
        item_counts(items),
        slices,
        tuple(audit(own).findings["sentence"]),
        int((~own["scored"]).sum()),
        (_served(own, baseline), _served(own, candidate)),
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


def _served(evaluation: pd.DataFrame, route: str) -> str:
    models = evaluation.loc[evaluation["route"] == route, "served_model"].dropna().unique()
    return ", ".join(models) or route
