"""`llmstudy eval`: what it reads and writes, its document, and its words on bad files."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from llmstudy.cli import app
from llmstudy.evals.importers import FORMATS, read_evaluation


def evals(*arguments):
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


@pytest.fixture
def wide(tmp_path):
    file = tmp_path / "scores.csv"
    file.write_text("item_id,api,open,note\n" + "".join(f"{n},1,{n % 2},x\n" for n in range(40)))
    return file


def test_import_writes_one_table_and_says_what_it_read(wide, tmp_path):
    out = tmp_path / "new" / "evaluation.jsonl"
    result = evals("import", "auto", wide, "--out", out, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document == {
        "formats": {"scores.csv": "table"},
        "scorer": None,
        "scorer_2": None,
        "items": 40,
        "routes": [
            {"route": "api", "run": None, "answers": 40, "scored": 40, "score": 1.0},
            {"route": "open", "run": None, "answers": 40, "scored": 40, "score": 0.5},
        ],
        "unused": ["note"],
        "out": str(out),
    }
    pd.testing.assert_frame_equal(read_evaluation(out), read_evaluation(wide))
    assert [file.name for file in out.parent.iterdir()] == [out.name]


def test_a_person_reads_the_format_the_means_and_what_was_not_read(wide, tmp_path):
    result = evals("import", "table", wide, "--out", tmp_path / "e.parquet")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "api: 40 of 40 scored, mean 1\nopen: 40 of 40 scored, mean 0.5\n"
    assert "scores.csv: table" in result.stderr
    assert "Not read: the columns note." in result.stderr


def test_runs_of_one_route_are_shown_apart(wide, tmp_path):
    other = wide.with_name("again.csv")
    other.write_text(wide.read_text())
    result = evals("import", "auto", wide, other, "--out", tmp_path / "e.jsonl")
    assert "api, run again.csv: 40 of 40 scored" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["excel"], "format 'excel' is unknown: use auto, inspect_ai"),
        (["auto", "--scorer", "judge"], "scorer 'judge': none of that name"),
        (["inspect_ai"], "a log without samples"),
        (["auto", "--scale", "0"], "give the highest score, above 0"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(wide, tmp_path, arguments, message):
    out = tmp_path / "e.jsonl"
    result = evals("import", arguments[0], wide, *arguments[1:], "--out", out, "--json")
    assert result.exit_code == 2
    (error,) = json.loads(result.stdout)["errors"]
    assert message in error
    assert not out.exists()


def test_the_help_names_every_format():
    text = " ".join(evals("import", "--help").stdout.replace("│", " ").split())
    assert all(name in text for name in FORMATS)


def test_audit_ends_with_3_where_it_finds_something(tmp_path):
    file = tmp_path / "scores.csv"
    rows = [f"{n},gpt-4,{int(n < 8)},0.25" for n in range(270)]
    file.write_text("\n".join(["item_id,route,score,chance", *rows]))
    result = evals("audit", file, "--json")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    (finding,) = document["findings"]
    assert (finding["kind"], finding["route"], finding["n"]) == ("below_chance", "gpt-4", 270)
    assert finding["figure"] == pytest.approx(8 / 270)
    assert document["noise"] == []
    assert "extraction_failure" in document["not_checked"]
    assert "below_chance: gpt-4 answers 8 of 270 items" in evals("audit", file).stdout


def test_audit_without_findings_ends_with_0_and_says_what_it_did_not_check(wide):
    result = evals("audit", wide)
    assert result.exit_code == 0, result.stdout
    assert result.stdout == ""
    assert "Nothing found." in result.stderr
    assert "Not checked: below_chance, no column chance" in result.stderr


def test_audit_shows_the_noise_floor_of_one_model_on_two_hosts(tmp_path):
    file = tmp_path / "scores.jsonl"
    rows = [
        {"item_id": n, "route": host, "served_model": "llama", "score": int(n % 4 > at)}
        for at, host in enumerate(("one", "two"))
        for n in range(8)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    result = evals("audit", file)
    assert "noise floor: llama differs between one and two on 25.0% of 8 items." in result.stdout


def test_compare_shows_the_evidence_that_may_be_read_at_any_time(tmp_path):
    file = tmp_path / "scores.csv"
    file.write_text("item_id,api,open\n" + "".join(f"{n},1,1\n" for n in range(200)))
    again = tmp_path / "again.csv"
    rows = [f"{n},other,{int(n % 3 > 0)},regex" for n in range(200)]
    again.write_text("\n".join(["item_id,route,score,scorer", *rows]))
    how = ("--baseline", "api", "--margin", 0.05)
    result = evals("compare", file, again, *how, "--json")
    assert result.exit_code == 0, result.stderr
    verdicts = {each["candidate"]: each for each in json.loads(result.stdout)["verdicts"]}
    look = verdicts["open"]["anytime"]
    assert (look["verdict"], look["needed"], look["n"]) == ("non-inferior", 40, 200)
    assert look["evidence"] > 40 > look["evidence_against"]
    assert verdicts["other"]["anytime"]["verdict"] == "inferior"
    shown = evals("compare", file, *how).stderr
    assert "May be read at any time, with 200 items so far: non-inferior." in shown
    assert "of 20 needed that the margin is kept" in shown


def test_a_name_with_control_characters_cannot_steer_the_terminal(tmp_path):
    file = tmp_path / "scores.jsonl"
    file.write_text(json.dumps({"item_id": 1, "route": "a\x1b[31m", "score": 1}))
    result = evals("import", "auto", file, "--out", tmp_path / "e.jsonl")
    assert "\x1b" not in result.stdout
