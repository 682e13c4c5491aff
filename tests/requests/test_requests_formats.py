"""Every format that ships, read from a sample made by hand, whose truth stands in a table here."""

import bz2
import codecs
import gzip
import json
import random
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmstudy import paths
from llmstudy.measures.log_totals import log_totals
from llmstudy.requests import containers, formats, plausible
from llmstudy.requests.importers import read_log
from llmstudy.requests.mapping import LogMapping
from llmstudy.requests.schema import INPUTS, NAMES

SAMPLES = Path(__file__).parent / "samples"
FILES = sorted(path.name for path in SAMPLES.iterdir())
SHARED = paths.ROOT.parent / "shared"


class Truth(NamedTuple):
    """What a right import of a sample gives: sums over its requests; None is not in the file."""

    rows_read: int
    requests: float
    input: int
    cached: int | None
    cache_write: int | None
    output: int
    reasoning: int | None
    failed: int
    latency_s: float | None
    ttft_s: float | None
    usd: float | None
    first: str = "2026-11-02 09:00:00"


# Most samples tell of the same five requests: 1,000 tokens in and 100 out in 2 s; 2,000 in, of
# which 512 cached, and 200 out in 4 s; one that fails after 1 s; 1,500 in, of which 1,024 cached,
# and 50 out, of which 30 reasoning, in 1.5 s; 700 in and 350 out in 7 s.
TRUTHS = {
    "litellm.jsonl": Truth(8, 5, 5200, 1536, None, 700, 30, 1, 15.5, 0.5, 0.01611),
    "litellm_spendlogs.csv": Truth(7, 5, 5200, 1536, None, 700, 30, 1, 15.5, 0.5, 0.01611),
    "litellm_daily.csv": Truth(
        4, 360, 410_000, 110_000, 4_000, 61_000, None, 1, None, None, 1.5215, "2026-11-02 00:00:00"
    ),
    "langfuse.jsonl": Truth(6, 5, 5200, 1536, 100, 700, 30, 1, 15.5, 0.5, 0.01786),
    "helicone.csv": Truth(6, 5, 5200, 1536, 100, 700, None, 1, 15.5, 0.5, 0.0197702),
    "helicone_export.jsonl": Truth(6, 5, 5200, 1536, 100, 700, None, 1, 15.5, 0.5, 0.0197702),
    "portkey.jsonl": Truth(5, 5, 5200, None, None, 700, None, 1, 15.5, None, 0.01611),
    "openrouter.csv": Truth(5, 5, 5200, 1536, None, 700, 30, 1, 15.5, 0.5, 0.01611),
    "otel-otlp.jsonl": Truth(7, 5, 5200, 1536, None, 700, 30, 1, 15.5, 0.5, None),
    "otel-flat.csv": Truth(6, 5, 5200, 1536, None, 700, 30, 1, 15.5, 0.5, None),
    "otel-columns.csv": Truth(5, 5, 5200, None, None, 700, None, 1, 15.5, None, None),
    "otel-sdk.json": Truth(3, 3, 3000, None, None, 300, None, 1, 7.0, None, None),
    "envoy.jsonl": Truth(6, 5, 5200, 1536, None, 700, None, 1, 15.5, None, None),
    "openai_usage-page.json": Truth(
        3, 360, 410_000, 90_000, None, 61_000, None, 0, None, None, None, "2026-11-02 00:00:00"
    ),
    "openai_usage-dashboard.csv": Truth(
        4, 360, 410_000, 90_000, None, 61_000, None, 0, None, None, None, "2026-11-02 00:00:00"
    ),
    "anthropic_messages.jsonl": Truth(5, 5, 5200, 1536, 100, 700, None, 1, 15.5, 0.5, None),
    "anthropic_usage.json": Truth(
        2, 0, 170_000, 30_000, 6_000, 25_000, None, 0, None, None, None, "2026-11-02 00:00:00"
    ),
    "gemini.jsonl": Truth(5, 5, 5200, 1536, None, 700, 30, 1, 15.5, None, None),
    "bedrock.jsonl": Truth(5, 5, 5200, 1536, 100, 700, None, 1, 14.5, None, None),
    "azure_log_analytics.csv": Truth(
        5, 5, 5200, None, None, 700, None, 1, 15.5, None, None, "2026-11-23 09:00:00"
    ),
    "databricks-inference.csv": Truth(5, 10, 10_400, 3072, None, 1400, 60, 1, 15.5, None, None),
    "databricks-usage.jsonl": Truth(5, 5, 5200, None, None, 700, None, 1, None, None, None),
    "azure_2023-2023.csv": Truth(
        4, 4, 5200, None, None, 700, None, 0, None, None, None, "2023-11-16 18:15:46.680590"
    ),
    "azure_2023-2024.csv": Truth(
        4, 4, 5200, None, None, 700, None, 0, None, None, None, "2024-05-10 00:00:00.009930"
    ),
    "burstgpt.csv": Truth(
        5, 5, 5500, None, None, 700, None, 1, 15.5, None, None, "2024-08-13 00:01:50"
    ),
    "burstgpt-1.csv": Truth(
        5, 5, 5500, None, None, 700, None, 1, None, None, None, "2024-01-01 00:00:05"
    ),
    "mooncake.jsonl": Truth(
        4, 4, 5200, None, None, 700, None, 0, None, None, None, "2024-01-01 00:00:00"
    ),
    "bailian.jsonl": Truth(
        4, 4, 5200, None, None, 700, None, 0, None, None, None, "2024-01-01 00:00:00"
    ),
    "ragpulse.jsonl": Truth(
        4, 4, 5200, None, None, 700, None, 0, None, None, None, "2024-01-01 00:01:22"
    ),
    "generic-german.csv": Truth(
        5, 5, 5200, 1536, None, 700, None, 1, 15.5, None, None, "2026-11-23 09:00:00"
    ),
    "generic-french.csv": Truth(
        5, 5, 5200, 1536, None, 700, None, 1, 15.5, None, None, "2026-11-23 09:00:00"
    ),
    "generic-spanish.csv": Truth(5, 5, 5200, 1536, None, 700, None, 1, 15.5, None, None),
    "generic-camel.jsonl": Truth(5, 5, 5200, 1536, None, 700, None, 1, 15.5, 0.5, None),
    "generic-openai.jsonl": Truth(5, 5, 5200, 1536, None, 700, 30, 1, None, None, None),
}
REFUSALS = {
    "azure_diagnostics.jsonl": "constants: {input_tokens: 1100, output_tokens: 190}",
    "servegen.csv": "generate requests from it",
    "focus.csv": "requests reconcile",
    "openai_costs.json": "requests reconcile",
    "anthropic_costs.json": "requests reconcile",
}


