"""Chapter 01: the traffic, the log, the figures with their grades, and the open questions."""

from dataclasses import asdict

import pandas as pd

from llmstudy.chapters.quality import difference_figures
from llmstudy.evidence import findings
from llmstudy.evidence.case import Case, Tables, contenders
from llmstudy.simulate.inputs import output_ratio
from llmstudy.study.snapshot import kept


def evidence_tables(case: Case) -> Tables:
    """Traffic by workload, the log, price findings, open questions and the ledger.

    The quarantine holds the number of a row and the reason against it, never its text. `study` is
    the study as it is assessed, each figure in full and the log's own in place: a later run is
    compared with it.
    """
    study, traffic = case.study, case.traffic
    rows = []
    for name, workload in study.workloads.items():
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
                "requests_seen": len(traffic.of(name)),
                "traffic": case.grade_of(name),
            }
        )
    quarantine = pd.DataFrame(traffic.quarantined, columns=["row", "reason"])  # empty without a log
    pairs = ((name, route) for name, routes in contenders(study).items() for route in routes)
    every = dict(output_ratio(study, *pair) for pair in pairs)
    ratios = {path: figure for path, figure in every.items() if figure.uncertain}
    figures = ratios | study.figures() | findings.rate_figures(study) | difference_figures(study)
    return {
        "workloads": pd.DataFrame(rows),
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
        "unknown": study.unknown(),
        "findings": [asdict(finding) for finding in findings.findings_of(study)],
        "figures": findings.ledger(figures),
        "study": kept(study),
    }
