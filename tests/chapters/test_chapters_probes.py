"""Probe runs in a study: what they say, what is refused, and what the chapters tell of them.

Every run here is simulated: arrivals and latencies drawn from a seed, so that the truth is known.
"""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from math import ceil, exp
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from typer.testing import CliRunner

import llmstudy
from llmstudy import io, paths
from llmstudy.chapters import findings, sizing
from llmstudy.chapters import notebook as chapters
from llmstudy.chapters.evidence import evidence_tables
from llmstudy.chapters.latency import latency_tables, measured_requests
from llmstudy.chapters.notebook import open_chapter
from llmstudy.chapters.probes import gpu_settings, own_tables
from llmstudy.cli import app
from llmstudy.evidence import offers
from llmstudy.evidence.case import open_case
from llmstudy.measures import capacity
from llmstudy.measures.capacity.sizing import peak, week
from llmstudy.measures.latency import latency_table, slo_attainment
from llmstudy.probe import recorded
from llmstudy.probe import run as probe_run
from llmstudy.probe.metrics import metrics
from llmstudy.probe.run import COLUMNS, Run
from llmstudy.run import check
from llmstudy.study import load

BEGAN = datetime(2026, 11, 23, 10, tzinfo=UTC)
CHAT, EXTRACTION = "support-chat", "extraction"
API, HOSTED, OWN = "openai-gpt-4o", "novita-llama-3.1-70b", "h200-llama-3.1-70b"
MEDIAN_S, SPREAD, TPOT_S, QUEUE_S = 0.3, 0.3, 0.02, 0.05
TRUE_P95_S = MEDIAN_S * exp(1.6449 * SPREAD)

MODEL_OF = {
    API: "    model: gpt-4o\n",
    HOSTED: "    model: meta-llama/llama-3.1-70b-instruct\n",
    OWN: "    model: meta-llama/Llama-3.1-70B\n",
}


NAME_OF = {API: "gpt-4o-2024-08-06", HOSTED: "Llama-3.1-70B-Instruct", OWN: "llama-3.1-70b"}
"""What a run's endpoint calls the model of each route."""

LENGTHS = {"input_tokens": 1500.0, "output_tokens": 220.0}
"""Means of a run: near enough to chat and to extraction."""


def simulated(seed=1, n=400, median_s=MEDIAN_S, rate=5.0, failed=0, day="2026-11-20"):
    """A run as an honest client would leave it: Poisson arrivals, log-normal TTFT."""
    rng = np.random.default_rng(seed)
    scheduled = np.cumsum(rng.exponential(1 / rate, n))
    sent = scheduled + rng.exponential(2e-4, n)
    first = scheduled + np.maximum(median_s * np.exp(SPREAD * rng.standard_normal(n)), 0.06)
    chunks = first[:, None] + TPOT_S * np.arange(LENGTHS["output_tokens"])
    ok = rng.permutation(n) >= failed
    samples = pd.DataFrame(
        {
            "index": np.arange(n),
            "phase": "measure",
            "scheduled_s": scheduled,
            "dispatched_s": sent,
            "content_times_s": [
                list(t) if fine else [] for t, fine in zip(chunks, ok, strict=True)
            ],
            "content_tokens": None,
            "done_s": chunks[:, -1] + 1e-4,
            "ok": ok,
            "error": np.where(ok, None, "http_500"),
            "attempts": 1,
            "retry_wait_s": 0.0,
            "finish_reason": "length",
            "server_queue_s": QUEUE_S,
            "asked_input_tokens": LENGTHS["input_tokens"],
            "input_tokens": LENGTHS["input_tokens"] + 8,
            "asked_output_tokens": LENGTHS["output_tokens"],
            "output_tokens": LENGTHS["output_tokens"],
            "cached_input_tokens": 0.0,
        }
    ).reindex(columns=COLUMNS)
    samples = samples.astype(object).where(samples.notna(), None)
    facts = {
        "schema_version": "1",
        "started_at": f"{day}T10:00:00+00:00",
        "ended": "complete",
        "endpoint": {"base_url": "simulated"},
        "load": {"process": "poisson", "rate_per_s": rate, "n": n, "warmup_n": 0},
        "lengths": LENGTHS,
        "client": {"cpu_share": 0.2, "loop_lag_p99_s": 0.002},
    }
    return Run(samples, facts)