def _format(sample):
    return sample.split(".")[0].split("-")[0]


def _total(values):
    return None if values.isna().all() else float(values.sum())


def _read(log):
    """The truth as a log tells it."""
    requests = log.accepted
    sums = [
        _total(requests[name])
        for name in (
            "input_tokens",
            "cached_input_tokens",
            "cache_write_tokens",
            "output_tokens",
            "reasoning_tokens",
        )
    ]
    rest = [_total(requests[name]) for name in ("latency_s", "ttft_s", "logged_usd")]
    return Truth(
        log.rows_read,
        float(requests["n_requests"].fillna(1).sum()),
        *sums,
        int((~requests["ok"]).sum()),
        *rest,
        str(requests["ts_start"].min())[:-6],
    )


def test_every_format_has_a_sample():
    assert {_format(sample) for sample in FILES} == set(formats.bundled())
    assert {*TRUTHS, *REFUSALS} == set(FILES)


@pytest.mark.parametrize("sample", TRUTHS)
def test_a_sample_is_read_as_its_truth_says(sample):
    log = read_log(SAMPLES / sample)
    assert log.format == formats.bundled()[_format(sample)].title
    assert _read(log) == pytest.approx(TRUTHS[sample])
    told = {"cached_input_tokens": "cached", "latency_s": "latency_s", "ttft_s": "ttft_s"}
    for column, truth in told.items():
        assert (column in log.unknown) == (getattr(TRUTHS[sample], truth) is None), column


