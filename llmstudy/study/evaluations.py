"""Reads the evaluations that a study names, into the counts that its quality rests on."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from llmstudy.study.schema import Keys, PairedEvidence
from llmstudy.study.study import Study

if TYPE_CHECKING:
    import pandas as pd


def evaluations(study: Study) -> Iterator[tuple[str, str, PairedEvidence]]:
    """The evidence of a study that is an evaluation, with its workload and its route."""
    for name, workload in study.workloads.items():
        for route, evidence in workload.quality.evidence.items():
            if evidence.evaluation is not None:
                yield name, route, evidence


def misplaced_counts(study: Study) -> Iterator[tuple[Keys, str]]:
    """Evidence of a study file that has counts, slices or flaws beside its evaluation."""
    for name, route, evidence in evaluations(study):
        if evidence.counts is not None or evidence.slices or evidence.flaws:
            keys = _keys(name, route)
            yield (
                keys,
                f"{'.'.join(keys)} has an evaluation, which gives its counts: leave out `counts`, "
                "`slices` and `flaws`.",
            )


def with_paths_from(study: Study, folder: Path) -> Study:
    """The study with the paths of its evaluations resolved from a folder."""
    return _with_evidence(
        study,
        {
            (name, route): evidence.model_copy(update={"evaluation": folder / evidence.evaluation})
            for name, route, evidence in evaluations(study)
            if evidence.evaluation
        },
    )


def with_evaluations(study: Study) -> tuple[Study, list[tuple[Keys, str]]]:
    """The study with the counts of its evaluations, and a sentence for each that cannot be used."""
    faults: list[tuple[Keys, str]] = []
    read = {}
    answers = cache(_answers)  # candidates often share a file
    for name, route, evidence in evaluations(study):
        try:
            read[name, route] = _with_counts(evidence, name, route, study, answers)
        except OSError as error:
            faults.append((_keys(name, route), f"{evidence.evaluation}: {error.strerror}."))
        except ValueError as error:
            keys = _keys(name, route)
            faults.append((keys, f"{'.'.join(keys)}.evaluation: {str(error).rstrip('.')}."))
    return _with_evidence(study, read), faults


def _keys(name: str, route: str) -> Keys:
    return ("workloads", name, "quality", "evidence", route)


def _with_evidence(study: Study, changed: Mapping[tuple[str, str], PairedEvidence]) -> Study:
    workloads = dict(study.workloads)
    for (name, route), evidence in changed.items():
        quality = workloads[name].quality
        of_route = {**quality.evidence, route: evidence}
        quality = quality.model_copy(update={"evidence": of_route})
        workloads[name] = workloads[name].model_copy(update={"quality": quality})
    return study.model_copy(update={"workloads": workloads}) if changed else study


def _answers(file: Path, graded: bool) -> "pd.DataFrame":
    from llmstudy.evals.importers import read_evaluation
    from llmstudy.evals.table import refuse_scripted

    try:
        # accepted_from is in the unit of the scores, so that they stay as they are
        evaluation = read_evaluation(file, scale=1 if graded else None)
    except ValueError as error:
        raise ValueError(
            f"{str(error).rstrip('.')}; what a file leaves open, `llmstudy eval import` settles"
        ) from None
    refuse_scripted(evaluation)
    return evaluation


def _with_counts(
    evidence: PairedEvidence,
    name: str,
    route: str,
    study: Study,
    answers: "Callable[[Path, bool], pd.DataFrame]",
) -> PairedEvidence:
    from llmstudy.evals.evidence import paired_evidence

    file, workload = evidence.evaluation, study.workloads[name]
    assert file is not None
    read = paired_evidence(
        answers(file, workload.quality.accepted_from is not None),
        evidence.model_proprietary or workload.current_route,
        evidence.model_open or route,
        name,
        workload.quality.protected,
        workload.quality.accepted_from,
    )
    unscored = f", {read.not_scored:,} answers not scored" if read.not_scored else ""
    return evidence.model_copy(
        update={
            "benchmark": evidence.benchmark or file.stem,
            "model_proprietary": read.served[0],
            "model_open": read.served[1],
            "counts": read.overall.cells,
            "slices": {slice_: counts.cells for slice_, counts in read.slices.items()},
            "flaws": read.flaws,
            "source": evidence.source or f"{file.name}: {read.overall}{unscored}",
        }
    )
