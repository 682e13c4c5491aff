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


def test_rows_of_one_fault_are_one_reason_that_quotes_none_of_them(tmp_path):
    path = tmp_path / "log.csv"
    rows = [f"{TIME.format(1 + i % 9)},{cell},98" for i, cell in enumerate(["Ada's", "B", *"1234"])]
    path.write_text("\n".join(["created_at,prompt_tokens,completion_tokens", *rows]))
    result = requests("import", "auto", path, "--out", tmp_path / "r.parquet", "--json")
    assert json.loads(result.stdout)["quarantined"] == {"input_tokens is not a whole number": 2}


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
        ("auto", "", "no record of a log is in it: name another file"),
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


@pytest.fixture
def priced_log(tmp_path):
    """Two workloads of 100 requests, one of them with cached input billed in full by the log."""
    lines = ["at,use,in,cached,out,usd,took,model"]
    for i in range(200):
        use, cached, usd = ("chat", 0, 0.0035) if i % 2 else ("tagging", 400, 0.0035)
        lines.append(
            f"2026-11-0{1 + i // 50}T09:{i % 50:02}:11Z,{use},1000,{cached},100,{usd},{i},gpt-4o"
        )
    path = tmp_path / "priced.csv"
    path.write_text("\n".join(lines))
    fields = "ts_start=at workload=use input_tokens=in cached_input_tokens=cached output_tokens=out"
    fields += " logged_usd=usd latency_s=took model_served=model"
    declared = [x for field in fields.split() for x in ("--set", f"columns.{field}")]
    return [path, *declared, "--set", "constants.provider=openai"]


def test_a_summary_has_a_row_for_each_group_and_null_for_what_is_not_told(priced_log):
    document = json.loads(requests("summary", *priced_log, "--json").stdout)
    assert [group["workload"] for group in document["groups"]] == ["chat", "tagging"]
    chat, tagging = document["groups"]
    assert (chat["requests"], chat["usd"]) == (100, pytest.approx(0.35))
    assert tagging["usd"] == pytest.approx(0.30)
    assert chat["latency_s_p50_low"] < chat["latency_s_p50"] < chat["latency_s_p50_high"]
    assert chat["ttft_s_p50"] is chat["retry_share"] is chat["growth_per_month"] is None
    assert "tenants" in document["unknown"]
    assert document["sentence"].startswith("200 requests, USD 0.65 at list prices, 0 % failed")


def test_a_summary_fits_eighty_columns_and_says_what_is_missing(priced_log):
    result = requests("summary", *priced_log, "--by", "workload,route,day")
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "Growth needs 28 days of log" in result.stdout
    assert "The log does not tell attempts" in " ".join(result.stdout.split())


def test_the_table_that_import_wrote_gives_what_its_log_gives(priced_log, tmp_path):
    out = tmp_path / "requests.parquet"
    assert requests("import", "auto", *priced_log, "--out", out).exit_code == 0
    for command in ("summary", "reconcile"):
        of_log = json.loads(requests(command, *priced_log, "--json").stdout)
        assert json.loads(requests(command, out, "--json").stdout) == of_log


def test_reconcile_names_the_cause_and_holds_an_invoice_against_the_month(priced_log):
    result = requests("reconcile", *priced_log, "--json", "--invoice", "2026-11=5")
    document = json.loads(result.stdout)
    assert "USD 0.050 more in the log; the largest cause is cache" in document["sentence"]
    causes = {(row["against"], row["kind"]): row for row in document["rows"]}
    assert causes["log", "cache"]["difference_usd"] == pytest.approx(0.05)
    assert any(against == "invoice 2026-11" for against, _ in causes)
    printed = requests("reconcile", *priced_log).stdout
    assert printed.startswith("The log has USD 0.70, and its tokens cost USD 0.65")
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--invoice", "much"], "'much' has no amount"),
        (["--invoice", "1", "--invoice", "2"], "one for each month"),
        (["--invoice", "2026=1"], '"2026" is no month'),
        (["--invoice", "5", "--currency", "EUR"], "how many USD one EUR is"),
        (["--provider", "azure"], "provider 'azure' has no request"),
    ],
)
def test_an_invoice_that_cannot_be_read_is_one_sentence(priced_log, arguments, message):
    result = requests("reconcile", *priced_log, *arguments, "--json")
    assert result.exit_code == 2
    assert message in json.loads(result.stdout)["errors"][0]


def test_a_group_that_is_no_column_is_one_sentence(priced_log):
    result = requests("summary", *priced_log, "--by", "colour", "--json")
    assert result.exit_code == 2
    assert "colour is no column" in json.loads(result.stdout)["errors"][0]


def test_a_log_without_costs_cannot_be_reconciled_and_says_so(log):
    document = json.loads(requests("reconcile", log, "--json").stdout)
    assert document["sentence"].endswith("nothing can be compared.")


def test_a_summary_by_tenant_has_no_share_of_tenants(priced_log):
    result = requests("summary", *priced_log, "--by", "tenant", "--set", "constants.tenant=a")
    assert result.exit_code == 0, result.output
    assert "The log does not tell attempts" in " ".join(result.stdout.split())