def ttft_s(run):
    """TTFT of each request as the run was drawn, failures as +inf."""
    times = zip(run.samples["content_times_s"], run.samples["scheduled_s"], strict=True)
    return np.array([t[0] - at if t else np.inf for t, at in times])


@pytest.fixture
def probed(variant, tmp_path):
    """The default study with these runs on its routes, which lie beside it."""

    def write(*more, **runs):
        changes = []
        for route, named in runs.items():
            folders = []
            for i, run in enumerate(named):
                folders.append(f"runs/{route}-{i}")
                asked = {"model": NAME_OF[route]} | run.facts["endpoint"]
                probe_run.write(tmp_path / folders[-1], bent(run, endpoint=asked))
            line = MODEL_OF[route]
            changes.append((line, f"{line}    probe: [{', '.join(folders)}]\n"))
        return variant("default", *changes, *more)

    return write


DEFAULT = paths.params("default.yaml")
TEXT = DEFAULT.read_text(encoding="utf-8")
ONE_WORKLOAD = (TEXT[TEXT.index("  classification:\n") :], "")
"""Leaves support chat alone in the default study."""


@pytest.fixture(scope="module")
def hosting(assessed):
    return assessed("default").results["05_self_hosting"]


@pytest.fixture
def judged(probed, hosting):
    def tables(*more, **runs):
        return io.plain(latency_tables(open_case(load(probed(*more, **runs))), hosting))

    return tables


def row_of(found, route, workload=CHAT, table="latency"):
    return next(r for r in found[table] if (r["workload"], r["route"]) == (workload, route))


# ---- what a run says


@pytest.mark.parametrize("route", [API, HOSTED, OWN])
def test_the_p95_of_a_probed_route_is_the_one_of_its_requests(judged, route):
    run = simulated()
    found = judged(**{route: [run]})
    row, seen = row_of(found, route), np.sort(ttft_s(run))
    assert row["ttft_p95_s"] == pytest.approx(seen[ceil(0.95 * len(seen)) - 1])
    assert row["low_s"] < TRUE_P95_S < row["high_s"]
    assert (row["verdict"], row["grade"], row["source"]) == ("meets", "measured", "probe")
    assert row["target_s"] == 1.0


@pytest.mark.parametrize(
    ("target", "verdict"), [("700 ms", "meets"), ("490 ms", "undecided"), ("350 ms", "misses")]
)
def test_the_whole_interval_is_judged_against_the_target(judged, target, verdict):
    slo = ("slo: {ttft_p95: 1000 ms", f"slo: {{ttft_p95: {target}")
    found = judged(slo, **{HOSTED: [simulated()]})
    assert row_of(found, HOSTED)["verdict"] == verdict
    told = findings.latency(found)
    assert ("1 are measured and undecided" in told) == (verdict == "undecided")


def test_the_pace_is_judged_against_its_own_target_and_only_of_probed_routes(judged):
    tight = (
        "slo: {ttft_p95: 1000 ms, tpot_p95: 50 ms}",
        "slo: {ttft_p95: 1000 ms, tpot_p95: 10 ms}",
    )
    found = judged(tight, **{HOSTED: [simulated()]})
    row = row_of(found, HOSTED, table="tpot")
    assert row["tpot_p95_s"] == pytest.approx(TPOT_S)
    assert row["verdict"] == "misses"
    assert row_of(found, HOSTED, EXTRACTION, "tpot")["verdict"] == "meets"
    assert {r["route"] for r in found["tpot"]} == {HOSTED}


