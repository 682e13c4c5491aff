import json

import numpy as np
import pandas as pd
import pytest

from llmstudy.probe.audit import LIMITS, audit
from llmstudy.probe.metrics import metrics
from llmstudy.probe.run import COLUMNS, Run, Sample, table

N = 240


def arrivals(process, rng, n=N, rate=5.0, shape=0.5):
    if process in ("poisson", "replay"):
        return np.cumsum(rng.exponential(1 / rate, n))
    if process == "gamma":
        return np.cumsum(rng.gamma(shape, 1 / (rate * shape), n))
    if process == "ramp":
        return np.sqrt(np.sort(rng.random(n))) * n / rate
    return np.arange(1, n + 1) / rate


def run_of(scheduled, rng, process="poisson", lag=None, ttft=None, tpot=None, rate=5.0, **facts):
    """A run as an honest client would leave it, of 8 tokens to an answer."""
    n = len(scheduled)
    lag = rng.exponential(0.0005, n) if lag is None else lag
    ttft = rng.lognormal(-1.5, 0.4, n) if ttft is None else ttft
    tpot = rng.lognormal(-3.5, 0.2, n) if tpot is None else tpot
    sent = np.asarray(scheduled) + lag
    chunks = (sent + ttft)[:, None] + np.outer(tpot, np.arange(8))
    samples = pd.DataFrame(
        {
            "index": np.arange(n),
            "phase": "measure",
            "scheduled_s": scheduled,
            "dispatched_s": sent,
            "content_times_s": chunks.tolist(),
            "content_tokens": [[1] * 8] * n,
            "done_s": chunks[:, -1] + 1e-4,
            "ok": True,
            "finish_reason": "length",
            "asked_input_tokens": 512.0,
            "input_tokens": 520.0,
            "asked_output_tokens": 8.0,
            "output_tokens": 8.0,
            "cached_input_tokens": 0.0,
            "reasoning_tokens": 0.0,
        }
    ).reindex(columns=COLUMNS)
    load = {"process": process, "rate_per_s": rate, "burstiness": 0.5, "n": n, "warmup_n": 0}
    client = {"cpu_share": 0.2, "loop_lag_p99_s": 0.002}
    return Run(samples, {"ended": "complete", "load": load, "client": client} | facts)


def honest(process="poisson", seed=7, **known):
    rng = np.random.default_rng(seed)
    return run_of(arrivals(process, rng), rng, process, **known)


def closed(seed=7, users=8, n=N, warmup=0, spread=0.3):
    rng = np.random.default_rng(seed)
    free, starts, ends = np.zeros(users), [], []
    n += warmup
    for took in rng.lognormal(-0.5, spread, n):
        user = int(free.argmin())
        starts.append(free[user])
        free[user] += took
        ends.append(free[user])
    starts, took = np.array(starts), np.array(ends) - np.array(starts)
    run = run_of(starts, rng, "closed", np.zeros(n), 0.5 * took, 0.5 * took / 7)
    run.facts["load"] |= {"concurrency": users, "n": n - warmup, "warmup_n": warmup}
    run.samples["done_s"] = ends
    run.samples.loc[: warmup - 1, "phase"] = "warmup"
    return run


def changed(run, facts=None, **columns):
    facts = {k: run.facts.get(k, {}) | v for k, v in (facts or {}).items()}
    return Run(run.samples.assign(**columns), run.facts | facts)


def failed_checks(found):
    return set(found.checks.loc[found.checks["status"] == "failed", "check"])


def status_of(found, check):
    [status] = found.checks.loc[found.checks["check"] == check, "status"]
    return status


# ---- honest runs


@pytest.mark.parametrize("process", ["poisson", "gamma", "constant", "replay", "ramp", "closed"])
def test_an_honest_run_is_valid(process):
    found = audit(closed() if process == "closed" else honest(process))
    assert found.valid, found.reasons
    assert found.reasons == ()


@pytest.mark.parametrize("process", ["poisson", "gamma", "constant"])
def test_honest_runs_are_hardly_ever_refused(process):
    refused = [reason for seed in range(40) for reason in audit(honest(process, seed)).reasons]
    assert len(refused) <= 1, refused


