"""A log week by week, and the triggers that watch it."""

import json
import math
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import llmstudy.run
from llmstudy import paths, study
from llmstudy.cli import app
from llmstudy.decide.triggers.rules import advisor_rules
from llmstudy.decide.triggers.today import trigger_rows
from llmstudy.decide.triggers.weekly import fired_weeks, log_signals, weekly_signals
from llmstudy.evidence.case import Case
from llmstudy.evidence.traffic import Traffic
from llmstudy.measures.latency import quantile_interval
from llmstudy.requests import importers
from llmstudy.requests.schema import conform

MONDAY = pd.Timestamp("2026-09-07T00:00Z")


def table(times, **columns):
    """A canonical table of requests at these times."""
    given = {
        "workload": "chat",
        "provider": "openai",
        "model_served": "gpt-4o",
        "input_tokens": 1000,
        "output_tokens": 200,
        "ok": True,
        "source": "generated",
    }
    ids = [f"r{i}" for i in range(len(times))]
    return conform(pd.DataFrame({"request_id": ids, "ts_start": times, **given, **columns}))


def every(minutes, weeks, start=MONDAY):
    return pd.date_range(start, periods=int(weeks * 7 * 24 * 60 / minutes), freq=f"{minutes}min")


# --- weeks ----------------------------------------------------------------------------------


def test_each_week_is_what_a_loop_over_the_requests_counts():
    rng = np.random.default_rng(1)
    n = 6_000
    seconds = np.sort(rng.uniform(-3 * 86_400, 32 * 86_400, n))
    times = MONDAY + pd.to_timedelta(seconds, unit="s")
    ok = rng.random(n) > 0.03
    ttft = np.where(ok & (rng.random(n) < 0.9), rng.gamma(2, 0.2, n), np.nan)
    requests = table(
        times,
        workload=rng.choice(["chat", "search"], n, p=[0.9, 0.1]),
        input_tokens=rng.integers(1, 5_000, n),
        output_tokens=rng.integers(0, 900, n),
        ok=ok,
        ttft_s=ttft,
    )
    usd = rng.gamma(1, 0.01, n)
    found = weekly_signals(requests, usd)
    ordered = requests.assign(usd=usd).sort_values(["workload", "ts_start"])
    ordered = ordered.astype({"workload": "category"})
    alike = weekly_signals(ordered.drop(columns="usd"), ordered["usd"].to_numpy())
    pd.testing.assert_frame_equal(alike, found)
    weeks = defaultdict(list)
    for row, cost in zip(requests.to_dict("records"), usd, strict=True):
        year, week, _ = row["ts_start"].isocalendar()
        weeks[row["workload"], (year, week)].append((row, cost))
    # from Friday before the first Monday to the Friday 32 days after it: four whole weeks
    assert sorted(set(found["week"])) == [MONDAY + pd.Timedelta(weeks=k) for k in range(4)]
    assert len(found) == 8
    for row in found.to_dict("records"):
        own = weeks[row["workload"], row["week"].isocalendar()[:2]]
        assert row["requests"] == len(own)
        assert row["tokens"] == sum(r["input_tokens"] + r["output_tokens"] for r, _ in own)
        assert row["spend_usd"] == pytest.approx(sum(cost for _, cost in own))
        firsts = [r["ttft_s"] if r["ok"] else math.inf for r, _ in own]
        p95 = quantile_interval(np.array([x for x in firsts if not math.isnan(x)]), 0.95)
        assert (row["ttft_p95_s"], row["ttft_p95_low_s"]) == (p95.estimate, p95.low)
        assert row["n_ttft"] == p95.n


@pytest.mark.parametrize(
    ("begins", "ends", "whole"),
    [
        ("2026-09-07T00:20Z", "2026-09-13T23:40Z", 1),  # the clock hours of a week
        ("2026-09-07T01:00Z", "2026-09-13T23:40Z", 0),
        ("2026-09-07T00:20Z", "2026-09-13T22:59Z", 0),
        ("2026-09-06T12:00Z", "2026-09-21T00:10Z", 2),
        ("2026-12-28T00:00Z", "2027-01-10T23:00Z", 2),  # ISO week 53, over the new year
        ("2026-09-09T12:00Z", "2026-09-09T13:00Z", 0),
    ],
)
def test_only_whole_weeks_from_monday_on_count(begins, ends, whole):
    times = pd.date_range(begins, ends, freq="10min")
    assert len(weekly_signals(table(times))) == whole


