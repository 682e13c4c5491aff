"""The six intake questions (MEMO T7): the answers so far, and what to ask first."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from llmstudy import paths
from llmstudy.evidence.case import Results
from llmstudy.figure import Figure, Grade
from llmstudy.study import Study, Workload
from llmstudy.text import count


def intake_fields() -> list[str]:
    """The study fields that answer the six questions, in order."""
    return " ".join(pd.read_csv(paths.data("intake_questions.csv"))["fields"]).split()


def intake_rows(study: Study, results: Results) -> pd.DataFrame:
    """T7: the six questions of every workload, as `intake`.

    An answer moves the saving by the swing of the workload's best move between the ends of the
    answer's range, from the sensitivity analysis of chapter 06.
    """
    moves = {
        (about["workload"], row["input"]): abs(row["high_usd"] - row["low_usd"])
        for about in results["06_crossover"]["sensitivity"]
        for row in about["inputs"]
    }
    rows = [
        {"workload": name, "field": field, **_answer(workload, name, field)}
        for name, workload in study.workloads.items()
        for field in intake_fields()
    ]
    return intake(pd.DataFrame(rows), moves)


def _answer(workload: Workload, name: str, field: str) -> dict[str, Any]:
    block = "slo" if field in type(workload.slo).model_fields else "intake"
    value, at = getattr(getattr(workload, block), field), f"workloads.{name}.{block}.{field}"
    if isinstance(value, Figure):
        unknown = value.name.startswith("unknown.")
        unit = "times" if value.unit == "factor" else value.unit
        answer = "unknown" if unknown else f"{count(value.value)} {unit}"
        return {"answer": answer, "grade": value.grade, "source": at, "unknown": unknown}
    # what the organisation states of itself
    grade: Grade = "assumed" if value == "unknown" else "measured"
    return {"answer": value, "grade": grade, "source": at, "unknown": value == "unknown"}


def intake(answers: pd.DataFrame, moves_usd: Mapping[tuple[str, str], float]) -> pd.DataFrame:
    """T7: every question of every workload, with the order in which to ask the open ones.

    answers: workload, field, answer, grade, source, unknown (bool).
    moves_usd: by workload and field, how far the saving moves over the answer's range. A field that
    is missing is a gate, or moves no saving by itself.
    Returns: workload, id, question, field, answer, grade, source, unknown, decides, moves_usd
    (None: missing), rank (1: ask first; None: the answer is known).
    """
    table = pd.read_csv(paths.data("intake_questions.csv"))
    questions = table.assign(field=table["fields"].str.split()).explode("field")
    questions["place"] = range(len(questions))
    rows = answers.merge(questions[["id", "question", "field", "decides", "place"]], on="field")
    keys = list(zip(rows["workload"], rows["field"], strict=True))
    rows["moves_usd"] = pd.Series([moves_usd.get(key) for key in keys], dtype=float)
    # what moves no saving by itself comes after what does, in the memo's own order
    rows["swing_usd"] = rows["moves_usd"].fillna(0.0)
    order = rows[rows["unknown"]].sort_values(
        ["swing_usd", "place"], ascending=[False, True], kind="stable"
    )
    ranks = dict(zip(order.index, range(1, len(order) + 1), strict=True))
    rows["rank"] = pd.Series([ranks.get(at) for at in rows.index], dtype=object)
    rows["moves_usd"] = rows["moves_usd"].astype(object).where(rows["moves_usd"].notna(), None)
    columns = "workload id question field answer grade source unknown decides moves_usd rank"
    return rows[columns.split()]
