"""Chapter 07: the source memo's plain questions, answered from the study (MEMO T6, T7)."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from llmstudy import uncertainty as mc
from llmstudy.assess.case import Results, rows_of
from llmstudy.assess.market import N_DRAWS, draws_of, inputs, paths_of
from llmstudy.decision import questions
from llmstudy.figure import Figure, FloatArray, Grade, least_certain
from llmstudy.privacy import REGULATED
from llmstudy.study import Study, Workload
from llmstudy.text import count, share, span

TOKENS_PER_MONTH = 10e9
"""Third question of T6 (source memo, line 514)."""

FIRST_TOKEN_S = 0.1
"""Fifth question of T6 (source memo, line 516)."""

ENGINEERS = 2
"""Second question of T6 (source memo, line 513)."""

MONTHS = 12

_TOKEN_INPUTS = ("requests", "growth", "input_tokens", "output_tokens", "prompt_growth")


def intake_rows(study: Study, results: Results) -> pd.DataFrame:
    """T7: the six questions of every workload, as `questions.intake`.

    How far an answer moves the saving is the swing of the workload's best move between the ends of
    the answer's range, from the sensitivity analysis of chapter 06.
    """
    moves = {
        (found["workload"], row["input"]): abs(row["high_usd"] - row["low_usd"])
        for found in results["06_crossover"]["sensitivity"]
        for row in found["inputs"]
    }
    rows = [
        {"workload": name, "field": field, **_answer(workload, name, field)}
        for name, workload in study.workloads.items()
        for field in questions.intake_fields()
    ]
    return questions.intake(pd.DataFrame(rows), moves)


def _answer(workload: Workload, name: str, field: str) -> dict[str, Any]:
    block = "slo" if field in type(workload.slo).model_fields else "intake"
    found, at = getattr(getattr(workload, block), field), f"workloads.{name}.{block}.{field}"
    if isinstance(found, Figure):
        unknown = found.name.startswith("unknown.")
        unit = "times" if found.unit == "factor" else found.unit
        answer = "unknown" if unknown else f"{count(found.value)} {unit}"
        return {"answer": answer, "grade": found.grade, "source": at, "unknown": unknown}
    # what the organisation states of itself
    grade: Grade = "assumed" if found == "unknown" else "measured"
    return {"answer": found, "grade": grade, "source": at, "unknown": found == "unknown"}


class _Answered(NamedTuple):
    """An answer to one of the five questions. basis: the result or figure that it rests on."""

    answer: str
    evidence: str
    grade: Grade
    basis: str


def five_questions(study: Study, results: Results) -> dict[str, Any]:
    """T6 answered from the study's facts, with the grade and the basis of each answer.

    results: `03_latency`.
    """
    found = {
        "Q1": _regulated(study),
        "Q2": _engineers(study),
        "Q3": _volume(study),
        "Q4": _insufficient(study),
        "Q5": _first_token(study, results),
    }
    answers = {key: row.answer for key, row in found.items()}
    table = questions.five_questions(answers, {key: row.evidence for key, row in found.items()})
    table["grade"] = table["id"].map({key: row.grade for key, row in found.items()})
    table["basis"] = table["id"].map({key: row.basis for key, row in found.items()})
    return {"rows": table, "verdict": questions.five_questions_verdict(list(answers.values()))}


def _regulated(study: Study) -> _Answered:
    classes = {name: w.intake.data_class for name, w in study.workloads.items()}
    regulated = {n: c for n, c in classes.items() if c in REGULATED}
    basis = "workloads: intake.data_class"
    if regulated:
        said = ", ".join(f"{name}: {class_}" for name, class_ in regulated.items())
        return _Answered("yes", said, "measured", basis)
    said = ", ".join(sorted(set(classes.values())))
    if "unknown" in classes.values():
        return _Answered("unknown", said, "assumed", basis)
    return _Answered("no", said, "measured", basis)


def _engineers(study: Study) -> _Answered:
    n = study.team.experienced_ml_engineers
    answer = "yes" if n >= ENGINEERS else "no"
    return _Answered(answer, f"{n} on the team", "measured", "team.experienced_ml_engineers")


def _volume(study: Study) -> _Answered:
    """Yes or no where as many draws say so as the study asks for, else unknown."""
    workloads = study.workloads.values()
    tokens = tokens_in(study, MONTHS)
    above = float((tokens > TOKENS_PER_MONTH).mean())
    low, high = np.quantile(tokens, [0.1, 0.9])
    said = (
        f"{span(low, high, count)} tokens a month in a year (80 % range), "
        f"above {count(TOKENS_PER_MONTH)} in {share(above)} of draws"
    )
    unsized = any(w.intake.requests.name.startswith("unknown.") for w in workloads)
    likely = questions.likely(above, study.thresholds.probability.value)
    grade = least_certain(
        [f.grade for w in workloads for f in (w.intake.requests, w.intake.input_tokens, w.growth)]
    )
    basis = "workloads: intake, growth, prompt_growth"
    return _Answered("unknown" if unsized else likely, said, grade, basis)


def tokens_in(study: Study, months: int) -> FloatArray:
    """Tokens of a month some months on, over all workloads when nothing moves. (n_draws,)."""
    total = np.zeros(1)
    for name, workload in study.workloads.items():
        known = inputs(study, name, workload.current_route, None)
        own = draws_of({key: known[key] for key in _TOKEN_INPUTS}, N_DRAWS, study.seed)
        d = {**own, **paths_of(study, name, months=months + 1)}
        length = d["input_tokens"] * mc.prompt_lengths(d, months + 1)[:, -1] + d["output_tokens"]
        total = total + mc.volumes(d, months + 1)[:, -1] * length
    return total


def _insufficient(study: Study) -> _Answered:
    answer = study.prompting_and_retrieval_insufficient
    grade: Grade = "assumed" if answer == "unknown" else "measured"
    return _Answered(answer, "as the study states", grade, "prompting_and_retrieval_insufficient")


def _first_token(study: Study, results: Results) -> _Answered:
    """Yes where the tightest target asks for no more than the question's time."""
    targets = {name: w.slo.ttft_p95 for name, w in study.workloads.items()}
    name, fastest = min(targets.items(), key=lambda x: x[1].value)
    said = f"tightest target {count(1000 * fastest.value)} ms, {name}"
    rows = rows_of(results["03_latency"]["latency"], workload=name, verdict="misses")
    if rows:
        said += f"; out, since they miss it: {', '.join(row['route'] for row in rows)}"
    basis = f"workloads.{name}.slo.ttft_p95"
    if any(target.name.startswith("unknown.") for target in targets.values()):
        return _Answered("unknown", said, "assumed", basis)
    return _Answered("yes" if fastest.value <= FIRST_TOKEN_S else "no", said, fastest.grade, basis)
