"""Chapter 01: the traffic, the log, the figures with their grades, and the open questions."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from llmstudy.chapters.quality import difference_figures
from llmstudy.evidence import findings
from llmstudy.evidence.case import Case, Tables, contenders, week_load
from llmstudy.evidence.offers import priced_model
from llmstudy.measures.reconcile import reconcile
from llmstudy.measures.repricing import opened
from llmstudy.measures.requests_behaviour import behaviour_by, largest_tenants
from llmstudy.measures.requests_summary import summary_by
from llmstudy.prices import PricedModel
from llmstudy.requests.containers import literal
from llmstudy.simulate.inputs import output_ratio
from llmstudy.study import ApiRoute
from llmstudy.study.snapshot import to_json
from llmstudy.text import share

MOST_ROWS_ASIDE = 1_000
"""Rows of the quarantine that are listed; `llmstudy requests import` writes all of them."""

MOST_TENANTS = 10
"""Tenants of a workload that have a row of their own, the largest."""


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

    The quarantine has the number of a rejected row and the reason, never its text: at most
    `MOST_ROWS_ASIDE`, one of each reason before a second of any; `log` counts all in `reasons`.
    Where the study has a log, also `request_groups` and `request_behaviour` (`group_tables`) and
    `reconciliation` (`reconciliation`).
    """
    traffic = case.traffic
    aside = pd.DataFrame(traffic.quarantined, columns=["row", "reason"])  # empty without a log
    # of a reason that a hundred thousand rows have, a few show what is wrong
    seen = aside.groupby("reason", sort=False).cumcount()
    first = seen.sort_values(kind="stable").index[:MOST_ROWS_ASIDE].sort_values()
    return {
        "log": {
            "rows_read": traffic.rows_read,
            "rows_accepted": traffic.rows_read - len(traffic.quarantined),
            "rows_quarantined": len(traffic.quarantined),
            "rows_lost": traffic.rows_lost,
            "reasons": {str(k): int(n) for k, n in aside["reason"].value_counts().items()},
        },
        "quarantine": aside.loc[first].reset_index(drop=True),
        "set_aside": list(traffic.set_aside),
        "warnings": list(traffic.warnings),
        **(
            {}
            if traffic.file is None
            else group_tables(case) | {"reconciliation": reconciliation(case)}
        ),
    }


def group_tables(case: Case) -> Tables:
    """What the log amounts to by workload, and by its largest tenants where it names them.

    Returns: `request_groups` (`summary_by`, at the study's negotiated prices) and
    `request_behaviour` (`behaviour_by`), both with workload and tenant ("all", or one of the
    largest ten of a workload). Upper ends of latencies that fall among the failures are null.
    """
    file, billed = _file(case), _negotiated(case)
    by = ["workload", "tenant"]
    largest = largest_tenants(file, MOST_TENANTS)
    of_tenants = " OR ".join(
        f"(workload = {literal(workload)} AND tenant IN ({', '.join(map(literal, tenants))}))"
        for workload, tenants in largest.items()
    )
    tables = {}
    for name, measure in (("request_groups", summary_by), ("request_behaviour", behaviour_by)):
        rows = [measure(file, ["workload"], billed).assign(tenant="all")]
        if largest:
            rows.append(measure(file, by, billed, where=of_tenants))
        table = pd.concat(rows).sort_values("workload", kind="stable", ignore_index=True)
        table.insert(1, "tenant", table.pop("tenant"))
        tables[name] = table.replace([np.inf, -np.inf], np.nan)
    errors = tables["request_behaviour"]["errors"]
    tables["request_behaviour"]["errors"] = [
        ", ".join(f"{each['error'] or 'no reason logged'} {share(each['share'])}" for each in row)
        for row in errors
    ]
    return tables


def _file(case: Case) -> Path:
    """The log of a case, as Parquet."""
    assert case.traffic.file is not None
    return case.traffic.file


def _months(file: Path) -> set[tuple[str, str]]:
    """Each workload of a log with each month that its requests touch."""
    with opened(file) as connection:
        month = "strftime(make_timestamp(us), '%Y-%m')"
        return set(connection.execute(f"SELECT DISTINCT workload, {month} FROM log").fetchall())


def reconciliation(case: Case) -> pd.DataFrame:
    """Why the log's cost, and the study's invoices, differ from what the tokens cost.

    Invoices are those of months that the log touches, of all workloads or of one.
    Returns: the rows of `reconcile`; against names the workload of an invoice that has one.
    """
    file, billed, invoices = _file(case), _negotiated(case), case.study.invoices
    logged = _months(file) if invoices else set()
    tables = []
    for workload in dict.fromkeys([None, *(invoice.workload for invoice in invoices)]):
        where = "true" if workload is None else f"workload = {literal(workload)}"
        months = {month for name, month in logged if workload in (None, name)}
        amounts = {
            invoice.month: invoice.usd
            for invoice in invoices
            if invoice.workload == workload and invoice.month in months and invoice.usd
        }
        if workload is None:
            tables.append(reconcile(file, amounts or None, prices=billed))
        elif amounts:
            rows = reconcile(file, amounts, prices=billed, where=where)
            of_invoice = rows[rows["against"] != "log"]
            tables.append(of_invoice.assign(against=of_invoice["against"] + f" of {workload}"))
    return pd.concat(tables, ignore_index=True)


def _negotiated(case: Case) -> dict[str, str | PricedModel]:
    """The study's own prices, by provider and model as its routes name them."""
    return {
        f"{route.provider}/{route.model}": priced_model(route)
        for route in case.study.routes.values()
        if isinstance(route, ApiRoute) and (route.price or route.regional_premium)
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