def test_no_requests_are_no_weeks():
    assert weekly_signals(table(pd.DatetimeIndex([], tz="UTC"))).empty


def test_of_a_week_with_a_hole_in_the_log_nothing_is_known():
    times = every(60, 3)
    hole = pd.Timedelta(days=8), pd.Timedelta(days=13)
    times = times[(times < MONDAY + hole[0]) | (times > MONDAY + hole[1])]
    found = weekly_signals(table(times, ttft_s=0.4), np.ones(len(times)))
    assert found["requests"].isna().tolist() == [False, True, False]


def test_a_week_without_any_request_may_be_a_hole_and_one_without_a_workloads_own_is_quiet():
    first, third = every(60, 1), every(60, 1, MONDAY + pd.Timedelta(weeks=2))
    second = every(60, 1, MONDAY + pd.Timedelta(weeks=1))
    times = first.append(third)
    found = weekly_signals(table(times, ttft_s=0.4), np.ones(len(times)))
    assert found["requests"].tolist()[::2] == [168, 168]
    assert found.loc[1, ["requests", "tokens", "spend_usd", "ttft_p95_low_s"]].isna().all()
    both = first.append(second).append(third)
    names = np.where(both.isin(second), "search", "chat")
    found = weekly_signals(table(both, workload=names, ttft_s=0.4), np.ones(len(both)))
    chat = found[found["workload"] == "chat"].reset_index(drop=True)
    assert chat.loc[1, ["requests", "tokens", "spend_usd"]].tolist() == [0, 0, 0]
    assert chat.loc[1, ["ttft_p95_s", "ttft_p95_low_s"]].isna().all()


def test_a_week_of_failures_is_slow_where_the_workload_streams_and_unknown_where_it_never_does():
    times = every(60, 2)
    second = times >= MONDAY + pd.Timedelta(weeks=1)
    streamed = weekly_signals(table(times, ok=~second, ttft_s=np.where(second, np.nan, 0.4)))
    assert streamed["ttft_p95_s"].isna().tolist() == [False, True]
    assert streamed["ttft_p95_low_s"].tolist() == [0.4, math.inf]
    assert log_signals(streamed)["ttft_p95_s"].tolist() == [[0.4, math.inf]]
    never = weekly_signals(table(times, ok=~second))
    assert never["n_ttft"].tolist() == [0, 0]
    assert np.isnan(log_signals(never)["ttft_p95_s"]).all()


def test_a_cost_for_other_requests_is_refused():
    with pytest.raises(ValueError, match="cost_usd has shape"):
        weekly_signals(table(every(60, 1)), np.ones(3))


# --- the rules on a log ---------------------------------------------------------------------


def test_the_rate_of_a_week_is_that_of_a_month_of_730_hours():
    times = every(60, 1)
    found = log_signals(weekly_signals(table(times), np.full(168, 10.0)))
    assert found["requests_month"][0, 0] == pytest.approx(730)
    assert found["tokens_month"][0, 0] == pytest.approx(730 * 1200)
    assert found["api_usd_month"][0, 0] == pytest.approx(7_300)
    assert found["api_usd_year"][0, 0] == pytest.approx(87_600)


def test_a_rule_would_have_fired_in_the_week_at_whose_end_its_signal_had_held():
    times = every(60, 8)
    week = (times - MONDAY) // pd.Timedelta(weeks=1)
    # USD 10k a month is 13.70 for each of 730 requests: weeks 2, 3, and from 5 on
    usd = np.where(np.isin(week, [2, 3, 5, 6, 7]), 14.0, 13.0)
    requests = table(times, workload=np.where(np.arange(len(times)) % 2, "a", "b"))
    company = requests.assign(workload="company")
    rules = advisor_rules()

    def first(log, weeks):
        found = fired_weeks(rules, weekly_signals(log, usd), weeks).set_index(["rule", "workload"])
        return found.loc["architect"]

    assert first(company, 2)["week"].tolist() == [MONDAY + pd.Timedelta(weeks=3)]
    assert first(company, 3)["week"].tolist() == [MONDAY + pd.Timedelta(weeks=7)]
    assert first(company, 4)["week"].isna().all()
    # neither half spends as much
    assert first(requests, 1)["week"].isna().tolist() == [True, True]
    assert first(company, 1)["not_judged"].tolist() == [
        "first token at the p95; compliance block; proven quality ceiling"
    ]


