"""What do plain questions say, without any model: the five (MEMO T6) and the six of intake (T7)?"""

from collections.abc import Mapping, Sequence

import pandas as pd

from llmstudy import paths


def five_questions(answers: Mapping[str, str], evidence: Mapping[str, str]) -> pd.DataFrame:
    """T6: id, question, answer (yes, no, unknown), evidence. Reported; it never overrides privacy.

    answers, evidence: by question id, Q1 to Q5.
    """
    table = pd.read_csv(paths.data("five_questions.csv"))
    table["answer"] = table["id"].map(dict(answers))
    table["evidence"] = table["id"].map(dict(evidence))
    return table


def five_questions_verdict(answers: Sequence[str]) -> str:
    """T6's rule: three or more "no" mean API; where the unknown ones could tip it, undecided.

    >>> five_questions_verdict(["no", "no", "no", "yes", "unknown"])
    'api'
    >>> five_questions_verdict(["no", "no", "unknown", "yes", "unknown"])
    'undecided'
    """
    no, unknown = answers.count("no"), answers.count("unknown")
    return "api" if no >= 3 else "undecided" if no + unknown >= 3 else "consider self-hosting"


def likely(probability: float, required: float) -> str:
    """An answer from draws: yes or no where enough of them say so, else unknown.

    required: share of the draws, more than a half.

    >>> likely(0.97, 0.8), likely(0.5, 0.8), likely(0.1, 0.8)
    ('yes', 'unknown', 'no')
    """
    return "yes" if probability >= required else "no" if probability <= 1 - required else "unknown"


def intake_fields() -> list[str]:
    """The fields of a study that answer the six questions, in their order."""
    return " ".join(pd.read_csv(paths.data("intake_questions.csv"))["fields"]).split()


def intake(answers: pd.DataFrame, moves_usd: Mapping[tuple[str, str], float]) -> pd.DataFrame:
    """T7: every question of every workload; the unknown ones in the order in which to ask them.

    answers: workload, field, answer, grade, source, unknown (bool).
    moves_usd: by workload and field, how far the saving moves over the answer's range; an answer
    that is not there is a gate or decides nothing by itself.
    Returns: workload, id, question, field, answer, grade, source, unknown, decides, moves_usd
    (None where not there), rank (1 is to be asked first; None where the answer is known).
    """
    table = pd.read_csv(paths.data("intake_questions.csv"))
    asked = table.assign(field=table["fields"].str.split()).explode("field")
    asked["place"] = range(len(asked))
    rows = answers.merge(asked[["id", "question", "field", "decides", "place"]], on="field")
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
    named = "workload id question field answer grade source unknown decides moves_usd rank"
    return rows[named.split()]