def test_the_measured_requests_give_the_percentiles_that_the_chapter_judges(probed, hosting):
    days = [simulated(1, day="2026-11-18"), simulated(2, failed=8, day="2026-11-19")]
    case = open_case(load(probed(**{HOSTED: days, API: [simulated(3)]})))
    samples = measured_requests(case)
    assert samples.groupby(["route", "day", "run"])["ok"].count().unique().tolist() == [800]
    by = ["workload", "route"]
    percentiles = latency_table(samples, by, ["ttft_s"]).set_index([*by, "percentile"])
    found = latency_tables(case, hosting)["latency"]
    measured = found[found["source"] == "probe"]
    assert len(measured) == 4
    for row in measured.to_dict("records"):
        p95 = percentiles.loc[(row["workload"], row["route"], "p95")]
        assert p95["estimate"] == pytest.approx(row["ttft_p95_s"])
        assert p95["low"] == pytest.approx(row["low_s"])
    attained = slo_attainment(samples, by, {"ttft_s": "ttft_slo_s"}).set_index(by)
    assert attained.loc[(CHAT, HOSTED), "attainment"] == pytest.approx(0.99)
    assert "2,400 requests" in findings.measured_requests(samples)


def test_a_study_without_log_or_probe_has_no_measured_request_and_says_what_it_takes(probed):
    samples = measured_requests(open_case(load(probed())))
    assert latency_table(samples, ["route"], ["ttft_s"]).empty
    assert "at least 72 requests" in findings.measured_requests(samples)


def test_failures_are_in_the_percentile_and_their_share_is_told(judged):
    found = judged(**{HOSTED: [simulated(failed=40)]})
    row = row_of(found, HOSTED)
    assert (row["ttft_p95_s"], row["high_s"], row["verdict"]) == (None, None, "misses")
    assert found["probes"][0]["failed_share"] == 0.1


def test_a_short_run_decides_nothing_and_says_how_many_requests_it_takes(judged):
    found = judged(**{HOSTED: [simulated(n=40)]})
    row = row_of(found, HOSTED)
    assert (row["verdict"], row["ttft_p95_s"], row["high_s"]) == ("undecided", None, None)
    short = next(r for r in found["undersized"] if r["metric"] == "ttft_ms")
    assert short["requests_needed"] >= 72
    # among so many independent requests the largest and smallest enclose the p95
    assert binom.cdf(0, 72, 0.05) <= 0.025 < binom.cdf(0, 71, 0.05)
    assert f"{HOSTED}: 40 requests do not support a TTFT p95" in findings.probes(found)


def test_a_pace_that_a_buffer_hides_is_judged_by_nothing_and_said_to_be_unknown(judged):
    run = simulated(failed=20)
    late = [[t[-1]] * len(t) if t else [] for t in run.samples["content_times_s"]]
    found = judged(**{HOSTED: [Run(run.samples.assign(content_times_s=late), run.facts)]})
    pace = row_of(found, HOSTED, table="tpot")
    assert (pace["verdict"], pace["tpot_p95_s"], pace["low_s"]) == ("undecided", None, 0)
    [probe] = found["probes"]
    assert (probe["tpot_p50_s"], probe["tpot_p95_s"]) == (None, None)
    assert probe["ttft_p50_s"] > 0
    assert f"{HOSTED}: no TPOT p95 is known" in findings.probes(found)


def test_days_that_differ_are_the_units_of_the_interval(judged):
    days = [simulated(1, day="2026-11-18"), simulated(2, median_s=0.15, day="2026-11-19")]
    row = row_of(judged(**{HOSTED: days}), HOSTED)
    assert row["high_s"] is None  # two days that disagree bound nothing
    assert row["verdict"] == "undecided"


def test_two_days_that_disagree_ask_for_another_day_and_not_for_requests(judged):
    days = [simulated(1, day="2026-11-18"), simulated(2, median_s=0.15, day="2026-11-19")]
    found = judged(**{HOSTED: days})
    short = next(r for r in found["undersized"] if r["metric"] == "ttft_ms")
    assert (short["unit"], short["units"], short["requests_needed"]) == ("days", 2, None)
    assert "2 days do not support a TTFT p95" in findings.probes(found)
    assert "probe on another day" in findings.probes(found)


