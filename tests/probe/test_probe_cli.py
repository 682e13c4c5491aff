"""What `llmstudy probe` promises: exit codes, JSON, what is kept, and that keys are not."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from llmstudy.cli import app
from llmstudy.probe import run
from llmstudy.probe.run import Run, Sample, table

METRICS = ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def probe(*words):
    return CliRunner().invoke(app, ["probe", *map(str, words)], catch_exceptions=False)


def quick(mock, *words):
    """A load of a second against the mock."""
    place = ("endpoint", mock.base_url, "--model", "mock", "--input-tokens", 20)
    return probe(*place, "--output-tokens", 4, "--requests", 40, "--warmup", 5, *words)


def simulated(folder, shift_s=0.0, rate_per_s=10.0, n=120, asked_per_s=None, itl_s=0.02):
    """A run of simulated Poisson arrivals, as `probe endpoint` would have kept it."""
    rng = np.random.default_rng(4)
    at = np.cumsum(rng.exponential(1 / rate_per_s, n))
    first = at + rng.lognormal(-2, 0.3, n) + shift_s
    samples = [
        Sample(
            i,
            "measure",
            at[i],
            at[i],
            content_times_s=[first[i], first[i] + itl_s, first[i] + 2 * itl_s],
            done_s=first[i] + 0.05,
            ok=True,
            output_tokens=3,
            reasoning_tokens=0,
        )
        for i in range(n)
    ]
    load = {"process": "poisson", "rate_per_s": asked_per_s or rate_per_s, "n": n, "warmup_n": 0}
    run.write(folder, Run(table(samples), {"ended": "complete", "load": load}))
    return folder


def test_a_run_prints_its_metrics_and_audit_and_exits_by_its_validity(mock, tmp_path):
    done = quick(mock, "--rate", 40, "--seed", 7, "--out", tmp_path / "run", "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == (0 if told["audit"]["valid"] else 3)
    assert bool(told["audit"]["reasons"]) != told["audit"]["valid"]
    for metric in METRICS:
        assert {"p50", "p95", "p99", "n"} <= set(told["metrics"][metric])
    assert told["metrics"]["ttft_ms"]["n"] == 40
    assert told["metrics"]["ttft_ms"]["p95"] is None  # 40 requests do not support it
    assert told["metrics"]["ttft_ms"]["p50"] > 4  # the mock waits 5 ms
    assert told["load"]["seed"] == 7
    kept = run.read(tmp_path / "run")
    assert len(kept.samples) == 45
    assert kept.facts["ended"] == "complete"


def test_the_report_for_people_names_every_metric_and_every_check(mock):
    done = quick(mock, "--concurrency", 4)
    assert done.exit_code in (0, 3)
    for word in ("ttft", "tpot", "itl", "e2e", "needs n >= 72", "client_cpu", "loop_lag"):
        assert word in done.stdout


def test_a_vllm_server_tells_its_counters_and_counts_every_chunk(mock_server, tmp_path):
    with mock_server.running(ttft_ms=5, itl_ms=1, owned_by="vllm") as server:
        done = quick(server, "--concurrency", 2, "--vllm", "--out", tmp_path / "run", "--json")
    told = json.loads(done.stdout)
    assert told["serving"] == {"engine": "vllm", "engine_version": "0.0.mock"}
    assert told["server_counters"]["vllm:prefix_cache_queries_total"] > 0
    kept = run.read(tmp_path / "run")
    assert kept.facts["server_counters"] == told["server_counters"]
    assert kept.samples["content_tokens"].map(sum).unique().tolist() == [4]


def test_a_key_is_sent_and_kept_nowhere(mock, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    place = ("--rate", 40, "--key-env", "MY_KEY", "--out", tmp_path / "run", "--json")
    done = quick(mock, *place, "--price", "0,0")
    assert mock.truth()[-1]["authorization"]
    kept = "".join(file.read_text() for file in (tmp_path / "run").iterdir())
    assert "sk-very-secret" not in kept + done.output
    missing = quick(mock, "--rate", 40, "--key-env", "NO_KEY")
    assert missing.exit_code == 2
    assert "NO_KEY is not set" in missing.output


def test_spend_is_told_first_and_stops_the_run(mock, tmp_path):
    paid = ("--rate", 40, "--price", "100,1000", "--out", tmp_path / "run")
    refused = quick(mock, *paid)
    assert refused.exit_code == 2
    assert "--max-spend" in refused.output
    done = quick(mock, *paid, "--max-spend", "0.05", "--json")
    told = json.loads(done.stdout)
    assert "costs at most USD" in done.stderr
    assert 0 < told["spend"]["spent_usd"] <= 0.05
    assert told["n"] < 40
    assert told["ended"] != "complete"


def test_an_unknown_host_needs_a_price_and_nothing_is_sent():
    place = ("endpoint", "https://example.com/v1", "--model", "m")
    done = probe(*place, "--rate", 1, "--input-tokens", 5)
    assert done.exit_code == 2
    assert "the price of example.com is missing: give --price" in done.output


def test_a_server_of_ones_own_that_takes_a_key_may_be_a_gateway_and_needs_a_price(
    mock, tmp_path, monkeypatch
):
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    asked = len(mock.truth())
    for given in (("--key-env", "MY_KEY"), ("--header", "x-key: $MY_KEY")):
        done = quick(mock, "--rate", 40, *given)
        assert done.exit_code == 2
        assert "0,0 if it is free" in done.output
    assert len(mock.truth()) == asked


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--price", "nan,1"), "finite and not below 0"),
        (("--price", "1,inf"), "finite and not below 0"),
        (("--price=-1,1",), "finite and not below 0"),
        (("--price", "1,1", "--max-spend", "nan"), "spend_usd is nan: give a limit above 0"),
        (("--price", "1,1", "--max-spend", "inf"), "spend_usd is inf: give a limit above 0"),
        (("--price", "1,1", "--max-spend", "0"), "spend_usd is 0: give a limit above 0"),
        (("--price", "1,1", "--max-spend", "-1"), "spend_usd is -1: give a limit above 0"),
        (("--price", "0,0", "--max-spend", "1"), "give --price, or leave out"),
    ],
)
def test_a_price_or_cap_that_limits_nothing_is_refused(mock, words, says):
    slo = ("--input-tokens", 5, "--slo-ttft", "1 s")
    for done in (
        quick(mock, "--rate", 40, *words),
        probe("search", mock.base_url, "--model", "mock", *slo, "--output-tokens", 3, *words),
    ):
        assert done.exit_code == 2
        assert says in re.sub(r"\s+", " ", done.output)


def test_users_who_start_together_are_warmed_up_until_they_have_drifted_apart(mock, tmp_path):
    words = ("--concurrency", 8, "--requests", 20, "--json", "--out", tmp_path / "run")
    done = probe("endpoint", mock.base_url, "--model", "mock", "--input-tokens", 5, *words)
    assert json.loads(done.stdout)["load"]["warmup_n"] == 16


def test_a_server_that_is_not_there_is_one_sentence_and_leaves_nothing(tmp_path):
    place = ("endpoint", "http://127.0.0.1:9/v1", "--model", "m", "--input-tokens", 5)
    done = probe(*place, "--rate", 1, "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert "did not answer" in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "give one of --rate, --concurrency and --replay"),
        (("--rate", 1, "--concurrency", 2), "give one of --rate, --concurrency and --replay"),
        (("--rate", 1, "--arrivals", "weekly"), "write poisson, gamma, constant or ramp"),
        (("--rate", 1, "--body", "{"), "--body is not JSON"),
        (("--rate", 1, "--header", "X"), "write 'NAME: value'"),
        (("--rate", 1, "--drop", "model"), "--drop model: only max_tokens, max_completion_tokens"),
        (("--rate", 1, "--timeout", "5"), "a unit is missing"),
        (("--rate", 1, "--resume"), "--resume needs --out and --seed"),
        (("--replay",), "needs log"),
    ],
)
def test_a_mistake_is_one_sentence(mock, words, says):
    done = quick(mock, *words)
    assert done.exit_code == 2
    assert says in re.sub(r"\s+", " ", done.output)


def test_a_dropped_field_is_not_sent_and_recorded(mock, tmp_path):
    words = ("--rate", 40, "--drop", "max_tokens", "--out", tmp_path / "run", "--json")
    told = json.loads(quick(mock, *words).stdout)
    keys = mock.truth()[-1]["body_keys"]
    assert "max_completion_tokens" in keys
    assert "max_tokens" not in keys
    assert told["endpoint"]["drop"] == ["max_tokens"]


def test_a_buffered_run_says_that_its_pace_is_unknown_and_is_compared_by_nothing_else(tmp_path):
    plain, late = simulated(tmp_path / "a"), simulated(tmp_path / "b", itl_s=0.0)
    done = probe("import", late)
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert all("unknown" in x for x in lines if re.match(r"\W*(tpot|itl)\b", x))
    assert "100% of the answers came in one piece" in done.output
    refused = probe("compare", plain, late, "--metric", "tpot")
    assert refused.exit_code == 2
    assert "waited in a buffer" in re.sub(r"\s+", " ", refused.output)


def test_a_killed_run_is_reported_as_it_is_and_finished(mock, tmp_path):
    folder = tmp_path / "run"
    rate = ("--rate", 40, "--seed", 3, "--out", folder, "--json")
    quick(mock, *rate)
    lines = (folder / "samples.jsonl").read_text().splitlines(keepends=True)
    (folder / "samples.jsonl").write_text("".join(lines[:25]) + lines[25][:40])
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**facts, "ended": "running"}))
    told = json.loads(probe("import", folder, "--json").stdout)
    assert told["audit"]["valid"] is False
    assert told["ended"] == "running"
    quick(mock, *rate, "--resume")
    kept = run.read(folder)
    assert kept.samples["index"].tolist() == list(range(45))


def test_a_log_gives_lengths_and_arrivals(mock, tmp_path):
    log = tmp_path / "log.csv"
    rows = ["id,at,in,out"]
    rows += [f"{i},2026-11-02T09:00:{i:02d}Z,{20 + i},{2 + i % 5}" for i in range(40)]
    log.write_text("\n".join(rows))
    names = {"request_id": "id", "ts_start": "at", "input_tokens": "in", "output_tokens": "out"}
    columns = [word for pair in names.items() for word in ("--log-column", "=".join(pair))]
    place = ("endpoint", mock.base_url, "--model", "mock", "--replay", "--time-scale", 20)
    given = ("--log", log, "--log-format", "csv", *columns, "--requests", 30, "--warmup", 10)
    done = probe(*place, *given, "--out", tmp_path / "run", "--json")
    assert done.exit_code in (0, 3), done.output
    samples = run.read(tmp_path / "run").samples
    assert samples["asked_input_tokens"].tolist() == [20 + i for i in range(40)]
    assert samples["scheduled_s"].diff().dropna().round(6).unique().tolist() == [0.05]


def test_an_invalid_run_exits_3_after_printing(tmp_path):
    honest = simulated(tmp_path / "honest")
    assert probe("import", honest, "--json").exit_code == 0
    sold = simulated(tmp_path / "sold", rate_per_s=10.0, asked_per_s=30.0)
    done = probe("import", sold)
    assert done.exit_code == 3
    assert "ttft" in done.stdout
    assert "rate" in done.stderr


def test_compare_tells_better_from_worse_and_undecided(tmp_path):
    a = simulated(tmp_path / "a")
    slower = simulated(tmp_path / "slower", shift_s=0.2)
    worse = json.loads(probe("compare", a, slower, "--json").stdout)
    assert worse["verdict"] == "worse"
    assert worse["audit"] == {"valid": True, "reasons": []}
    assert json.loads(probe("compare", slower, a, "--json").stdout)["verdict"] == "better"
    same = probe("compare", a, a)
    assert same.exit_code == 0
    assert "undecided" in same.stdout
    other = simulated(tmp_path / "other", rate_per_s=12.0)
    refused = probe("compare", a, other)
    assert refused.exit_code == 2
    assert "one plan" in refused.output


def test_a_plan_says_requests_time_and_cost():
    given = ("--rate", 2, "--price", "2,10", "--input-tokens", 1000, "--output-tokens", 100)
    goals = json.loads(probe("plan", *given, "--json").stdout)["goals"]
    assert {goal["goal"] for goal in goals} == {"supported", "interval", "difference"}
    for goal in goals:
        assert goal["minutes"] == pytest.approx(goal["requests"] / 120)
        assert goal["usd"] == pytest.approx(goal["requests"] * 0.003)
    assert "assumed" in probe("plan").stdout


def test_a_search_brackets_the_capacity_of_a_server_with_four_slots(mock_server, tmp_path):
    # four at a time, 0.1 s each: 40 a second is more than it can take
    with mock_server.running(ttft_ms=80, itl_ms=10, max_concurrent=4) as server:
        place = ("search", server.base_url, "--model", "mock", "--input-tokens", 5)
        slo = ("--output-tokens", 3, "--slo-ttft", "400 ms", "--from", 15, "--to", 80)
        sized = ("--resolution", 0.9, "--attainment", 0.8, "--max-requests", 300, "--json")
        done = probe(*place, *slo, *sized, "--out", tmp_path / "runs")
    told = json.loads(done.stdout)
    if done.exit_code == 3:  # a busy machine: the audit says so, and nothing is claimed
        assert told["audit"]["reasons"]
        return
    assert done.exit_code == 0
    assert told["passing_per_s"] is None or told["passing_per_s"] < 40
    assert told["failing_per_s"] is None or told["failing_per_s"] > 15
    assert len(told["steps"]) == len({step["level"] for step in told["steps"]})


SEARCH = ("--model", "mock", "--input-tokens", 5, "--output-tokens", 3, "--slo-ttft", "9 s")


@pytest.fixture
def judged(monkeypatch):
    """Sets which runs the audit finds invalid, by their number: this machine may be busy."""

    def invalid(*numbers):
        from llmstudy.probe.audit import Audit
        from llmstudy.probe.search import rate

        seen = []

        def judge(run):
            seen.append(run)
            reasons = ("a reason",) if len(seen) in numbers else ()
            return Audit(not reasons, reasons, pd.DataFrame())

        monkeypatch.setattr(rate, "audit", judge)

    return invalid


def test_a_search_at_its_spend_cap_tells_what_it_has_found(mock, tmp_path, judged):
    judged()
    # 110 requests at up to 0.0035 a look, and two before it at 0.036: the cap comes in the third
    sized = ("--from", 60, "--to", 500, "--resolution", 0.9, "--out", tmp_path / "runs", "--json")
    money = ("--price", "100,1000", "--max-spend", "1")
    done = probe("search", mock.base_url, *SEARCH, *sized, *money)
    assert "costs at most USD 77.00" in done.stderr  # 20,000 and a tenth, at 0.0035
    told = json.loads(done.stdout)
    assert (done.exit_code, told["stopped"]) == (0, "spend cap")
    first = told["steps"][0]
    assert (first["level"], first["attainment_share"]) == (60, 1)
    # late requests come in clumps on a busy machine: then the first step takes a second look
    assert told["passing_per_s"] in (None, 60, 120)


def test_a_search_keeps_what_it_found_before_an_invalid_step(mock, tmp_path, judged):
    judged(3)
    sized = ("--from", 60, "--to", 500, "--resolution", 0.9, "--out", tmp_path / "runs")
    done = probe("search", mock.base_url, *SEARCH, *sized, "--attainment", 0.8, "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["stopped"]) == (3, "invalid step")
    assert told["audit"]["valid"] is False
    assert "a reason" in told["audit"]["reasons"][0]
    assert told["steps"][0]["level"] == 60
    assert told["passing_per_s"] in (None, 60, 120)


def served_benchmark(rate):
    """A result of SGLang's tool without its requests."""
    return {
        "backend": "sglang-oai",
        "request_rate": rate,
        "completed": 2,
        "request_throughput": rate,
        "total_output_tokens_retokenized": 5,
    }


def test_one_of_several_benchmarks_is_imported_by_number_or_name(tmp_path):
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join(json.dumps(served_benchmark(rate)) for rate in (4.0, 8.0)))
    done = probe("import", file)
    assert done.exit_code == 2
    assert "2 benchmarks: 0 (sglang-oai@4.0), 1 (sglang-oai@8.0)" in done.stderr
    for name in ("1", "sglang-oai@8.0"):
        told = json.loads(probe("import", file, "--benchmark", name, "--json").stdout)
        assert told["load"]["rate_per_s"] == 8.0


def test_importing_what_no_tool_wrote_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    done = probe("import", tmp_path / "x.json")
    assert done.exit_code == 2
    assert "Traceback" not in done.output
