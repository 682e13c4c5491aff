"""The table that a study's chapters share."""

import os

import duckdb
import numpy as np
import pandas as pd
import pytest

from llmstudy import read_log
from llmstudy.requests import importers, log_table

N = 400


@pytest.fixture
def log(tmp_path):
    """A log of three workloads in no order, with a failure, gaps in cached tokens and bad rows."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "ts_start": pd.Timestamp("2026-11-02", tz="UTC")
            + pd.to_timedelta(rng.permutation(N) * 977, "s"),
            "workload": rng.choice(["triage", "chat", "recap"], N),
            "tenant": rng.choice(["a", "b", None], N),
            "provider": "openai",
            "model": rng.choice(["gpt-4o", "gpt-4o-mini"], N),
            "input_tokens": rng.integers(10, 5_000, N).astype(str),
            "cached_input_tokens": pd.array([None, 4] * (N // 2), "Int64"),
            "output_tokens": rng.integers(1, 500, N),
            "latency_s": rng.random(N) + 1,
            "success": rng.random(N) > 0.1,
        }
    )
    frame.loc[7, "input_tokens"] = "Dear Ms Private"
    path = tmp_path / "log.csv"
    frame.to_csv(path, index=False)
    return path


def test_it_is_the_imported_log_in_order_of_workload_and_time(log):
    table, whole = log_table.log_table(log), read_log(log)
    expected = whole.accepted.sort_values(["workload", "ts_start"], ignore_index=True)
    found = table.accepted.astype(expected[list(table.accepted)].dtypes)
    pd.testing.assert_frame_equal(found, expected[list(found)])
    assert (table.rows_read, table.format, table.unknown, table.grain) == (
        whole.rows_read, whole.format, whole.unknown, whole.grain
    )  # fmt: skip
    [(n, usd, tenants)] = duckdb.sql(
        f"SELECT count(*), sum(input_tokens), count(tenant) FROM '{table.file}'"
    ).fetchall()
    assert (n, usd, tenants) == (
        len(expected), expected["input_tokens"].sum(), expected["tenant"].notna().sum()
    )  # fmt: skip


def test_the_quarantine_keeps_the_reason_and_not_the_text(log):
    aside = log_table.log_table(log).quarantined
    assert aside["reason"].tolist() == ["input_tokens is not a whole number"]
    folder = log_table.log_table(log).file.parent
    assert not any(b"Private" in file.read_bytes() for file in folder.iterdir())


def test_a_log_is_read_once_and_again_when_it_or_its_meaning_changes(log, monkeypatch):
    reads = []
    monkeypatch.setattr(
        log_table, "imported", lambda *a, **k: reads.append(k) or importers.imported(*a, **k)
    )
    for _ in range(2):
        log_table.log_table(log)
    assert len(reads) == 1
    log_table.log_table(log, constants={"workload": "one"})
    assert len(reads) == 2
    log.write_text(log.read_text() + log.read_text().splitlines()[-1].replace("openai", "azure"))
    os.utime(log, ns=(1, 1))
    assert log_table.log_table(log).rows_read == N + 1
    assert len(reads) == 3
    monkeypatch.setattr(log_table.formats, "sha256", lambda: "another mapping")
    log_table.log_table(log)
    assert len(reads) == 4


def test_only_the_latest_tables_of_a_log_stay(log):
    folders = [
        log_table.log_table(log, constants={"workload": name}).file.parent for name in "abcde"
    ]
    assert [folder.exists() for folder in folders] == [False, False, True, True, True]


def test_without_a_cache_it_is_read_all_the_same(log, tmp_path, monkeypatch):
    blocked = tmp_path / "a file, no folder"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert len(log_table.log_table(log).accepted) == N - 1


def test_a_draft_that_fails_leaves_nothing(log, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    log.write_text(log.read_text().replace("input_tokens", "in"))
    with pytest.raises(ValueError, match="input_tokens"):
        log_table.log_table(log, columns={"input_tokens": "gone"})
    assert list((tmp_path / "cache" / "llmstudy" / "logs").iterdir()) == []


def test_what_the_log_does_not_name_is_that_of_todays_route(log):
    log.write_text(log.read_text().replace("openai", "").replace("gpt-4o-mini", ""))
    table = log_table.log_table(log, served={"chat": ("azure", "gpt-4.1")})
    chat = table.accepted["workload"] == "chat"
    assert set(table.accepted.loc[chat, "provider"]) == {"azure"}
    assert set(table.accepted.loc[chat, "model_served"]) == {"gpt-4o", "gpt-4.1"}
    assert set(table.accepted.loc[~chat, "model_served"]) == {"unknown", "gpt-4o"}


def test_a_written_table_is_taken_as_it_is(log, tmp_path):
    with importers.imported(log) as whole:
        out, _ = whole.write(tmp_path / "requests.parquet")
    assert log_table.requests_of(out) == [out]
    again, before = read_log(out), read_log(log)
    pd.testing.assert_frame_equal(again.accepted, before.accepted)


def test_a_written_table_with_a_row_that_breaks_a_rule_is_judged_again(log, tmp_path):
    with importers.imported(log) as whole:
        out, _ = whole.write(tmp_path / "requests.parquet")
    spoilt = tmp_path / "spoilt.parquet"
    duckdb.sql(
        f"COPY (SELECT * REPLACE (CASE WHEN tenant = 'a' THEN -1 ELSE input_tokens END AS"
        f" input_tokens) FROM '{out}') TO '{spoilt}'"
    )
    again = read_log(spoilt)
    n = int((read_log(out).accepted["tenant"] == "a").sum())
    assert again.quarantined["reason"].tolist() == ["a token count is below zero"] * n
    assert '"tenant":"a"' in again.quarantined["raw"][0]


def test_a_column_of_another_type_makes_a_file_no_written_table(log, tmp_path):
    with importers.imported(log) as whole:
        out, _ = whole.write(tmp_path / "requests.parquet")
    as_text = tmp_path / "as_text.parquet"
    duckdb.sql(f"COPY (SELECT * REPLACE (ok::VARCHAR AS ok) FROM '{out}') TO '{as_text}'")
    [table] = log_table.requests_of(as_text)
    assert table != as_text
    assert duckdb.sql(f"SELECT DISTINCT typeof(ok) FROM '{table}'").fetchall() == [("BOOLEAN",)]


def test_two_months_that_overlap_count_a_request_once(log, tmp_path):
    with importers.imported(log) as whole:
        out, _ = whole.write(tmp_path / "october.parquet")
    again = tmp_path / "november.parquet"
    again.write_bytes(out.read_bytes())
    both = read_log([out, again])
    assert len(both.accepted) == N - 1
    [table] = log_table.requests_of([out, again])
    assert duckdb.sql(f"SELECT count(*) FROM '{table}'").fetchall() == [(N - 1,)]
    assert set(both.quarantined["reason"]) == {"delivered again: the same as an earlier row"}
