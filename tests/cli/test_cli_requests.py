"""`llmstudy requests`: one table from any log, its document, and its words on bad ones."""

import json

import duckdb
import pytest
from typer.testing import CliRunner

from llmstudy.cli import app

TIME = "2026-11-0{}T09:00:00Z"


def requests(*arguments):
    return CliRunner().invoke(app, ["requests", *map(str, arguments)])


@pytest.fixture
def log(tmp_path):
    lines = [
        {
            "id": f"a{day}",
            "created_at": TIME.format(day),
            "success": day != 3,
            "model": "gpt-4o",
            "usage": {"prompt_tokens": 100 * day, "completion_tokens": 10},
        }
        for day in range(1, 6)
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join([*map(json.dumps, lines), "not JSON"]))
    return path


def test_import_writes_the_requests_and_what_was_set_aside(log, tmp_path):
    out = tmp_path / "new" / "requests.parquet"
    result = requests(
        "import",
        "auto",
        log,
        "--out",
        out,
        "--json",
        "--price-as",
        "openai/gpt-4o",
        "--on",
        "2026-11-29",
    )
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["rows_read"] == 6
    assert document["logical_requests"] == 5
    assert document["quarantined"] == {"not a JSON object on one line": 1}
    assert document["totals"]["input_tokens"] == 1_500
    assert document["totals"]["failed_share"] == pytest.approx(0.2)
    assert document["totals"]["cached_input_tokens"] is None
    assert document["totals"]["usd_low"] < document["totals"]["usd_high"]
    rows = duckdb.sql(f"SELECT request_id, input_tokens FROM '{out}' ORDER BY ts_start").fetchall()
    assert rows == [(f"a{day}", 100 * day) for day in range(1, 6)]
    aside = tmp_path / "new" / "requests.quarantine.parquet"
    assert duckdb.sql(f"SELECT row, raw FROM '{aside}'").fetchall() == [(6, "not JSON")]
    assert {file.name for file in out.parent.iterdir()} == {out.name, aside.name}


def test_a_declaration_answers_a_question(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(f"created_at,prompt_tokens,completion_tokens\n{TIME.format(1)},1.000,98\n")
    arguments = ("import", "auto", path, "--out", tmp_path / "r.parquet", "--json")
    result = requests(*arguments)
    assert result.exit_code == 2
    assert "may be one or a thousand: declare `thousands:" in result.stderr
    assert not (tmp_path / "r.parquet").exists()
    result = requests(*arguments, "--set", "thousands=.")
    assert json.loads(result.stdout)["totals"]["input_tokens"] == 1_000


def test_a_person_reads_what_was_read_and_what_was_not(log, tmp_path):
    result = requests("import", "auto", log, "--out", tmp_path / "r.parquet")
    assert "6 rows read, 5 requests" in result.stderr
    assert "Set aside: 1 (16.7%), not a JSON object on one line." in result.stderr
    assert "cached_input_tokens    unknown" in result.stdout


@pytest.mark.parametrize(
    ("format", "text", "message"),
    [
        ("auto", "a,b\n1,2\n", "ts_start, input_tokens and output_tokens required"),
        ("nonsense", "a,b\n1,2\n", "format 'nonsense' is unknown; use auto, csv"),
    ],
)
def test_a_log_that_cannot_be_read_is_one_sentence(tmp_path, format, text, message):
    path = tmp_path / "log.csv"
    path.write_text(text)
    result = requests("import", format, path, "--out", tmp_path / "r.parquet", "--json")
    assert result.exit_code == 2
    assert message in json.loads(result.stdout)["errors"][0]


def test_formats_are_listed_with_what_they_cannot_tell():
    rows = {row["name"]: row for row in json.loads(requests("formats", "--json").stdout)}
    assert {"litellm", "langfuse", "openai_usage", "bedrock", "generic"} <= set(rows)
    assert rows["openai_usage"]["grain"] == "bucket"
    assert "latency_s" in rows["openai_usage"]["unknown"]
    assert "litellm" in requests("formats").stdout
