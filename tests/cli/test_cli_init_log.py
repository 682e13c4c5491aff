"""`llmstudy init --log`: a study that names the log, and says of it what a run will say."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from llmstudy import paths, study
from llmstudy.cli import app, init
from llmstudy.cli.logged import one_path
from llmstudy.evidence.case import open_case

DAY = ("--as-of", "2026-11-23")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def made(*arguments, **more):
    return CliRunner().invoke(app, ["init", "acme", *map(str, arguments)], **more)


def litellm(hours=200, **fields):
    """Rows of LiteLLM, three an hour: two of support chat on one model, one of triage."""
    rng = np.random.default_rng(7)
    start = pd.Timestamp("2026-11-02", tz="UTC").timestamp()
    return [
        {
            "litellm_call_id": f"c{n}",
            "startTime": start + 1_200.0 * n,
            "status": "success",
            "custom_llm_provider": "openai",
            "model": "gpt-4o-mini" if n % 3 == 0 else "gpt-4o",
            "model_group": "small" if n % 3 == 0 else "large",
            "request_tags": ["triage" if n % 3 == 0 else "support"],
            "prompt_tokens": int(rng.integers(500, 1_500)),
            "completion_tokens": 4 if n % 3 == 0 else 200,
            "response_cost": 0.01,
            "metadata": {"usage_object": {"prompt_tokens_details": {"cached_tokens": 250}}},
            **fields,
        }
        for n in range(3 * hours)
    ]


def write(name, rows):
    file = Path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


def test_the_study_has_the_workloads_models_and_figures_of_the_log():
    rows = litellm()
    done = made("--log", write("logs/a.jsonl", rows), "--json", *DAY)
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["log"]["format"] == "LiteLLM, StandardLoggingPayload"
    assert document["log"]["rows_read"] == document["log"]["requests"] == 600
    assert document["log"]["by"] == "tag"
    of = study.load("acme/study.yaml")
    assert (of.requests.path, of.requests.format) == (Path("acme/../logs/a.jsonl"), "litellm")
    assert of.workloads["triage"].task == "classification"
    assert of.routes[of.workloads["triage"].current_route].model == "gpt-4o-mini"
    assert of.routes[of.workloads["support"].current_route].model == "gpt-4o"

    table = pd.DataFrame(rows).assign(tag=lambda x: x["request_tags"].str[0])
    for name, part in table.groupby("tag"):
        intake = of.workloads[name].intake
        assert intake.input_tokens.value == pytest.approx(part["prompt_tokens"].mean(), rel=1e-5)
        assert intake.requests.value == pytest.approx(len(part) / 200 * 730, rel=1e-2)
        cached = of.workloads[name].cached_input_share
        assert cached.value == pytest.approx(250 / part["prompt_tokens"].mean(), rel=1e-5)
        for figure in (intake.requests, intake.input_tokens, intake.peak_to_mean, cached):
            assert figure.grade == "measured"
            assert figure.source.startswith("log: ")
    assert document["unknown"] == of.unknown()
    assert not {"requests", "input_tokens"} & {x.rpartition(".")[2] for x in of.unknown()}


def test_a_run_finds_the_figures_that_the_study_says():
    made("--log", write("a.jsonl", litellm()), *DAY)
    of = study.load("acme/study.yaml")
    case = open_case(of)
    assert case.traffic.simulated == {}
    for name, workload in case.study.workloads.items():
        for key in ("requests", "input_tokens", "output_tokens", "peak_to_mean"):
            said, found = getattr(of.workloads[name].intake, key), getattr(workload.intake, key)
            ends = [(x.low or x.value, x.value, x.high or x.value) for x in (said, found)]
            assert ends[0] == pytest.approx(ends[1], rel=1e-5)
            assert (said.source, said.as_of) == (found.source, found.as_of)


def test_a_log_shorter_than_a_week_leaves_the_peak_unknown():
    made("--log", write("a.jsonl", litellm(hours=60)), *DAY)
    unknown = study.load("acme/study.yaml").unknown()
    assert "workloads.support.intake.peak_to_mean" in unknown
    assert "workloads.support.intake.requests" not in unknown


def test_what_is_given_by_hand_wins_and_the_run_that_takes_the_log_is_told():
    log = write("a.jsonl", litellm())
    given = ("--provider", "anthropic", "--model", "claude-sonnet-4-5", "--requests", "9M")
    done = made("--log", log, *given, "--data-class", "phi", *DAY)
    assert done.exit_code == 0, done.stderr
    of = study.load("acme/study.yaml")
    assert {of.routes[w.current_route].model for w in of.workloads.values()} == {
        "claude-sonnet-4-5"
    }
    assert sum(w.intake.requests.value for w in of.workloads.values()) == pytest.approx(9e6)
    assert of.workloads["triage"].intake.data_class == "phi"
    assert "a run takes what the log measures; to have yours, add --set workloads." in done.stdout
    assert "Measured for triage: input_tokens" in done.stdout


def test_what_the_log_answers_is_not_asked(monkeypatch):
    monkeypatch.setattr(init, "interactive", lambda: True)
    done = made("--log", write("a.jsonl", litellm()), *DAY, input="\n\n\n\n")
    assert done.exit_code == 0, done.stderr
    assert [line.split("?")[0][:4] for line in done.stderr.split("[unknown]: ")[:-1]] == [
        "2/6 ", "3/6 ", "5/6 ", "6/6 ",
    ]  # fmt: skip


def test_rows_set_aside_are_told_with_the_reason_and_their_share():
    rows = litellm()
    done = made("--log", write("a.jsonl", [*rows, *rows[:12]]), *DAY)
    assert "Set aside: 12 of 612 rows (2 %): delivered again" in done.stdout


def test_a_model_that_no_list_has_is_named_and_the_file_says_what_it_assumes():
    rows = litellm(model="our-own", custom_llm_provider="hosted_vllm")
    done = made("--log", write("a.jsonl", rows), *DAY)
    assert "No price list has what answered the requests of triage, hosted_vllm/our-own" in (
        done.stdout
    )
    assert "# today's: not named, so gpt-4o is assumed" in Path("acme/study.yaml").read_text()


def test_a_number_that_can_be_read_in_two_ways_is_settled_by_set():
    text = "created_at;prompt_tokens;completion_tokens\n" + "\n".join(
        f"2026-11-{day:02}T{hour:02}:{day:02}:00Z;{1 + day % 2}.000;20"
        for day in range(1, 15)
        for hour in range(24)
    )
    Path("log.csv").write_text(text)
    asked = made("--log", "log.csv", *DAY)
    assert (asked.exit_code, Path("acme").exists()) == (2, False)
    assert 'declare `thousands: "."`' in asked.stderr
    assert made("--log", "log.csv", "--set", "thousands=.", *DAY).exit_code == 0
    of = study.load("acme/study.yaml")
    assert of.requests.thousands == "."
    assert of.workloads["product"].intake.input_tokens.value == 1_500


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--log", "absent.jsonl"], "absent.jsonl: there is no such file"),
        (["absent.jsonl"], "absent.jsonl is one argument too many"),
        (["--set", "thousands=."], "name the log with --log"),
        (["--log", "a.jsonl", "--invoice-usd", "50"], "the log gives the tokens"),
        (["--log", "a.jsonl", "b/c.jsonl"], "no glob names just these 2 files"),
    ],
)
def test_what_cannot_be_used_leaves_nothing_behind(arguments, says):
    for name in ("a.jsonl", "b/c.jsonl", "b/d.jsonl"):
        write(name, litellm(hours=60))
    done = made(*arguments, *DAY)
    assert (done.exit_code, done.stdout, Path("acme").exists()) == (2, "", False)
    assert says in done.stderr


def test_one_path_names_the_files_of_a_log_and_no_other():
    names = ("x/2026-10.jsonl", "x/2026-11.jsonl", "y/a=1/p.parquet", "y/a=2/p.parquet", "z/notes")
    files = {name: str(write(name, [])) for name in names}
    here = Path.cwd()
    assert one_path([files["x/2026-10.jsonl"]]) == here / "x/2026-10.jsonl"
    assert one_path(["x"]) == here / "x"
    assert one_path(names[:2]) == here / "x/*.jsonl"
    assert one_path(["x/*-1*"]) == here / "x/*-1*"
    assert one_path(["y/a=1", "y/a=2"]) == here / "y/**/*.parquet"
    with pytest.raises(ValueError, match="a study has one path for its log"):
        one_path([files["x/2026-10.jsonl"], files["y/a=1/p.parquet"]])


def test_a_peak_that_no_study_may_hold_stays_unknown():
    rows = litellm(hours=400)
    crowd = [
        {**rows[0], "litellm_call_id": f"b{n}", "startTime": rows[0]["startTime"] + n / 10}
        for n in range(8_000)
    ]
    done = made("--log", write("a.jsonl", [*rows, *crowd]), *DAY)
    assert done.exit_code == 0, done.stderr
    assert "workloads.triage.intake.peak_to_mean" in study.load("acme/study.yaml").unknown()


def test_the_study_of_a_log_runs_from_end_to_end(assess):
    sample = paths.ROOT / "tests/requests/samples/litellm.jsonl"
    assert made("--log", sample, *DAY).exit_code == 0
    found = assess(study.load("acme/study.yaml"))
    rows = found.results["07_triggers_and_routing"]["verdicts"]
    assert set(rows) == {"chat", "chat-fallback", "reason"}
    assert found.case.traffic.simulated == {}