def test_honest_runs_of_a_busy_queue_are_not_taken_for_a_warm_up():
    refused = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        at = arrivals("poisson", rng, 2_400, rate=7.0)
        walk = np.concatenate([[0.0], np.cumsum(rng.exponential(0.1, len(at))[:-1] - np.diff(at))])
        wait = walk - np.minimum.accumulate(walk)
        run = run_of(at[-400:], rng, ttft=(wait + rng.exponential(0.1, len(at)))[-400:], rate=7.0)
        refused += "drift" in failed_checks(audit(run))
    assert refused <= 1


def test_closed_loops_that_warmed_up_are_valid_however_unlike_their_answers():
    for users, spread in ((8, 0.8), (64, 0.5), (256, 0.8)):
        for seed in range(5):
            found = audit(closed(seed, users, 3 * users, 2 * users, spread))
            assert not failed_checks(found) & {"concurrency", "drift"}, found.reasons


def test_failures_of_the_server_do_not_make_a_run_invalid():
    run = honest()
    every_fifth = run.samples.index % 5 == 0
    error = np.where(every_fifth, "http_500", None)
    found = audit(changed(run, ok=~every_fifth, error=error))
    assert found.valid, found.reasons


def test_a_timer_late_by_a_millisecond_is_let_pass_at_a_high_rate():
    rng = np.random.default_rng(7)
    at = arrivals("poisson", rng, 5_000, rate=200)
    found = audit(run_of(at, rng, lag=rng.uniform(0, 0.001, len(at)), rate=200))
    assert found.valid, found.reasons


# ---- defects