@pytest.mark.parametrize("sample", REFUSALS)
def test_what_holds_no_requests_is_refused_with_what_to_do(sample):
    with pytest.raises(ValueError, match=r"does not tell") as refusal:
        read_log(SAMPLES / sample)
    assert REFUSALS[sample] in str(refusal.value)


def test_the_declaration_that_a_refusal_names_makes_the_import_right():
    declared = {"input_tokens": 1100, "output_tokens": 190}
    log = read_log(SAMPLES / "azure_diagnostics.jsonl", constants=declared)
    assert log.accepted["ok"].tolist() == [True, True, False]
    assert log.accepted["input_tokens"].tolist() == [1100] * 3
    assert log.accepted["latency_s"].tolist() == [2.0, 4.0, 1.0]
    assert log.accepted["model_served"].unique().tolist() == ["gpt-4o"]


FITS_LESS = {("mooncake", "bailian.jsonl")}
"""A format whose fields another has too, with more of its own, which then wins."""


@pytest.mark.parametrize("sample", FILES)
def test_a_sample_is_of_its_own_format_and_of_no_other(sample):
    container = containers.opened(SAMPLES / sample)
    fits = {
        name
        for name, each in formats.bundled().items()
        if each.fields and formats._fit(each, container)
    }
    fits -= {name for name, other in FITS_LESS if other == sample}
    assert fits == {_format(sample)} - {formats.GENERIC}
    chosen = formats.chosen([container], "auto", LogMapping())
    assert chosen.title == formats.bundled()[_format(sample)].title


@pytest.mark.parametrize("name", formats.bundled())
def test_a_format_names_columns_that_there_are_and_its_source(name):
    each = formats.bundled()[name]
    assert {*each.columns, *each.constants, *each.units, *each.empty_is_zero} <= {
        *NAMES,
        *(column.name for column in INPUTS),
    }
    assert {*each.unknown} <= {*NAMES, *(column.name for column in INPUTS)}
    assert "" not in (each.title, each.source)
    excluded = {*each.input_excludes, *each.output_excludes}
    assert excluded <= {*each.columns}


TOLD_BY = {
    "cached_input_tokens": {"cached_input_tokens"},
    "ok": {"ok", "failure", "failed_requests"},
    "latency_s": {"latency_s", "latency_ms", "ended"},
    "ttft_s": {"ttft_s", "ttft_ms", "first_token_at"},
    "model_served": {"model_served"},
}


@pytest.mark.parametrize("name", [_format(sample) for sample in TRUTHS])
def test_a_format_gives_the_columns_that_a_study_needs_or_says_why_not(name):
    each = formats.bundled()[name]
    for column, sources in TOLD_BY.items():
        assert sources & {*each.columns, *each.constants} or column in each.unknown, column


@pytest.mark.parametrize("alias", ["azure", "azure_2023", "azure_2024"])
def test_a_former_name_of_a_format_still_means_it(alias):
    log = read_log(SAMPLES / "azure_2023-2024.csv", alias)
    assert log.accepted["output_tokens"].tolist() == [100, 200, 50, 350]


def test_a_fallback_keeps_the_model_that_was_asked_for_and_the_one_that_answered():
    for sample in ("litellm.jsonl", "litellm_spendlogs.csv"):
        second = read_log(SAMPLES / sample).accepted.iloc[1]
        assert (second["model_requested"], second["model_served"]) == ("chat", "gpt-4o")
        assert (second["attempts"], second["latency_s"]) == (2, 4.0)