def test_a_closed_loop_decides_no_first_token_target(judged):
    run = simulated()
    load = {"process": "closed", "concurrency": 1, "n": len(run.samples), "warmup_n": 0}
    alone = run.samples.assign(scheduled_s=run.samples["dispatched_s"])
    found = judged(**{HOSTED: [Run(alone, {**run.facts, "load": load})]})
    row = row_of(found, HOSTED)
    assert (row["verdict"], row["source"]) == ("undecided", "probe in closed loop")
    assert row["high_s"] < row["target_s"]
    assert row_of(found, HOSTED, table="tpot")["verdict"] == "meets"
    assert f"{HOSTED} was probed in closed loop (closed, 1 at once, 1500" in findings.probes(found)


def test_two_days_that_agree_say_more_than_one(judged, tmp_path):
    days = [simulated(i, day=f"2026-11-1{i}") for i in (1, 2)]
    found = judged(**{HOSTED: days})
    [probe] = found["probes"]
    assert (probe["runs"], probe["requests"]) == (2, 800)
    assert (probe["began"], probe["last"]) == ("2026-11-11", "2026-11-12")
    pooled = np.sort(np.concatenate([ttft_s(run) for run in days]))
    assert row_of(found, HOSTED)["ttft_p95_s"] == pytest.approx(pooled[759])


def test_both_names_of_the_model_and_the_load_are_shown(judged):
    [probe] = judged(**{HOSTED: [simulated()]})["probes"]
    assert probe["model"] == "meta-llama/llama-3.1-70b-instruct"
    assert probe["endpoint_model"] == "Llama-3.1-70B-Instruct"
    assert probe["load"] == "poisson, 5 per s, 1500 in, 220 out"
    assert probe["not_comparable"] is None
    assert probe["audit"] == "valid"


def test_the_parts_of_the_first_token_add_up(judged):
    parts = {r["part"]: r for r in judged(**{HOSTED: [simulated()]})["ttft_parts"]}
    assert parts["server_queue"]["median_ms"] == pytest.approx(1e3 * QUEUE_S)
    assert "server_prefill" not in parts  # nothing told of it
    whole = parts.pop("ttft")
    assert whole["median_ms"] == pytest.approx(1e3 * MEDIAN_S, rel=0.05)
    assert sum(r["mean_share"] for r in parts.values()) == pytest.approx(1)


def test_todays_log_goes_before_a_probe(judged, tmp_path):
    rows = pd.DataFrame({"time": pd.date_range("2026-11-01", periods=200, freq="min", tz="UTC")})
    rows = rows.assign(prompt=1000, answer=200, fine=True, first=0.8)
    rows.to_csv(tmp_path / "log.csv", index=False)
    columns = (
        "{ts_start: time, input_tokens: prompt, output_tokens: answer, ok: fine, ttft_s: first}"
    )
    log = (
        "team:\n",
        f"requests: {{path: log.csv, format: csv, columns: {columns}, workload: {CHAT}, "
        "provider: openai, model: gpt-4o}\nteam:\n",
    )
    found = judged(log, **{API: [simulated()]})
    row = row_of(found, API)
    assert (row["ttft_p95_s"], row["source"]) == (0.8, "request log")
    other = row_of(found, API, EXTRACTION)  # the log is not of this workload
    assert other["source"] == "probe"


def test_without_probes_nothing_is_said_of_any(assessed):
    found = assessed("default").results["03_latency"]
    assert {found[k] == [] for k in ("probes", "tpot", "ttft_parts", "undersized")} == {True}
    assert findings.probes(found) == "No route of this study has been probed."
    assert "undecided" not in findings.latency(found)


# ---- what is refused


def bent(run, **facts):
    return Run(run.samples, {**run.facts, **facts})


def slower(run):
    """The same run, said to have been asked for three times the rate."""
    return bent(run, load={**run.facts["load"], "rate_per_s": 15.0})