def worker_copies(rng, n=N, rate=5.0):
    """Ten workers with one seed that add to one clock, as guidellm 0.8.1 does."""
    return np.cumsum(np.repeat(rng.exponential(1 / rate, n // 10), 10))


def of_schedule(scheduled, process="poisson"):
    return lambda rng: run_of(scheduled(rng), rng, process)


def epoch_race(rng):
    at = arrivals("poisson", rng)
    run = run_of(at, rng)
    race = run.samples.index < 150
    return changed(run, scheduled_s=np.where(race, at - 1.795e9, at))


def drifting(rng):
    slow = np.where(np.arange(N) < N // 4, 1.5, 1.0)
    return run_of(arrivals("poisson", rng), rng, ttft=slow * rng.lognormal(-1.5, 0.3, N))


def capped(rng):
    """Two requests at once where ten would be under way."""
    at, sent, ends = arrivals("poisson", rng), [], [0.0, 0.0]
    for t in at:
        sent.append(max(t, ends[-2]))
        ends = sorted([*ends[-2:][1:], sent[-1] + 0.5])
    lag = np.array(sent) - at
    run = run_of(at, rng, lag=lag, ttft=np.full(N, 0.4), tpot=np.full(N, 0.1 / 7))
    run.facts["load"]["concurrency"] = 2
    return run


def fading(rng):
    """A warm-up over half the run, which makes neighbouring batches alike."""
    slow = 1 + 4 * np.exp(-np.arange(N) / 40)
    return run_of(arrivals("poisson", rng), rng, ttft=slow * rng.lognormal(-1.5, 0.1, N))


def all_at_once(rng):
    """256 users whose first prompts wait for each other, measured from the first on."""
    run = closed(users=256, n=768)
    first = np.where(np.arange(768) < 256, 0.05 * np.arange(768), rng.lognormal(-2, 0.3, 768))
    chunks = run.samples["dispatched_s"].to_numpy() + first
    times = (chunks[:, None] + 0.01 * np.arange(8)).tolist()
    return changed(run, content_times_s=times, done_s=[t[-1] for t in times])


DEFECTS = {
    "gaps repeated by workers of one seed": (of_schedule(worker_copies), {"repeated_gaps", "lag1"}),
    "targets near the epoch": (epoch_race, {"clock", "dispatch_lag"}),
    "constant sold as poisson": (of_schedule(lambda r: arrivals("constant", r)), {"gaps"}),
    "gamma sold as poisson": (of_schedule(lambda r: arrivals("gamma", r)), {"gaps"}),
    "poisson sold as constant": (
        of_schedule(lambda r: arrivals("poisson", r), "constant"),
        {"gap_spread"},
    ),
    "three times the rate scheduled": (
        of_schedule(lambda r: arrivals("poisson", r) / 3),
        {"rate_asked"},
    ),
    "three times the constant rate": (
        of_schedule(lambda r: arrivals("constant", r) / 3, "constant"),
        {"rate"},
    ),
    "sent three times as fast as scheduled": (
        lambda r: changed(run_of(a := arrivals("replay", r), r, "replay"), dispatched_s=a / 3),
        {"rate", "clock"},
    ),
    "one in twenty sent 200 ms late": (
        lambda r: run_of(arrivals("poisson", r), r, lag=np.where(r.random(N) < 0.05, 0.2, 0)),
        {"dispatch_lag"},
    ),
    "a cap that holds requests": (capped, {"held_by_cap"}),
    "a late event loop": (
        lambda r: honest(client={"loop_lag_p99_s": 0.08, "cpu_share": 0.2}),
        {"loop_lag", "loop_lag_to_itl"},
    ),
    "a busy client": (
        lambda r: honest(client={"loop_lag_p99_s": 0.001, "cpu_share": 0.97}),
        {"client_cpu"},
    ),
    "cached prompts": (lambda r: changed(honest(), cached_input_tokens=400.0), {"cached_input"}),
    "cached prompts by the server's counters": (
        lambda r: changed(
            honest(),
            {
                "server_counters": {
                    "vllm:prefix_cache_hits_total": 6e4,
                    "vllm:prefix_cache_queries_total": 1e5,
                }
            },
            cached_input_tokens=np.nan,
        ),
        {"cached_input"},
    ),
    "a slow first quarter": (drifting, {"drift"}),
    "a warm-up that fades": (fading, {"drift"}),
    "users who all begin at once": (all_at_once, {"drift"}),
    "a closed loop that only drains": (
        lambda r: closed(users=64, n=64, spread=0.8),
        {"concurrency"},
    ),
    "shorter prompts than asked": (
        lambda r: changed(honest(), input_tokens=256.0),
        {"input_tokens"},
    ),
    "shorter answers than asked": (
        lambda r: changed(honest(), output_tokens=6.0),
        {"output_tokens", "content_tokens", "chunks"},
    ),
    "answers of other tokens than counted": (
        lambda r: changed(honest(), content_tokens=[[1] * 12] * N),
        {"content_tokens"},
    ),
    "requests refused as wrong": (
        lambda r: changed(
            honest(), ok=np.arange(N) % 20 > 0, error=np.where(np.arange(N) % 20, None, "http_400")
        ),
        {"own_errors"},
    ),
    "rows missing": (lambda r: Run(honest().samples.iloc[:-5], honest().facts), {"complete"}),
    "a run that was stopped": (lambda r: honest(ended="interrupted"), {"complete"}),
    "chunks out of order": (
        lambda r: changed(
            honest(), content_times_s=[t[::-1] for t in honest().samples["content_times_s"]]
        ),
        {"clock"},
    ),
    "a time that is no number": (
        lambda r: changed(
            honest(),
            content_times_s=[[np.nan, *t[1:]] for t in honest().samples["content_times_s"]],
        ),
        {"clock"},
    ),
    "half the users": (
        lambda r: changed(closed(users=4), {"load": {"concurrency": 8}}),
        {"concurrency"},
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_caught_and_named(defect):
    make, checks = DEFECTS[defect]
    found = audit(make(np.random.default_rng(11)))
    assert not found.valid
    assert checks <= failed_checks(found)
    assert all(any(reason.startswith(f"{c}: ") for reason in found.reasons) for c in checks)


def test_a_prefix_shared_on_purpose_is_no_contamination():
    run = changed(honest(lengths={"shared_prefix_share": 0.75}), cached_input_tokens=380.0)
    assert audit(run).valid


def test_a_model_that_stops_by_itself_is_no_mismatch():
    run = changed(honest(), finish_reason="stop", asked_output_tokens=256.0)
    assert audit(run).valid


@pytest.mark.parametrize("reason", ["stop", "eos_token", "end_turn"])
def test_more_tokens_than_asked_are_never_stopped_by_itself(reason):
    run = changed(honest(), finish_reason=reason, output_tokens=24.0, content_tokens=None)
    found = audit(run)
    assert failed_checks(found) == {"output_tokens"}
    assert "3 output tokens for each requested one" in found.reasons[0]


def served(*names, asked="gpt-4o", **facts):
    """A run whose answers name these models in turn."""
    models = [names[i % len(names)] for i in range(N)]
    return changed(honest(endpoint={"model": asked}, **facts), served_model=models)


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("gpt-4o", ["gpt-4o"]),
        ("gpt-4o", ["gpt-4o-2024-08-06"]),
        ("openai/gpt-4o", ["GPT-4o"]),
        ("gpt-4o", ["gpt-4o", "gpt-4o-2024-08-06"]),
        ("m", ["openai/M-20250101"]),
        ("claude-3-5-sonnet-latest", ["us.anthropic.claude-3-5-sonnet-20241022-v2:0"]),
        ("accounts/fireworks/models/llama-v3p1-8b-instruct", ["llama-v3p1-8b-instruct"]),
        ("gpt-4", ["gpt-4-0613"]),
        ("gemini-1.5-pro", ["models/gemini-1.5-pro-002"]),
        ("gpt-35-turbo", ["gpt-3.5-turbo-0125"]),
        ("claude-3-5-sonnet@20240620", ["claude-3.5-sonnet"]),
    ],
)
def test_a_model_of_another_spelling_or_a_dated_snapshot_is_the_same(asked, names):
    found = audit(served(*names, asked=asked))
    assert found.valid, found.reasons
    assert status_of(found, "served_model") == "passed"


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("gpt-4o", ["gpt-4o", "gpt-3.5-turbo"]),
        ("gpt-4o", ["gpt-4o"] * 79 + ["gpt-4o-mini"]),
        ("gpt-4o", ["gpt-3.5-turbo"]),
        ("gpt-4o", ["gpt-4o-mini-2024-07-18"]),
        ("gpt-4o", ["gpt-4o-2024-05-13", "gpt-4o-2024-08-06"]),
        ("gpt-4o-2024-08-06", ["gpt-4o-2024-05-13"]),
        ("gpt-4", ["gpt-4-1106-preview"]),
        ("llama-3.1-70b", ["llama-3.1-8b"]),
        (None, ["a", "b"]),
    ],
)
def test_answers_of_another_model_make_a_run_invalid(asked, names):
    found = audit(served(*names, asked=asked))
    assert failed_checks(found) == {"served_model"}
    assert all(name in found.reasons[0] for name in names)


def test_an_alias_is_refused_with_its_cure_and_passes_with_the_models_own_name():
    alias = served("gpt-4o-2024-08-06", asked="prod-chat")
    [reason] = audit(alias).reasons
    assert "write the model's own name as serving.model" in reason
    assert audit(served("gpt-4o-2024-08-06", asked="prod-chat", serving={"model": "gpt-4o"})).valid


def test_answers_that_name_no_model_cannot_tell():
    found = audit(changed(honest(), served_model=None))
    assert found.valid
    assert status_of(found, "served_model") == "unknown"


# ---- runs too short to tell


@pytest.mark.parametrize("process", ["poisson", "gamma"])
def test_a_short_honest_run_is_valid_and_says_what_it_takes_to_tell(process):
    rng = np.random.default_rng(3)
    found = audit(run_of(arrivals(process, rng, 20), rng, process))
    assert found.valid, found.reasons
    told = found.checks.set_index("check")
    for check in ("gaps", "dispersion", "lag1"):
        assert told.loc[check, "status"] == "unknown"
        assert "requests to tell" in told.loc[check, "why"]


def test_a_short_run_fails_where_its_fault_is_plain():
    rng = np.random.default_rng(3)
    found = audit(run_of(worker_copies(rng, 40), rng))
    assert {"repeated_gaps", "lag1"} <= failed_checks(found)


def test_where_nothing_was_answered_that_alone_is_the_reason():
    silent = changed(honest(), ok=False, error="http_401", content_times_s=[[]] * N)
    [reason] = audit(silent).reasons
    assert reason.startswith("answered: 0 of 240")
    short = audit(Run(silent.samples.iloc[:9], silent.facts | {"ended": "stopped"}))
    assert [r.split(":")[0] for r in short.reasons] == ["complete", "answered"]


# ---- what is not known


def test_a_resumed_run_is_valid_and_says_what_is_not_known_of_it():
    found = audit(honest(resumed=True))
    [row] = found.checks[found.checks["check"] == "resumed"].to_dict("records")
    assert (found.valid, row["status"]) == (True, "unknown")
    assert "killed and resumed" in row["why"]
    assert "resumed" not in set(audit(honest(resumed=False)).checks["check"])


def test_what_an_import_does_not_tell_is_unknown_and_lets_the_run_pass():
    run = honest()
    run = Run(run.samples.assign(cached_input_tokens=np.nan), {"load": run.facts["load"]})
    found = audit(run)
    unknown = set(found.checks.loc[found.checks["status"] == "unknown", "check"])
    assert {"loop_lag", "loop_lag_to_itl", "client_cpu", "cached_input"} <= unknown
    assert found.valid, found.reasons


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"facts": {"load": {"process": None}}}, "process"),
        ({"content_times_s": [[]] * N}, "times"),
        ({"ok": False}, "answered"),
    ],
)
def test_a_run_is_invalid_when_what_its_percentiles_rest_on_is_unknown(change, check):
    found = audit(changed(honest(), **change))
    assert not found.valid
    assert any(reason.startswith(f"{check}: ") for reason in found.reasons)