def test_the_failed_requests_of_a_day_are_a_part_of_its_own():
    log = read_log(SAMPLES / "litellm_daily.csv")
    failed = log.accepted[~log.accepted["ok"]]
    assert failed[["n_requests", "input_tokens", "output_tokens"]].to_numpy().tolist() == [
        [10, 0, 0]
    ]
    assert log.accepted["request_id"].is_unique
    assert log_totals(log).failed_share == pytest.approx(10 / 360)


def test_a_bucket_of_a_usage_report_has_its_tokens_however_many_and_no_number(tmp_path):
    text = (SAMPLES / "anthropic_usage.json").read_text()
    path = tmp_path / "usage.json"
    path.write_text(text.replace("84000", "84000000").replace("30000,", "30000000,"))
    totals = log_totals(read_log(path), "anthropic/claude-sonnet-4-5", "2026-11-29")
    assert (totals.logical_requests, totals.requests_per_month) == (None, None)
    tokens = (totals.input_tokens, totals.cached_input_tokens, totals.output_tokens)
    assert tokens == pytest.approx((84_000_000 + 30_000_000 + 6_000 + 50_000, 30_000_000, 25_000))
    # a day at USD 3 in, 0.30 cached, 3.75 written and 15 out for a million, prompts being short
    day = 84.05 * 3 + 30 * 0.3 + 0.006 * 3.75 + 0.025 * 15
    assert totals.usd == pytest.approx(day * 730 / 24, rel=1e-3)


@pytest.mark.parametrize("sample", ["helicone.csv", "helicone_export.jsonl"])
def test_what_the_gateway_answered_from_its_own_cache_is_no_request(sample):
    aside = read_log(SAMPLES / sample).quarantined
    assert aside["row"].tolist() == [7 if sample.endswith("csv") else 6]
    assert aside["reason"].tolist() == [plausible.CACHE_HIT]


def test_a_call_that_is_delivered_twice_counts_once(tmp_path):
    rows = (SAMPLES / "litellm.jsonl").read_text().splitlines()
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(rows[:1] * 2))
    assert len(read_log(path).accepted) == 1


# --- the same rows in every container ----------------------------------------------------------

ROWS = SAMPLES / "helicone_export.jsonl"
"""The sample that is packed in every way."""


def _encodings():
    text = ROWS.read_text()
    records = [json.loads(line) for line in text.splitlines()]
    array = json.dumps(records)
    pretty = json.dumps(records, indent=2)
    documents = "\n".join(json.dumps(record, indent=4) for record in records)
    return {
        "plain": text.encode(),
        "crlf": text.replace("\n", "\r\n").encode(),
        "bom": codecs.BOM_UTF8 + text.encode(),
        "utf-16": text.encode("utf-16"),
        "utf-16-be": codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        "utf-16 without a mark": text.encode("utf-16-le"),
        "gzip": gzip.compress(text.encode()),
        "gzip in two members": b"".join(
            gzip.compress(part.encode()) for part in text.splitlines(keepends=True)
        ),
        "zstd": zstandard.ZstdCompressor().compress(text.encode()),
        "zstd in frames": b"".join(
            zstandard.ZstdCompressor().compress(part.encode())
            for part in text.splitlines(keepends=True)
        ),
        "array": array.encode(),
        "array in gzip": gzip.compress(array.encode()),
        "array over lines": pretty.encode(),
        "array over lines in utf-16": pretty.encode("utf-16"),
        "documents over lines": documents.encode(),
        "page": json.dumps({"data": records, "error": None}).encode(),
        "page over lines": json.dumps({"data": records}, indent=2).encode(),
        "a sequence of RFC 7464": b"".join(
            b"\x1e" + line.encode() for line in text.splitlines(keepends=True)
        ),
        "blank lines": text.replace("\n", "\n\n").encode(),
    }


