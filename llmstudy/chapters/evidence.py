"""Chapter 01: the traffic, the log, the figures with their grades, and the open questions."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from llmstudy.chapters.quality import difference_figures
from llmstudy.evidence import findings
from llmstudy.evidence.case import Case, Tables, contenders, week_load
from llmstudy.simulate.inputs import output_ratio
from llmstudy.study.snapshot import to_json


def evidence_tables(case: Case) -> Tables:
    """Traffic by workload, the log, open questions, price findings and the ledger.

    Returns: `workloads` (`workload_table`), those of `log_tables`, `unknown` (paths of open
    questions), `findings` (`price_findings`), `figures` (`ledger`), and `study`, the study as
    assessed, with every figure in full, to which a later run is compared.
    """
    return {
        "workloads": workload_table(case),
        **log_tables(case),
        "unknown": case.study.unknown(),
        "findings": price_findings(case),
        "figures": ledger(case),
        "study": to_json(case.study),
    }


def workload_table(case: Case) -> pd.DataFrame:
    """Each workload with its volume, lengths, peak and their grades.

    Columns: workload, task, requests_per_month, input_tokens, output_tokens, peak_to_mean,
    volume_grade, tokens_grade, requests_seen (logged or drawn), traffic (measured, simulated).
    """
    rows = []
    for name, workload in case.study.workloads.items():
        intake = workload.intake
        rows.append(
            {
                "workload": name,
                "task": workload.task,
                "requests_per_month": intake.requests.value,
                "input_tokens": intake.input_tokens.value,
                "output_tokens": intake.output_tokens.value,
                "peak_to_mean": intake.peak_to_mean.value,
                "volume_grade": intake.requests.grade,
                "tokens_grade": intake.input_tokens.grade,
                "requests_seen": len(case.traffic.of(name)),
                "traffic": case.grade_of(name),
            }
        )
    return pd.DataFrame(rows)


def weekly_load(case: Case) -> pd.DataFrame:
    """The load of each workload by hour of the week: workload, hour, requests_per_s."""
    return pd.concat([week_load(case, name).assign(workload=name) for name in case.study.workloads])


def log_tables(case: Case) -> Tables:
    """What the importer read from the log: `log` (counts), `quarantine`, `set_aside`, `warnings`.

    The quarantine has the number of each rejected row and the reason, never its text.
    """
    traffic = case.traffic
    quarantine = pd.DataFrame(traffic.quarantined, columns=["row", "reason"])  # empty without a log
    return {
        "log": {
            "rows_read": traffic.rows_read,
            "rows_accepted": traffic.rows_read - len(traffic.quarantined),
            "rows_quarantined": len(traffic.quarantined),
            "rows_lost": traffic.rows_lost,
            "reasons": {str(k): int(n) for k, n in quarantine["reason"].value_counts().items()},
        },
        "quarantine": quarantine,
        "set_aside": list(traffic.set_aside),
        "warnings": list(traffic.warnings),
    }


def price_findings(case: Case) -> list[dict[str, Any]]:
    """What a reader must know about the prices: rows of severity, subject, sentence, effective."""
    return [asdict(finding) for finding in findings.findings_of(case.study)]


def ledger(case: Case) -> pd.DataFrame:
    """Every figure that the study rests on: name, value, low, high, unit, grade, source, as_of."""
    study = case.study
    pairs = ((name, route) for name, routes in contenders(study).items() for route in routes)
    every = dict(output_ratio(study, *pair) for pair in pairs)
    ratios = {path: figure for path, figure in every.items() if figure.uncertain}
    figures = ratios | study.figures() | findings.rate_figures(study) | difference_figures(study)
    return pd.DataFrame(findings.ledger(figures))