def test_an_invalid_run_ends_llmstudy_run_with_exit_2_and_nothing_is_written(
    probed, tmp_path, monkeypatch
):
    study = probed(**{HOSTED: [slower(simulated())]})
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["run", str(study), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert f"default: routes.{HOSTED}.probe: the run in " in done.stderr
    assert f"runs/{HOSTED}-0 is invalid: rate_asked: " in done.stderr
    assert "Probe again, or remove it from the study" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_invalid_run_ends_llmstudy_check_too(probed):
    study = probed(ONE_WORKLOAD, **{HOSTED: [slower(simulated())]})
    done = CliRunner().invoke(app, ["check", str(study), "--on", "2026-11-23"])
    assert done.exit_code == 2
    assert "is invalid: rate_asked" in done.stderr


@pytest.mark.parametrize(
    ("runs", "sentence"),
    [
        ([simulated(day="2026-11-24")], "is of 2026-11-24, after the study's day: set as_of to"),
        ([bent(simulated(), started_at=None)], "does not say when it began"),
        ([simulated(), simulated(2, rate=8.0)], "runs with different loads"),
        (
            [simulated(), bent(simulated(2), endpoint={"base_url": "simulated", "model": "mini"})],
            r"runs with different models.*-0 \(Llama-3.1-70B-Instruct\).*-1 \(mini\)",
        ),
        (
            [simulated(), bent(simulated(2), endpoint={"base_url": "elsewhere"})],
            "runs with different endpoints",
        ),
        (
            [
                simulated(),
                bent(simulated(2), lengths=LENGTHS | {"shared_prefix_share": 0.9}),
            ],
            "runs with different loads.*90 % of the input shared",
        ),
        (
            [simulated(), bent(simulated(2), lengths=LENGTHS | {"source": "log.csv"})],
            "runs with different sources of lengths",
        ),
        (
            [simulated(), bent(simulated(2), serving={"weights": "dummy"})],
            "runs with different weights",
        ),
    ],
    ids=["future", "undated", "loads", "models", "endpoints", "shared", "lengths", "weights"],
)
def test_a_run_that_cannot_be_evidence_is_refused(probed, runs, sentence):
    with pytest.raises(ValueError, match=f"default: routes.{HOSTED}.probe.*{sentence}"):
        _ = open_case(load(probed(**{HOSTED: runs}))).probes


def test_a_folder_that_is_no_run_is_refused_with_its_route(variant):
    line = MODEL_OF[API]
    study = load(variant("default", (line, f"{line}    probe: nowhere\n")))
    with pytest.raises(ValueError, match=rf"routes\.{API}\.probe: .*nowhere holds no probe run"):
        evidence_tables(open_case(study))


def test_one_run_named_twice_is_not_two(variant, tmp_path):
    probe_run.write(tmp_path / "run", simulated())
    line = MODEL_OF[API]
    study = load(variant("default", (line, f"{line}    probe: [run, run]\n")))
    with pytest.raises(ValueError, match="names a folder twice"):
        _ = open_case(study).probes


# ---- what is not comparable


def with_tokens(run, **counts):
    asked = {f"asked_{name}": mean for name, mean in counts.items()}
    return Run(run.samples.assign(**counts, **asked), run.facts | {"lengths": LENGTHS | counts})


OTHER = {
    "another model": (
        bent(simulated(), endpoint={"base_url": "simulated", "model": "llama-3.1-8b-instruct"}),
        "it is of llama-3.1-8b-instruct and the route is meta-llama/llama-3.1-70b-instruct",
    ),
    "short prompts": (
        with_tokens(simulated(), input_tokens=100.0),
        "it has 100 input tokens against 1,155, more than 1.5 times apart",
    ),
    "long answers": (
        with_tokens(simulated(), output_tokens=900.0),
        "it has 900 output tokens against 211, more than 2 times apart",
    ),
    "old": (simulated(day="2026-05-01"), "it is 206 days old"),
}


@pytest.mark.parametrize("kind", OTHER)
def test_a_run_of_other_conditions_judges_no_target_and_the_tables_say_why(judged, kind):
    run, why = OTHER[kind]
    found = judged(**{HOSTED: [run]})
    row = row_of(found, HOSTED)
    assert (row["verdict"], row["source"], row["grade"]) == ("undecided", "study file", "assumed")
    assert not [r for r in found["tpot"] if r["workload"] == CHAT]
    [probe] = found["probes"]
    said = f"The probe of {HOSTED} is not comparable with {CHAT}: {why}"
    assert said in probe["not_comparable"]
    assert said in findings.probes(found)


def test_a_run_is_judged_by_the_workloads_it_is_like_and_by_no_other(judged):
    run = with_tokens(simulated(), input_tokens=900.0)  # near chat's 1,155, far from 2,000
    found = judged(**{HOSTED: [run]})
    assert row_of(found, HOSTED, CHAT)["source"] == "probe"
    assert row_of(found, HOSTED, EXTRACTION)["source"] == "study file"
    assert "900 input tokens against 2,000" in found["probes"][0]["not_comparable"]


def test_a_study_warns_of_a_run_that_is_not_comparable(probed):
    run, why = OTHER["short prompts"]
    case = open_case(load(probed(**{HOSTED: [run]})))
    said = [f["sentence"] for f in evidence_tables(case)["findings"]]
    sentence = f"The probe of {HOSTED} is not comparable with {CHAT}: {why}: probe at its own load."
    assert sentence in said


def test_an_alias_is_the_model_that_the_run_says_it_serves(judged):
    served = {"serving": {"model": "meta-llama/Llama-3.1-70B-Instruct"}}
    run = bent(simulated(), endpoint={"base_url": "simulated", "model": "prod"}, **served)
    assert row_of(judged(**{OWN: [run]}), OWN)["source"] == "probe"


def test_an_unknown_length_is_not_compared(judged):
    line = "      input_tokens: {value: 1155, unit: tokens/request, range: [900, 1500],"
    whole = TEXT[TEXT.index(line) :].split("grade: assumed}", 1)[0] + "grade: assumed}"
    run, _ = OTHER["short prompts"]
    found = judged((whole, "      input_tokens: unknown"), **{HOSTED: [run]})
    assert row_of(found, HOSTED)["source"] == "probe"


# ---- its age


def test_an_old_run_is_a_warning_and_no_error(probed):
    study = load(probed(**{HOSTED: [simulated(day="2026-05-01")]}))
    case = open_case(study)
    old = [f for f in evidence_tables(case)["findings"] if f["subject"] == f"routes.{HOSTED}.probe"]
    assert [(f["severity"], f["sentence"]) for f in old] == [
        ("warning", f"The probe of {HOSTED} is 206 days old (2026-05-01): probe again.")
    ]


def test_check_warns_of_a_run_that_has_grown_old_since(probed):
    study = load(probed(ONE_WORKLOAD, **{HOSTED: [simulated(day="2026-11-20")]}))
    later = open_case(check.on_day(study, pd.Timestamp("2027-06-01").date()))
    said = check.check(study, later, None, {}).warnings
    assert f"The probe of {HOSTED} is 193 days old (2026-11-20): probe again." in said


# ---- on a GPU of our own


def made_points(n=5):
    """Points such as `search.serving_point` gives, of the published ones; not measured."""
    points = capacity.serving_points("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8").head(n)
    return points.assign(
        engine_version="0.26.0",
        kv_dtype="bf16",
        prefix_caching=False,
        arrival_process="closed",
        weights="dummy",
        tensor_parallel=2,
        throughput_share=np.linspace(0.2, 0.6, n),
        source="simulated in a test",
    )


def made_sweep(points, bench=True):
    beside = pd.DataFrame([{"concurrency": 8, "ttft_ms_ratio": 1.02, "tpot_ms_ratio": 0.99}])
    serving = points[["model", "precision", "tensor_parallel", "prefix_caching", "weights"]]
    return recorded.Sweep(
        label="llama fp8 tp2",
        points=points,
        metrics=[metrics(simulated()) | {"failed_share": 0.0}] * len(points),
        invalid=pd.DataFrame(),
        bench=beside if bench else pd.DataFrame(),
        serving=serving.iloc[0].to_dict(),
    )


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """A data folder like the project's, with a folder `probes` of its own."""
    folder = tmp_path / "data"
    folder.mkdir()
    for part in paths.data().iterdir():
        if part.name != "probes":
            (folder / part.name).symlink_to(part)
    monkeypatch.setattr(paths, "data", lambda name="": folder / name)
    return folder


@pytest.fixture
def no_gpu(monkeypatch):
    facts = {"gpu": None, "gpus": None, "gpu_note": "NVML finds no NVIDIA driver"}
    monkeypatch.setattr("llmstudy.chapters.probes.gpu_facts", lambda: facts)


@pytest.fixture
def told(monkeypatch, tmp_path):
    """What a chapter shows as Markdown and tables, its cells executed here; replays are short."""
    monkeypatch.setattr(peak, "PEAK_REQUESTS", 5_000)
    monkeypatch.setattr(week, "WEEK_REQUESTS", 10_000)
    monkeypatch.setattr(sizing, "SPLIT_REQUESTS", 5_000)

    def execute(name, study, **parameters):
        seen = []
        monkeypatch.setattr(
            chapters, "_display", lambda data, metadata=None: seen.extend(data.values())
        )
        scope = {}
        for cell in nbformat.read(paths.notebooks() / f"{name}.ipynb", as_version=4).cells:
            if cell.cell_type == "code":
                exec(cell.source, scope)
            if "parameters" in cell.metadata.get("tags", []):
                scope |= {"study": str(study), "run": str(tmp_path / "run"), **parameters}
        return "\n".join(seen)

    return execute


PUBLISHED = (
    "published by others on real hardware; nothing in this run was measured on a GPU of ours"
)


def test_chapter_05_says_that_nothing_was_measured_when_nothing_is_recorded(told, bundle):
    assert PUBLISHED in told("05_self_hosting", DEFAULT)


def test_without_a_gpu_chapter_05_says_so_and_shows_the_recorded_runs(told, bundle, no_gpu):
    recorded.write(bundle / "probes", [made_sweep(made_points())], BEGAN)
    page = told("05_self_hosting", DEFAULT, probe=True)
    assert "No GPU is measured here (NVML finds no NVIDIA driver)." in page
    assert PUBLISHED not in page
    assert "5 points were recorded by our own probe on h200&#95;sxm" in page
    assert "with dummy weights" in page
    row = page[page.index("Runs of our own probe on GPUs") :].split("</table>")[0]
    assert all(f">{cell}<" in row for cell in ("0.26.0", "60\u00a0%", "0.99", "1.02", "dummy"))


@pytest.fixture
def two_h200(monkeypatch):
    """A machine with two GPUs whose every point is measured at once; the servers it started."""
    facts = {"gpu": "h200_sxm", "gpus": 2, "gpu_note": None}
    for module in ("llmstudy.chapters.probes", "llmstudy.probe.vllm.sweep"):
        monkeypatch.setattr(f"{module}.gpu_facts", lambda: facts)
    started = []

    def sweep(variant, points, folder, *, on_point, **_):
        started.append((variant, points))
        made = replace(made_sweep(made_points(), bench=False), label=variant.label)
        on_point(made)
        return made

    monkeypatch.setattr("llmstudy.probe.vllm.probe.sweep", sweep)
    return started


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """The tables of the cell of chapter 05 that measures, of the default study."""
    monkeypatch.setattr(chapters, "_display", lambda data, metadata=None: None)
    cells = nbformat.read(paths.notebooks() / "05_self_hosting.ipynb", as_version=4).cells
    sources = {cell.id: cell.source for cell in cells}

    def execute(**options):
        scope = {}
        exec(sources["05-self-hosting-02"], scope)
        chapter = open_chapter("05_self_hosting", str(DEFAULT), str(tmp_path / "run"))
        scope |= {"chapter": chapter, "case": open_case(chapter.study), "probe": True}
        probe_vllm = partial(llmstudy.probe_vllm, **options)
        scope["llmstudy"] = SimpleNamespace(probe_vllm=probe_vllm)
        exec(sources["05-self-hosting-probe"], scope)
        return scope["own"]

    return execute


def test_on_a_gpu_the_routes_that_fit_are_measured_and_recorded_with_the_run(
    bundle, two_h200, measured, tmp_path
):
    own = measured()
    [(variant, points)] = two_h200
    assert variant.model.name == "llama-3.1-70b"
    assert variant.label == OWN
    assert "--quantization fp8 --tensor-parallel-size 2" in " ".join(variant.flags)
    assert set(points["input_tokens"]) == {1155, 2000}  # of the two workloads that it may serve
    assert len(points) == 5
    assert points["seconds"].max() <= 60
    assert len(list((tmp_path / "run" / "probes").glob("*/points.csv"))) == 1
    assert not (bundle / "probes").exists()
    assert own["own_source"] == "this run"
    skipped = " ".join(row["reason"] for row in own["own_skipped"])
    for model in ("nvidia/Llama-3.1-8B-Instruct-FP8", "openai/gpt-oss-120b"):
        assert f"data/model_configs has no {model}" in skipped
    assert "5 points were measured in this run on h200_sxm" in findings.own_gpu(own)


def test_a_server_that_fails_is_a_reason_and_what_it_measured_is_recorded(
    bundle, two_h200, measured, monkeypatch
):
    def fails(variant, points, folder, *, on_point, **_):
        made = made_sweep(made_points(2), bench=False)
        made = replace(made, label=variant.label, failed="vLLM stopped: no memory.")
        on_point(made)
        return made

    monkeypatch.setattr("llmstudy.probe.vllm.probe.sweep", fails)
    own = measured()
    assert len(own["own_points"]) == 2
    reasons = [row["reason"] for row in own["own_skipped"]]
    assert f"{OWN} was not measured to its end: vLLM stopped: no memory." in reasons


def test_an_invalid_point_is_a_reason(bundle, two_h200, measured, monkeypatch):
    def refuses(variant, points, folder, *, on_point, **_):
        made = replace(made_sweep(made_points(2), bench=False), label=variant.label)
        made.invalid = pd.DataFrame([{"concurrency": 8, "reasons": "lag: the client was late"}])
        on_point(made)
        return made

    monkeypatch.setattr("llmstudy.probe.vllm.probe.sweep", refuses)
    reasons = [row["reason"] for row in measured()["own_skipped"]]
    assert f"{OWN} at concurrency 8 is invalid: lag: the client was late." in reasons


def test_a_route_whose_points_all_take_too_long_is_skipped_with_its_reason(
    bundle, two_h200, measured
):
    skipped = measured(max_point_s=2.0)["own_skipped"]
    assert two_h200 == []
    assert any("candidates that take less than 2 s" in row["reason"] for row in skipped)


def test_a_route_that_needs_more_gpus_is_skipped_with_its_reason(bundle, two_h200, monkeypatch):
    one = {"gpu": "h200_sxm", "gpus": 1, "gpu_note": None}
    monkeypatch.setattr("llmstudy.chapters.probes.gpu_facts", lambda: one)
    settings = gpu_settings(open_case(load(DEFAULT)))
    own = own_tables(settings, None, bundle / "run")
    assert settings["reason"].notna().all()
    assert any("takes 2 GPUs, and this machine has 1" in r["reason"] for r in own["own_skipped"])
    assert PUBLISHED in findings.own_gpu(own)


def test_recorded_points_move_the_curve_of_their_group_and_no_other(bundle):
    routes = load(DEFAULT).routes
    before = {name: offers.fitted_curve(routes[name]) for name in (OWN, "h200-llama-3.1-8b")}
    faster = made_points(17).assign(engine_version="not recorded", tpot_ms=10.0)
    recorded.write(bundle / "probes", [made_sweep(faster)], BEGAN)
    after = {name: offers.fitted_curve(routes[name]) for name in before}
    assert after[OWN].bandwidth_efficiency != before[OWN].bandwidth_efficiency
    assert after["h200-llama-3.1-8b"] == before["h200-llama-3.1-8b"]


# ---- the page with probes


def test_chapter_03_shows_the_probes_and_their_models(told, probed, hosting, tmp_path):
    study = probed(**{HOSTED: [simulated()]})
    open_chapter("05_self_hosting", str(study), str(tmp_path / "run")).write(hosting)
    page = told("03_latency", study)
    assert f"Probed: {HOSTED}, with 400 requests in 1 run, each found valid by its audit." in page
    for caption in (
        "Routes probed",
        "Time per output token at the p95",
        "What the time to the first token",
    ):
        assert f"<caption>{caption}" in page
    assert "Llama-3.1-70B-Instruct" in page
    assert "poisson, 5 per s, 1500 in, 220 out" in page