@pytest.mark.parametrize("encoding", _encodings())
def test_the_container_of_json_does_not_change_what_is_read(tmp_path, encoding):
    path = tmp_path / "log"
    path.write_bytes(_encodings()[encoding])
    assert _read(read_log(path)) == pytest.approx(TRUTHS[ROWS.name])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_the_container_of_csv_does_not_change_what_is_read(tmp_path, delimiter, encoding, pack):
    text = (SAMPLES / "openrouter.csv").read_text().replace(",", delimiter)
    path = tmp_path / "log"
    path.write_bytes(pack(text.encode(encoding)))
    assert _read(read_log(path)) == pytest.approx(TRUTHS["openrouter.csv"])


@pytest.mark.parametrize("sample", ["generic-german.csv", "generic-french.csv"])
def test_a_file_of_excel_on_windows_is_read_with_its_letters(tmp_path, sample):
    text = (SAMPLES / sample).read_text()
    path = tmp_path / "log.csv"
    path.write_bytes(f"sep=;\r\n{text}".encode("cp1252"))
    log = read_log(path)
    assert _read(log) == pytest.approx(TRUTHS[sample])
    assert log.accepted["request_id"].tolist()[0] == "log.csv:3"
    if "german" in sample:
        assert log.accepted["tenant"].unique().tolist() == ["Nord", "Süd"]


@pytest.mark.parametrize("sample", ["langfuse.jsonl", "litellm.jsonl", "otel-flat.csv"])
def test_parquet_of_a_sample_reads_as_the_sample(tmp_path, sample):
    path = tmp_path / "log.parquet"
    source = f"read_json('{SAMPLES / sample}')"
    if sample.endswith("csv"):
        source = f"read_csv('{SAMPLES / sample}', all_varchar = true)"
    duckdb.sql(f"COPY (SELECT * FROM {source}) TO '{path}' (FORMAT parquet)")
    assert _read(read_log(path)) == pytest.approx(TRUTHS[sample])


def test_a_nested_field_of_parquet_is_read_where_the_first_rows_lack_it(tmp_path):
    path = tmp_path / "log.parquet"
    duckdb.sql(
        "COPY (SELECT 'c' || i AS litellm_call_id, 1793000000 + i AS startTime, 'openai' AS"
        " custom_llm_provider, 0.01 AS response_cost, 10 AS prompt_tokens, 5 AS completion_tokens,"
        " 'gpt-4o' AS model, CASE WHEN i < 300 THEN 'success' ELSE 'failure' END AS status,"
        " CASE WHEN i >= 300 THEN {'error_class': ' Timeout ', 'n': i} END AS error_information"
        f" FROM range(301) t(i) ORDER BY i) TO '{path}' (FORMAT parquet)"
    )
    log = read_log(path)
    assert log.accepted["error"].dropna().tolist() == ["Timeout"]
    assert log.accepted["logged_usd"].sum() == pytest.approx(3.01)


def _recased(record, case):
    if isinstance(record, dict):
        return {case(name): _recased(value, case) for name, value in record.items()}
    return record


@pytest.mark.parametrize("sample", ["generic-camel.jsonl", "generic-openai.jsonl"])
@pytest.mark.parametrize(
    "case", [str.upper, str.lower, lambda name: name[0].upper() + name[1:], lambda n: f"{n} "]
)
def test_names_of_json_are_read_in_any_spelling(tmp_path, sample, case):
    rows = [json.loads(line) for line in (SAMPLES / sample).read_text().splitlines()]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(json.dumps(_recased(row, case)) for row in rows))
    assert _read(read_log(path)) == pytest.approx(TRUTHS[sample])


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["requests", "logs", "data"])
def test_a_document_with_one_list_of_usual_records_is_that_list(tmp_path, indent, name):
    rows = (SAMPLES / "generic-camel.jsonl").read_text().splitlines()
    document = {"exported": "2026-11-30", name: [json.loads(row) for row in rows]}
    path = tmp_path / "log.json"
    path.write_text(json.dumps(document, indent=indent))
    assert _read(read_log(path)) == pytest.approx(TRUTHS["generic-camel.jsonl"])


