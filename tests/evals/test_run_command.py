"""`llmstudy eval run` against two local servers, and the verdict that follows from its file."""

import json

import pytest
from typer.testing import CliRunner

from llmstudy.cli import app


def evals(*arguments):
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


@pytest.fixture
def run(scripted, planted, tmp_path):
    """Runs a planted case by the command, with further options; returns its result and its file."""
    out, items = tmp_path / "evaluation.jsonl", tmp_path / "items.jsonl"

    def run_(name, *options):
        case = planted.CASES[name]
        lines = [
            {
                "item_id": item["item_id"],
                "messages": [{"role": "user", "content": item["prompt"]}],
                "reference": item["reference"],
            }
            for item in case.items
        ]
        items.write_text("".join(json.dumps(line) + "\n" for line in lines))
        with (
            scripted.running(planted.answers(scripted, case, "today")) as today,
            scripted.running(planted.answers(scripted, case, "open")) as open_,
        ):
            routes = [
                f"today url={today.base_url} model=today price=2.5,10",
                f"open url={open_.base_url} model=open price=0.2,0.6",
            ]
            given = [word for route in routes for word in ("--route", route)]
            return evals("run", items, *given, "--out", out, *options), out

    return run_


@pytest.mark.parametrize(("name", "verdict"), [("better", "SWITCH"), ("too few items", "COLLECT")])
def test_a_run_and_a_comparison_end_in_the_planted_verdict(run, planted, name, verdict):
    result, out = run(name, "--scorer", "numeric", "--max-spend", 5, "--json")
    assert result.exit_code == 0, result.stderr
    document, case = json.loads(result.stdout), planted.CASES[name]
    n = len(case.items)
    assert (document["sent"], document["failed"], document["stopped"]) == (2 * n, 0, None)
    assert [row["score"] for row in document["routes"]] == [
        pytest.approx((case.both + case.only_today) / n),
        pytest.approx((case.both + case.only_open) / n),
    ]
    assert f"{2 * n} answers to obtain" in result.stderr
    compared = evals("compare", out, "--baseline", "today", "--margin", planted.MARGIN, "--json")
    assert compared.exit_code == 0, compared.stderr
    (only,) = json.loads(compared.stdout)["verdicts"]
    assert only["verdict"] == verdict


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--scorer", "numeric"), "tokens of today and open are billed: give --max-spend"),
        (("--max-spend", 5), "give one of --scorer and --judge"),
        (("--scorer", "numerik", "--max-spend", 5), "no scorer 'numerik': choose one of exact"),
        (("--scorer", "regex", "--max-spend", 5), "15 of 15 items have no pattern"),
        (("--judge", "judge url=x", "--max-spend", 5), "write 'NAME url=https://HOST/v1"),
    ],
)
def test_a_mistake_ends_with_2_and_one_sentence(run, options, sentence):
    result, out = run("too few items", *options)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not out.exists()
