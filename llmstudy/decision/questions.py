"""What do five plain questions say, without any model (MEMO T6)?"""

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