def test_maps_of_parquet_are_read_like_nested_json(tmp_path):
    path = tmp_path / "log.parquet"
    spans = f"read_csv('{SAMPLES / 'otel-flat.csv'}', all_varchar = true)"
    as_map = "CAST(SpanAttributes::JSON AS MAP(VARCHAR, VARCHAR)) AS SpanAttributes"
    duckdb.sql(f"COPY (SELECT * REPLACE ({as_map}) FROM {spans}) TO '{path}' (FORMAT parquet)")
    assert _read(read_log(path)) == pytest.approx(TRUTHS["otel-flat.csv"])


def _parts(folder):
    """The rows of the sample in five files, in two folders of days."""
    for n, line in enumerate(ROWS.read_text().splitlines()):
        part = folder / f"day=2026-11-0{2 + n % 2}" / f"part-{n:05}.jsonl"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(line + "\n")
    (folder / "_SUCCESS").touch()
    (folder / "day=2026-11-02" / ".part-00000.jsonl.crc").write_bytes(b"crc\0")
    return folder


def test_a_folder_with_its_days_and_markers_is_one_log(tmp_path):
    log = read_log(_parts(tmp_path / "logs"))
    assert _read(log) == pytest.approx(TRUTHS[ROWS.name])
    assert log.accepted["source"].nunique() == 5


@pytest.mark.parametrize("pattern", ["**/*.jsonl", "day=*/part-*", "day=2026-11-0[23]"])
def test_a_glob_is_one_log(tmp_path, pattern):
    folder = _parts(tmp_path / "logs")
    if pattern.endswith("]"):
        pattern += "/*.jsonl"
    assert _read(read_log(folder / pattern)) == pytest.approx(TRUTHS[ROWS.name])


def test_a_list_of_files_is_one_log_and_none_is_read_twice(tmp_path):
    files = sorted(_parts(tmp_path / "logs").rglob("*.jsonl"))
    assert _read(read_log([*files, files[0]])) == pytest.approx(TRUTHS[ROWS.name])


def test_a_field_of_the_path_is_a_column(tmp_path):
    rows = (SAMPLES / "generic-spanish.csv").read_text().splitlines()
    for team, part in (("nord", rows[1:3]), ("süd", rows[3:])):
        path = tmp_path / f"team={team}" / "part.csv"
        path.parent.mkdir()
        path.write_text("\n".join([rows[0], *part]))
    log = read_log(tmp_path)
    assert log.accepted["tenant"].tolist() == ["nord", "nord", "süd", "süd", "süd"]


def test_parts_of_spark_are_read_all(tmp_path):
    rows = f"read_csv('{SAMPLES / 'generic-spanish.csv'}')"
    for n in range(5):
        path = tmp_path / f"part-{n:05}-c000.snappy.parquet"
        query = f"SELECT * FROM {rows} LIMIT 1 OFFSET {n}"
        duckdb.sql(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION snappy)")
    (tmp_path / "_SUCCESS").touch()
    assert _read(read_log(tmp_path)) == pytest.approx(TRUTHS["generic-spanish.csv"])


# --- sums, units, rules ------------------------------------------------------------------------


def _one(tmp_path, record, **declared):
    path = tmp_path / "log.jsonl"
    base = {"ts": "2026-11-02T09:00:00Z", "in": 10, "out": 5}
    path.write_text(json.dumps(base | record))
    columns = {"ts_start": "ts", "input_tokens": "in", "output_tokens": "out"}
    return read_log(path, "jsonl", columns | declared.pop("columns", {}), **declared)


