"""`llmstudy canary check` on logs of the gateway that `llmstudy export` writes.

`canary_gateway.jsonl.gz` is what LiteLLM 1.106.2 wrote for 700 requests with phase 3 of the default
study, its weights equal, upstreams mocked, where h200-gpt-oss-120b failed with status 500 in 30 %
of requests and openai-gpt-4o in 5 %; fields that no importer reads are left out. Who was asked, and
who answered, the mocks counted: after the first 100 requests of openai-gpt-4o, it failed in 6 of
129, and h200-gpt-oss-120b in 33 of 138.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from llmstudy import paths
from llmstudy.cli import app
from llmstudy.export.plan import plan_of
from llmstudy.export.source import decision

CAPTURED = Path(__file__).with_name("canary_gateway.jsonl.gz")
NAME, TODAY, NEW = "extraction", "openai-gpt-4o", "h200-gpt-oss-120b"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a finished run of the default study."""
    folder = tmp_path_factory.mktemp("outputs") / "run"
    shutil.copytree(paths.ROOT / "outputs" / "reference" / "results", folder / "results")
    return folder


@pytest.fixture(scope="module")
def aliases(run):
    return plan_of(decision(run)).phases[3]


def checked(log, run, *more, json_=True):
    arguments = ["canary", "check", str(log), "--decision", str(run), *more]
    done = CliRunner().invoke(app, [*arguments, "--json"] if json_ else arguments)
    if not json_:
        return done
    seen = json.loads(done.stdout)
    assert seen["exit_code"] == done.exit_code
    return seen


def gateway_log(file, aliases, n=4_000, share=0.5, failing=0.0, late=0.05, alias=NAME):
    """A log as the export's callback writes it: a failed attempt is a row of its own."""
    rng, rows = np.random.default_rng(7), []
    deployments = {each.route: each for each in aliases[NAME].deployments}
    spare = aliases[aliases[NAME].fallbacks[0]].deployments[0]

    def row(call, start, ends, deployment, group, ok, first):
        tokens = {"prompt_tokens": 900 * ok, "completion_tokens": 80 * ok}
        return {
            **{"id": f"{call}-{deployment.id}", "litellm_call_id": call, "trace_id": call},
            **{"status": "success" if ok else "failure", "call_type": "acompletion"},
            **{"custom_llm_provider": deployment.model.partition("/")[0], "stream": True},
            **{"startTime": start, "endTime": ends, "completionStartTime": first},
            **{"model": deployment.model, "model_group": group, "model_id": deployment.id},
            **{"response_cost": 0.001 * ok, "cache_hit": None, "metadata": {}, **tokens},
            "error_information": {"error_class": "" if ok else "InternalServerError"},
        }

    for i in range(n):
        at, call = 1796083200.0 + 20.0 * i, f"call-{i}"
        new = rng.random() < share
        first = deployments[NEW if new else TODAY]
        fails = rng.random() < (failing if new else 0.01)
        waits = 9.0 if rng.random() < (late if new else 0.05) else 0.2
        if fails:
            rows.append(row(call, at, at + 0.1, first, alias, False, at + 0.1))
            at += 0.1
        group = aliases[NAME].fallbacks[0] if fails else alias
        answered = spare if fails else first
        rows.append(row(call, at, at + 12.0, answered, group, True, at + waits))
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return file


def test_what_the_real_gateway_wrote_counts_for_the_route_that_was_asked_first(run):
    seen = checked(CAPTURED, run, "--workload", NAME, "--route", NEW)
    errors = seen["metrics"][0]
    assert (errors["metric"], seen["verdict"], seen["exit_code"]) == ("errors", "roll back", 3)
    assert (errors["requests"], errors["stays_requests"]) == (138, 129)
    assert errors["canary_share"] == pytest.approx(33 / 138)
    assert errors["stays_share"] == pytest.approx(6 / 129)


@pytest.mark.parametrize(
    ("more", "exit_code", "says"),
    [
        ({"failing": 0.01}, 0, "Continue: step 4 of extraction, 50 % to h200-gpt-oss-120b: go to"),
        ({"failing": 0.15}, 3, "Roll back to openai-gpt-4o: "),
        ({"failing": 0.01, "late": 0.2}, 3, "late first tokens 2"),
        ({"failing": 0.01, "n": 300}, 0, "Undecided: "),
    ],
)
def test_a_canary_of_the_exported_gateway_goes_on_or_back(
    run, aliases, tmp_path, more, exit_code, says
):
    log = gateway_log(tmp_path / "gateway.jsonl", aliases, **more)
    done = checked(log, run, "--workload", NAME, "--route", NEW, json_=False)
    assert (done.exit_code, says in done.stdout) == (exit_code, True), done.output
    assert "a loss of 5 points is caught with" in done.stdout
    assert "A log has no accepted answers" in done.stderr
    # the table that `requests import` writes tells the same
    table = tmp_path / "requests.parquet"
    CliRunner().invoke(app, ["requests", "import", "auto", str(log), "--out", str(table)])
    again = checked(table, run, "--workload", NAME, "--route", NEW, json_=False)
    assert again.stdout == done.stdout


def test_scores_of_both_routes_judge_accepted_answers(run, aliases, tmp_path):
    log = gateway_log(tmp_path / "gateway.jsonl", aliases, failing=0.01)
    scores = tmp_path / "scores.jsonl"
    rows = [
        {"item_id": i, "route": route, "score": int(i % 100 >= lost)}
        for route, lost in ((TODAY, 10), (NEW, 22))
        for i in range(2_000)
    ]
    scores.write_text("\n".join(map(json.dumps, rows)))
    more = "--workload", NAME, "--route", NEW, "--scores", str(scores)
    seen = checked(log, run, *more)
    assert (seen["verdict"], seen["not_judged"]) == ("roll back", {})
    assert seen["metrics"][0]["canary_share"] == pytest.approx(0.78)
    scores.write_text(scores.read_text().replace('"score": 1', '"score": 0.7'))
    done = checked(log, run, *more, json_=False)
    assert (done.exit_code, "scores of 0 and 1" in done.stderr) == (2, True)


def test_shadow_requests_are_left_out(run, aliases, tmp_path):
    shadow = gateway_log(tmp_path / "shadow.jsonl", aliases, n=500, alias=f"{NAME}.{NEW}")
    log = gateway_log(tmp_path / "gateway.jsonl", aliases, failing=0.01)
    text = shadow.read_text().replace("call-", "shadow-")
    log.write_text(log.read_text() + text)
    seen = checked(log, run, "--workload", NAME, "--route", NEW)
    assert seen["verdict"] == "continue"
    assert any(f"asked for {NEW} by name" in note for note in seen["notes"])


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ((), "--workload: name the one whose canary it is"),
        (("--workload", "nothing"), "the study has support-chat"),
        (("--workload", NAME, "--route", TODAY), "may move to"),
        (("--workload", "support-chat"), "no request of support-chat"),
        (("--workload", NAME, "--route", NEW, "--since", "2030-01-01"), "since 2030-01-01"),
    ],
)
def test_what_cannot_be_judged_is_one_sentence(run, more, says):
    done = checked(CAPTURED, run, *more, json_=False)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr


def test_a_report_of_sums_is_no_log_of_a_canary(run):
    sums = paths.ROOT / "tests/requests/samples/litellm_daily.csv"
    done = checked(sums, run, "--workload", NAME, json_=False)
    assert (done.exit_code, "sums requests up" in done.stderr) == (2, True)