def test_an_empty_run_is_invalid_and_not_an_error():
    assert not audit(Run(table([]), {})).valid


def test_every_limit_has_a_check_and_json_holds_no_nan():
    found = audit(honest())
    text = json.dumps(found.as_json(), allow_nan=False)
    assert set(found.checks["check"]) <= set(LIMITS)
    assert set(json.loads(text)) == {"valid", "reasons", "checks"}


# ---- a real file


@pytest.mark.shared
def test_the_poisson_arrivals_of_guidellm_are_refused(shared):
    file = json.loads((shared / "fixtures" / "load_tools" / "guidellm.json").read_text())
    (benchmark,) = file["benchmarks"]
    rows = sorted(
        (request["info"]["timings"] for request in benchmark["requests"]["successful"]),
        key=lambda t: t["targeted_start"],
    )
    start = rows[0]["targeted_start"]
    samples = [
        Sample(
            i,
            "measure",
            t["targeted_start"] - start,
            t["request_start"] - start,
            content_times_s=[t["first_token_iteration"] - start, t["last_token_iteration"] - start],
            done_s=t["request_end"] - start,
            ok=True,
        )
        for i, t in enumerate(rows)
    ]
    rate = benchmark["config"]["strategy"]["rate"]
    found = audit(Run(table(samples), {"load": {"process": "poisson", "rate_per_s": rate}}))
    assert not found.valid
    assert {"repeated_gaps", "gaps", "lag1"} <= failed_checks(found)
    assert metrics(table(samples))["n"] == 60  # the times themselves are whole


@pytest.mark.shared
def test_the_poisson_arrivals_of_vllm_bench_pass(shared):
    file = json.loads(
        (shared / "fixtures" / "load_tools" / "vllm_bench_serve_chat.json").read_text()
    )
    start = min(file["start_times"])
    samples = [
        Sample(i, "measure", at - start, at - start, content_times_s=[at - start + ttft], ok=True)
        for i, (at, ttft) in enumerate(zip(file["start_times"], file["ttfts"], strict=True))
    ]
    load = {"process": "poisson", "rate_per_s": file["request_rate"]}
    found = audit(Run(table(samples), {"load": load}))
    assert not failed_checks(found) & {"rate", "rate_asked", "gaps", "dispersion", "lag1"}
    assert isinstance(found.checks, pd.DataFrame)