@pytest.mark.parametrize(
    ("parts", "total"),
    [
        ({"a": 3, "b": 4}, 7),
        ({"a": "3", "b": None}, 3),
        ({"b": 4}, 4),
        ({"a": 10.0, "b": 100}, 110),
        ({}, None),
    ],
)
def test_a_sum_of_fields_counts_those_that_are_filled(tmp_path, parts, total):
    columns = {"output_tokens": ["a + b", "out"], "reasoning_tokens": "out"}
    log = _one(tmp_path, {**parts, "out": 1}, columns=columns)
    assert log.accepted["output_tokens"].tolist() == [1 if total is None else total]


def test_a_sum_with_a_part_that_is_no_number_is_no_number(tmp_path):
    log = _one(tmp_path, {"a": 3, "b": "many"}, columns={"output_tokens": "a + b"})
    assert log.quarantined["reason"].tolist() == ["output_tokens is 'many', not a whole number"]


@pytest.mark.parametrize(
    ("value", "empty_is_zero", "cached"),
    [(None, ("cached_input_tokens",), 0), (None, (), None), (4, ("cached_input_tokens",), 4)],
)
def test_an_empty_field_is_0_where_that_is_declared(tmp_path, value, empty_is_zero, cached):
    columns = {"cached_input_tokens": "hit"}
    log = _one(tmp_path, {"hit": value}, columns=columns, empty_is_zero=empty_is_zero)
    assert _total(log.accepted["cached_input_tokens"]) == cached


def test_input_excludes_the_cache_for_the_providers_named_alone(tmp_path):
    declared = {
        "columns": {"cached_input_tokens": "hit", "provider": "who"},
        "input_excludes": ["cached_input_tokens"],
        "exclusive_providers": ["anthropic"],
    }
    for who, total in (("Anthropic", 14), ("openai", 10)):
        log = _one(tmp_path, {"hit": 4, "who": who}, **dict(declared))
        assert log.accepted["input_tokens"].tolist() == [total]


@pytest.mark.parametrize(("batch", "tier"), [("TRUE", "batch"), (False, "flex"), (None, "flex")])
def test_a_value_is_read_by_the_word_for_it(tmp_path, batch, tier):
    columns = {"service_tier": ["batch", "tier"]}
    words = {"service_tier": {"true": "batch", "false": ""}}
    log = _one(tmp_path, {"batch": batch, "tier": "flex"}, columns=columns, words=words)
    assert log.accepted["service_tier"].tolist() == [tier]


def test_rows_that_a_rule_leaves_out_are_no_requests(tmp_path):
    declared = {"columns": {"operation": "kind"}}
    for rule in ({"only": {"kind": ["chat"]}}, {"without": {"operation": ["probe"]}}):
        assert len(_one(tmp_path, {"kind": "probe"}, **declared, **rule).accepted) == 0
        assert len(_one(tmp_path, {"kind": "chat"}, **declared, **rule).accepted) == 1
    any_kind = {"only": {"operation": ["*"]}}
    assert len(_one(tmp_path, {"kind": "chat"}, **declared, **any_kind).accepted) == 1
    assert len(_one(tmp_path, {"kind": None}, **declared, **any_kind).accepted) == 0


# --- whatever the bytes ------------------------------------------------------------------------

SMALL = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def _survives(path, raw, format=None):
    """Any bytes are a log, each row accepted or quarantined, or refused in a sentence."""
    path.write_bytes(raw)
    try:
        log = read_log(path, format)
    except ValueError as error:
        log, refusal = None, str(error)
    if log is None:
        assert path.name in refusal
        return
    assert log.rows_read == len(log.accepted) + len(log.quarantined)
    assert log.quarantined["reason"].str.len().gt(0).all()