def test_a_log_without_a_whole_week_fires_nothing():
    assert fired_weeks(advisor_rules(), weekly_signals(table(every(60, 0.5))), 1).empty


@pytest.mark.shared
def test_an_hour_of_the_azure_trace_is_no_week(shared):
    log = importers.read_log(
        shared / "traces" / "AzureLLMInferenceTrace_conv.csv",
        "azure",
        constants={"workload": "chat", "provider": "azure", "model_served": "unknown"},
    )
    assert len(log.accepted) == 19_366
    assert weekly_signals(log.accepted).empty


@pytest.mark.shared
def test_the_seven_days_of_ragpulse_are_one_week_when_they_begin_on_a_monday(shared):
    # the trace tells seconds since its start, on a day that it does not say
    lines = (shared / "traces" / "ragpulse_trace.jsonl").read_text().split("\n")
    rows = [json.loads(line) for line in lines if line]
    seconds = pd.to_timedelta([int(row["timestamp"]) for row in rows], unit="s")
    tokens = {side: [row[f"{side}_length"] for row in rows] for side in ("input", "output")}
    requests = table(MONDAY + seconds, input_tokens=tokens["input"], output_tokens=tokens["output"])
    found = weekly_signals(requests)
    assert found["requests"].tolist() == [len(rows)]
    assert found["tokens"].tolist() == [sum(tokens["input"]) + sum(tokens["output"])]
    assert weekly_signals(requests.assign(ts_start=requests["ts_start"] + pd.Timedelta("1D"))).empty


# --- G1 of a log ----------------------------------------------------------------------------


@cache
def default_study():
    return study.load(paths.params("default.yaml"))


def utilisation_trigger(per_week, sustained):
    """G1 of support chat with so many requests in each week, on a fleet whose numbers are plain.

    The fleet carries 1,000 requests a week when full, and breaks even when half full.
    """
    given = default_study()
    given = given.model_copy(
        update={
            "workloads": {"support-chat": given.workloads["support-chat"]},
            "thresholds": given.thresholds.model_copy(
                update={"sustained": replace(given.thresholds.sustained, value=sustained)}
            ),
        }
    )
    times = [
        MONDAY + pd.Timedelta(weeks=k + i / n) for k, n in enumerate(per_week) for i in range(n)
    ]
    last_hour = MONDAY + pd.Timedelta(weeks=len(per_week)) - pd.Timedelta(minutes=1)
    log = table(pd.DatetimeIndex([*times[:-1], last_hour]), workload="support-chat")
    case = Case(given, Traffic(log, {}, pd.DataFrame(), len(log), pd.DataFrame(), ()))
    per_s = 1000 / (168 * 3600)
    fleet = {"capacity_requests_per_s": per_s, "replicas": 1, "utilisation": 0.9}
    month = 0.5 * 0.01 * 1000 * 730 / 168
    place = {"workload": "support-chat", "route": "openai-gpt-4o"}
    results = {
        "05_self_hosting": {"fleets": [place | fleet | {"month_usd": month}]},
        "02_cost": {
            "bills": [place | {"current": True, "usd_per_request": 0.01}],
            "offers": {"support-chat": {"openai-gpt-4o": {"month_factors": [1.0]}}},
        },
        "03_latency": {
            "latency": [place | {"grade": "assumed", "target_s": 1.0, "verdict": "undecided"}]
        },
        "04_quality": {"quality": []},
        "06_crossover": {
            "permissions": [place | {"current": True, "permitted": True, "permission_reason": ""}]
        },
    }
    return next(row for row in trigger_rows(case, results) if row["id"] == "G1")


