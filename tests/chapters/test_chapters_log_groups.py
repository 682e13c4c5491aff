"""Chapter 01 on a study with a log: its groups, their behaviour, and the invoices of the study."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import nbformat
import pandas as pd
import pytest

import llmstudy.chapters.notebook as notebook
from llmstudy import paths
from llmstudy.chapters.evidence import evidence_tables, group_tables, log_tables, reconciliation
from llmstudy.evidence.case import open_case
from llmstudy.io import plain
from llmstudy.study import load

FIELDS = "at use key in cached out usd model took ok why"
COLUMNS = (
    "ts_start: at, tenant: key, input_tokens: in, cached_input_tokens: cached, output_tokens: out, "
    "logged_usd: usd, model_served: model, latency_s: took, ok: ok, error: why"
)


@pytest.fixture
def study(variant, tmp_path):
    """A log of 31 days by 12 tenants, its cached input logged at the full rate, and invoices."""
    lines = [FIELDS.replace(" ", ",")]
    for i in range(31 * 48):
        at = datetime(2026, 10, 1) + timedelta(minutes=30 * i, seconds=i % 7)
        ok, why = ("false", "timeout") if i % 50 == 0 else ("true", "")
        lines.append(f"{at}Z,product,k{i % 12},1000,400,100,0.0035,gpt-4o,{i % 9},{ok},{why}")
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    log = (
        f"requests: {{path: log.csv, format: csv, columns: {{{COLUMNS}}}, "
        "workload: product, provider: openai}\n"
        "invoices:\n"
        "- {month: 2026-10, usd: 4.46, source: the provider's console}\n"
        "- {month: 2026-09, usd: 9, source: a month before the log}\n"
        "- {month: 2026-10, usd: 5.21, source: the same by project, workload: product}\n"
    )
    file = variant("source_memo", ("team:\n", f"{log}team:\n"))
    return file


def test_tenants_beyond_the_largest_ten_are_in_the_sum_of_the_workload(study):
    tables = group_tables(open_case(load(study)))
    groups = tables["request_groups"]
    assert groups["tenant"].tolist() == ["all", *sorted(groups["tenant"][1:])]
    assert len(groups) == 11
    assert groups["requests"][0] == 31 * 48 > groups["requests"][1:].sum()
    behaviour = tables["request_behaviour"]
    assert behaviour["errors"][0] == "timeout 2 %"
    assert behaviour["tenant_share_largest"][0] == pytest.approx(1 / 12)
    assert behaviour["growth_per_month_low"][0] < 0 < behaviour["growth_per_month_high"][0]
    plain(tables)


def test_logged_cost_and_the_invoices_of_the_logs_months_are_reconciled(study):
    rows = reconciliation(open_case(load(study)))
    kinds = rows.groupby("against", sort=False)["kind"].agg(set).to_dict()
    assert list(kinds) == ["log", "invoice 2026-10", "invoice 2026-10 of product"]
    assert "cache" in kinds["log"]
    assert kinds["invoice 2026-10 of product"] == {"cache", "agrees"}
    assert kinds["invoice 2026-10"] == {"agrees"}


def test_the_notebook_shows_what_the_results_hold_and_nothing_without_a_log(
    study, monkeypatch, tmp_path
):
    shown = []
    monkeypatch.setattr(notebook, "_display", lambda data, *_: shown.extend(data.values()))
    scope = {}
    cells = nbformat.read(paths.notebooks() / "01_evidence.ipynb", as_version=4).cells
    for cell in cells:
        if cell.cell_type == "code":
            exec(cell.source, scope)
        if "parameters" in cell.metadata.get("tags", []):
            scope |= {"study": str(study), "run": str(tmp_path / "run")}
    page = "\n".join(map(str, shown))
    assert "largest tenant" in page
    assert "with cached input charged in full" in page
    written = json.loads((tmp_path / "run" / "results" / "01_evidence.json").read_text())
    tables = plain(evidence_tables(open_case(load(study))))
    for name in ("request_groups", "request_behaviour", "reconciliation"):
        assert written[name] == tables[name]
    bare = evidence_tables(open_case(load(paths.params("source_memo.yaml"))))
    assert not {"request_groups", "request_behaviour", "reconciliation"} & set(bare)


def test_a_thousand_rows_of_the_quarantine_are_listed_and_each_reason_with_them(assessed):
    """A log of millions may have hundreds of thousands of rows that cannot be used."""
    case = assessed("default").case
    reasons = ["often"] * 5_000 + ["seldom"] * 3 + ["once"]
    aside = pd.DataFrame({"row": range(1, len(reasons) + 1), "reason": reasons})
    traffic = replace(case.traffic, quarantined=aside, rows_read=len(aside))
    tables = log_tables(replace(case, traffic=traffic))
    listed = tables["quarantine"]
    assert listed["reason"].value_counts().to_dict() == {"often": 996, "seldom": 3, "once": 1}
    assert listed["row"].is_monotonic_increasing
    assert tables["log"]["reasons"] == {"often": 5_000, "seldom": 3, "once": 1}