@SMALL
@given(raw=st.binary(max_size=200), format=st.sampled_from([None, "generic", "otel", "litellm"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory, raw, format):
    _survives(tmp_path_factory.getbasetemp() / "bytes", raw, format)


@SMALL
@given(sample=st.sampled_from(FILES), seed=st.integers(0, 2**32))
def test_a_damaged_sample_is_read_or_refused(tmp_path_factory, sample, seed):
    raw = bytearray((SAMPLES / sample).read_bytes())
    dice = random.Random(seed)
    for _ in range(dice.randrange(1, 6)):
        at = dice.randrange(len(raw))
        kind = dice.randrange(3)
        if kind == 0:
            raw[at] = dice.randrange(256)
        elif kind == 1:
            del raw[at : at + dice.randrange(80)]
            raw = raw or bytearray(b"{")
        else:
            raw[at:at] = dice.choice([b'"', b"{", b"[", b"\0", b"\n", b",", b"\xff", b"1e999"])
    _survives(tmp_path_factory.getbasetemp() / "damaged", bytes(raw), _format(sample))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)


@SMALL
@given(
    sample=st.sampled_from([name for name in FILES if name.endswith("jsonl")]),
    value=JSON,
    seed=st.integers(0, 2**32),
)
def test_any_value_in_any_field_is_read_or_refused(tmp_path_factory, sample, value, seed):
    records = [json.loads(line) for line in (SAMPLES / sample).read_text().splitlines() if line]
    dice = random.Random(seed)
    record = dice.choice(records)
    while isinstance(record, dict) and record:
        key = dice.choice(sorted(record))
        if not isinstance(record[key], dict) or dice.random() < 0.4:
            record[key] = value
            break
        record = record[key]
    text = "\n".join(json.dumps(each) for each in records)
    raw = text.encode("utf-8", "surrogatepass")
    _survives(tmp_path_factory.getbasetemp() / "values", raw, _format(sample))


MARKS = st.text("\x00\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\ufeff\"\\ {},'\té", max_size=5)


@SMALL
@given(
    lines=st.lists(MARKS | MARKS.map(lambda text: json.dumps({"ts": text}, ensure_ascii=False))),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_no_line_is_lost_whatever_signs_are_in_it(tmp_path_factory, lines, end):
    sound = json.dumps({"ts": "2026-11-02T09:00:00Z", "in": 10, "out": 5})
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    path.write_bytes(end.join([sound, *lines, sound]).encode())
    columns = {"ts_start": "ts", "input_tokens": "in", "output_tokens": "out"}
    log = read_log(path, "jsonl", columns)
    blank = sum(not line.strip(" \t\r\n\x1e") for line in lines)
    assert log.rows_read == len(lines) + 2 - blank
    assert len(log.accepted) + int((log.quarantined["reason"] == plausible.REPEAT).sum()) == 2


@SMALL
@given(depth=st.integers(1, 4_000), mark=st.sampled_from(["[", '{"a":', '{"data":[']))
def test_nesting_of_any_depth_is_read_or_refused(tmp_path_factory, depth, mark):
    _survives(tmp_path_factory.getbasetemp() / "deep", (mark * depth).encode(), "helicone_export")


def test_a_packing_that_is_not_read_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "log.bz2"
    path.write_bytes(bz2.compress(ROWS.read_bytes()))
    with pytest.raises(ValueError, match=r"log\.bz2"):
        read_log(path)


# --- files of the public -----------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared files beside the repository")
def test_the_logs_and_traces_beside_the_repository_read_as_their_publishers_say():
    log = read_log(SHARED / "fixtures/logs/litellm_standard_logging_payload.jsonl")
    assert (log.rows_read, len(log.accepted), int((~log.accepted["ok"]).sum())) == (19, 12, 1)
    azure = read_log(SHARED / "traces/AzureLLMInferenceTrace_conv.csv")
    assert (azure.rows_read, len(azure.accepted)) == (19_366, 19_366)
    rag = read_log(SHARED / "traces/ragpulse_trace.jsonl")
    assert (rag.rows_read, len(rag.accepted)) == (7_106, 7_106)
    assert rag.accepted["session_id"].nunique() == 3_990