@pytest.mark.parametrize(
    ("per_week", "status", "weeks_held", "said"),
    [
        ([600, 600, 600], "pending", 3, "held for 3 of 4 weeks"),
        ([600, 600, 600, 600], "fired", 4, "held for 4 of 4 weeks"),
        ([600] * 6, "fired", 6, "held for 6 weeks, 4 needed"),
        ([600, 600, 600, 490, 600], "pending", 1, "held for 1 of 4 weeks"),
        ([600] * 4 + [470], "fired", 0, "not below 90 % of the threshold for 4 since it fired"),
        ([600] * 4 + [470] * 9, "fired", 0, "since it fired"),  # between the two levels
        ([600] * 4 + [440] * 3, "fired", 0, "since it fired"),
        ([600] * 4 + [440] * 4, "armed", 0, "held for 0 of 4 weeks"),
        ([490] * 8, "armed", 0, "held for 0 of 4 weeks"),
    ],
)
def test_utilisation_fires_after_four_weeks_at_break_even_and_is_released_after_four_well_below(
    per_week, status, weeks_held, said
):
    found = utilisation_trigger(per_week, 4.0)
    assert found["threshold"] == pytest.approx(0.5)
    assert found["value"] == pytest.approx(per_week[-1] / 1000)
    assert (found["status"], found["weeks_held"]) == (status, weeks_held)
    assert said in found["evidence"]
    assert found["grade"] == ("measured" if len(per_week) >= 4 else "assumed")
    assert found["owner"] == "head of platform"


def test_part_of_a_week_is_asked_for_as_a_whole_one():
    assert utilisation_trigger([600, 600], 2.5)["status"] == "pending"
    assert utilisation_trigger([600, 600, 600], 2.5)["status"] == "fired"
    assert utilisation_trigger([600], 0.0)["status"] == "fired"


# --- `llmstudy check` with a log ------------------------------------------------------------


@pytest.fixture
def checked(variant, tmp_path, monkeypatch):
    """G2 of support chat by `llmstudy check --log`, on a log whose first tokens take so long.

    ttft_s: one per half hour from Monday on; the target is one second.
    """
    monkeypatch.setattr(llmstudy.run, "latest_run", lambda name, out=None: None)
    text = paths.params("default.yaml").read_text(encoding="utf-8")
    cut = text[text.index("  classification:\n") :]
    file = variant("default", (cut, ""))

    def check(ttft_s):
        times = [MONDAY + timedelta(minutes=30 * i) for i in range(len(ttft_s))]
        log = table(pd.DatetimeIndex(times), workload="support-chat", ttft_s=ttft_s)
        log.dropna(axis="columns", how="all").to_csv(tmp_path / "log.csv", index=False)
        arguments = [str(file), "--log", str(tmp_path / "log.csv"), "--on", "2026-11-23"]
        done = CliRunner().invoke(app, ["check", *arguments, "--json"])
        found = json.loads(done.stdout)
        assert found["exit_code"] == done.exit_code
        trigger = next(row for row in found["triggers"] if row["id"] == "G2")
        return done.exit_code, trigger

    return check


WEEK = 7 * 48
SLOW, QUICK = [1.4], [0.4]


def test_a_log_that_is_slow_for_three_weeks_leaves_latency_pending_and_for_four_fires_it(checked):
    code, trigger = checked(SLOW * (3 * WEEK))
    assert (code, trigger["status"], trigger["weeks_held"]) == (0, "pending", 3)
    assert trigger["evidence"] == "request log, held for 3 of 4 weeks"
    code, trigger = checked(SLOW * (4 * WEEK))
    assert (code, trigger["status"], trigger["weeks_held"]) == (3, "fired", 4)
    assert (trigger["value"], trigger["threshold"], trigger["grade"]) == (1.4, 1.0, "measured")
    assert (trigger["owner"], trigger["sustained_weeks"]) == ("product owner", 4)


def test_a_single_bad_day_fires_nothing_and_a_good_week_does_not_calm_what_fired(checked):
    one_day = QUICK * (4 * WEEK - 48) + SLOW * 48
    code, trigger = checked(one_day)
    assert (code, trigger["status"], trigger["weeks_held"]) == (0, "pending", 1)
    code, trigger = checked(SLOW * (4 * WEEK) + QUICK * WEEK)
    assert (code, trigger["status"], trigger["value"]) == (3, "fired", 0.4)
    assert (trigger["weeks_held"], "since it fired" in trigger["evidence"]) == (0, True)


def test_half_a_week_of_bad_answers_is_no_week(checked):
    code, trigger = checked(SLOW * (WEEK // 2))
    assert (code, trigger["status"], trigger["weeks_held"]) == (0, "pending", 0)
    assert trigger["value"] == 1.4  # what was measured is still said
