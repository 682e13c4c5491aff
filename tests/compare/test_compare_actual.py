"""Whether a later log is held against its forecast rightly: logs with planted drivers."""

import json
from dataclasses import replace
from datetime import date

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy import io
from llmstudy.compare.actual import (
    DRIVERS,
    against_log,
    broken,
    cost_parts,
    judged_again,
    month_weights,
    summary_sentences,
)
from llmstudy.compare.diff import Run
from llmstudy.compare.logged import Logged, answer_of, month_interval, whole_days
from llmstudy.figure import Interval
from llmstudy.measures.cost import TokenPrice
from llmstudy.prices import price_requests
from llmstudy.requests.schema import conform
from llmstudy.run.check import broken_forecasts
from llmstudy.simulate import bills
from llmstudy.simulate.inputs import market

CHAT = "support-chat"
MONTHLY, SAMPLED = 1.2e6, 300.0
"""Requests a month of the chat in the default study, of which one in 300 is logged."""

DAYS_A_MONTH = 365 / 12


def planted(
    rng,
    volume=1.0,
    input_tokens=1155,
    output_tokens=211,
    cached_share=0.2,
    retries=0.02,
    away=0.0,
    ttft_s=0.4,
    model="gpt-4o",
    other="gpt-4-turbo",
    provider="openai",
    asked=CHAT,
    days=28,
    begins="2026-11-24",
):
    """A log of the chat from the day after the run on. away: share that another model answers."""
    n = round(MONTHLY / SAMPLED / DAYS_A_MONTH * volume * days)
    us = np.sort(rng.integers(0, days * 86_400_000_000, n))
    return conform(
        pd.DataFrame(
            {
                "request_id": np.arange(n).astype(str),
                "ts_start": pd.Timestamp(begins, tz="UTC") + pd.to_timedelta(us, unit="us"),
                "workload": CHAT,
                "provider": provider,
                "model_requested": asked,
                "model_served": np.where(rng.permutation(n) < away * n, other, model),
                "input_tokens": input_tokens,
                "cached_input_tokens": round(input_tokens * cached_share),
                "output_tokens": output_tokens,
                "failed_attempts": (rng.permutation(n) < retries * n).astype(int),
                "ok": True,
                "latency_s": 9.0,
                "ttft_s": rng.lognormal(np.log(ttft_s), 0.3, n).clip(0, 9),
                "source": "planted",
            }
        )
    )


@pytest.fixture(scope="module")
def case_of(default_case, tmp_path_factory):
    """The case of a study with these rows as the file of its log, which is sampled."""
    file = tmp_path_factory.mktemp("log") / "requests.parquet"
    tokens = ["input_tokens", "cached_input_tokens", "output_tokens"]

    def of(rows, study=None):
        sums = {name: rows[name] * int(SAMPLED) for name in tokens}
        table = rows.assign(n_requests=SAMPLED, **sums)
        duckdb.from_df(table).write_parquet(str(file))
        traffic = replace(default_case.traffic, logged=rows, file=file, per_row={CHAT: SAMPLED})
        return replace(default_case, study=study or default_case.study, traffic=traffic)

    return of


@pytest.fixture(scope="module")
def compare(default_case, reference, case_of):
    """Compares a log with the reference run, whose study may be another."""

    def of(rows, then=None, now=None, chapters=reference):
        run = Run("1", {}, chapters, {}, then or default_case.study)
        return against_log(run, case_of(rows, now))

    return of


@pytest.fixture
def chat(compare):
    return lambda rows, **more: next(r for r in compare(rows, **more) if r["workload"] == CHAT)


def parts_of(row):
    return {part["driver"]: part["usd"] for part in row["parts"]}


def month_of(rows):
    """The month's bill of a log by the price list, request by request."""
    total = 0.0
    for model, part in rows.groupby("model_served"):
        tokens = part[["input_tokens", "cached_input_tokens", "output_tokens", "ts_start"]]
        tokens = tokens.assign(cache_write_tokens=0).astype({"cached_input_tokens": "int64"})
        usd = price_requests(tokens, f"openai/{model}", "2026-12-01")
        each = usd[["input_usd", "output_usd"]].sum(axis=1)
        total += (each * (1 + part["failed_attempts"].astype(int))).sum()
    days = rows["ts_start"].dt.date.nunique()
    return SAMPLED * total / days * DAYS_A_MONTH


# --- planted drivers ------------------------------------------------------------------------

BILL = MONTHLY * (1155 * (0.8 * 2.5 + 0.2 * 1.25) + 211 * 10) / 1e6 * 1.02
"""The chat's bill of a month at the stated values, by the price list: USD 5,764."""

PLANTS = {
    "volume": ({"volume": 1.3}, 0.3 * BILL),
    "input_tokens": ({"input_tokens": 1925}, MONTHLY * 770 * 2.25 / 1e6 * 1.02),
    "output_tokens": ({"output_tokens": 422}, MONTHLY * 211 * 10 / 1e6 * 1.02),
    "cached_input": ({"cached_share": 1.0}, -MONTHLY * 1155 * 0.8 * 1.25 / 1e6 * 1.02),
    "retries": ({"retries": 0.5}, BILL / 1.02 * 0.48),
    # 10 and 30 USD per million tokens, where gpt-4o has 2.5 (1.25 from the cache) and 10
    "fallback": (
        {"away": 0.12},
        0.12 * MONTHLY * (1155 * (10 - 2.25) + 211 * 20) / 1e6 * 1.02,
    ),
    "other_models": (
        {"away": 0.12, "asked": "gpt-4-turbo"},
        0.12 * MONTHLY * (1155 * (10 - 2.25) + 211 * 20) / 1e6 * 1.02,
    ),
}


@pytest.mark.parametrize("driver", PLANTS)
def test_what_was_planted_is_named_with_what_it_cost(chat, driver):
    changes, usd = PLANTS[driver]
    rows = planted(np.random.default_rng(3), **changes)
    row = chat(rows)
    parts = parts_of(row)
    assert parts[driver] == pytest.approx(usd, rel=0.05)
    # the others are noise: of arrivals, repeats, and of who answered
    assert all(abs(parts[name]) < 0.03 * BILL for name in DRIVERS if name != driver)
    assert row["month_usd"]["actual"] == pytest.approx(month_of(rows), rel=1e-9)
    assert sum(parts.values()) == pytest.approx(
        row["month_usd"]["actual"] - row["month_usd"]["p50"], rel=1e-12
    )
    assert row["month_usd"]["verdict"] == ("below" if usd < 0 else "above")
    assert row["broke"] == driver
    assert DRIVERS[driver] in row["sentences"][0]


def test_a_share_that_another_model_answered_is_counted_and_priced(chat):
    rows = planted(np.random.default_rng(4), away=0.12)
    fallback = chat(rows)["fallback"]
    share = (rows["model_served"] == "gpt-4-turbo").mean()
    assert fallback["share"] == pytest.approx(share)
    assert fallback["low"] < 0.12 < fallback["high"]
    assert fallback["models"] == ["gpt-4-turbo"]
    gap = month_of(rows) - month_of(rows.assign(model_served="gpt-4o"))
    assert fallback["month_usd"] == pytest.approx(gap, rel=1e-9)


def narrow(study):
    """The study with a volume and tokens as a long log states them: without a range."""
    workload = study.workloads[CHAT]
    exact = {"low": None, "high": None, "distribution": "fixed"}
    measured = {
        key: replace(getattr(workload.intake, key), **exact)
        for key in ("requests", "input_tokens", "output_tokens")
    }
    shares = {
        key: replace(getattr(workload, key), **exact)
        for key in ("cached_input_share", "retry_share", "growth")
    }
    intake = workload.intake.model_copy(update=measured)
    changed = workload.model_copy(update={"intake": intake, **shares})
    return study.model_copy(update={"workloads": study.workloads | {CHAT: changed}})


def with_ttft(reference, p95_s, low_s, high_s):
    """The run with a measured first token of the chat."""
    rows = [
        row | {"ttft_p95_s": p95_s, "low_s": low_s, "high_s": high_s}
        if row["workload"] == CHAT and row["route"] == "openai-gpt-4o"
        else row
        for row in reference["03_latency"]["latency"]
    ]
    return {**reference, "03_latency": {**reference["03_latency"], "latency": rows}}


P95_S = 0.4 * np.exp(1.6449 * 0.3)


def test_a_log_that_is_as_forecast_is_said_to_be_nine_times_in_ten(
    chat, compare, default_case, reference
):
    then, chapters = narrow(default_case.study), with_ttft(reference, P95_S, 0.64, 0.67)
    calm, verdicts = 0, []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows = planted(rng, volume=rng.lognormal(0, 0.02), retries=rng.uniform(0.01, 0.03))
        row = chat(rows, then=then, chapters=chapters)
        verdicts.append(row["ttft_p95_s"]["verdict"])
        calm += row["month_usd"]["verdict"] == "as forecast" and row["broke"] is None
        assert "as forecast" in row["sentences"][0]
        assert broken_forecasts([row]) == []
    assert calm >= 18
    assert verdicts.count("as forecast") >= 18


@pytest.mark.parametrize(
    ("ttft_s", "verdict"), [(0.8, "slower"), (0.4, "as forecast"), (0.2, "faster")]
)
def test_a_first_token_that_doubled_is_slower(chat, reference, ttft_s, verdict):
    rows = planted(np.random.default_rng(5), ttft_s=ttft_s)
    row = chat(rows, chapters=with_ttft(reference, P95_S, 0.6, 0.7))
    assert row["ttft_p95_s"]["verdict"] == verdict
    assert row["ttft_p95_s"]["actual"] == pytest.approx(P95_S * ttft_s / 0.4, rel=0.05)
    assert verdict in row["sentences"][1]
    (_, *second) = summary_sentences([row])
    assert [verdict in sentence for sentence in second] == [True] * (verdict != "as forecast")


def test_a_first_token_that_no_one_forecast_is_not_judged(chat, reference):
    rows = planted(np.random.default_rng(5))
    assert chat(rows, chapters=with_ttft(reference, None, 0.1, None))["ttft_p95_s"] is None
    assert chat(rows.assign(ttft_s=np.nan))["ttft_p95_s"] is None


def test_failures_cost_nothing_and_are_counted(chat):
    rows = planted(np.random.default_rng(6), retries=0.0)
    failed = np.arange(len(rows)) % 10 == 0
    tokens = ["input_tokens", "cached_input_tokens", "output_tokens"]
    rows = rows.assign(ok=~failed, ttft_s=rows["ttft_s"].mask(failed))
    rows.loc[failed, tokens] = 0
    row = chat(rows)
    assert row["failed"]["actual"] == pytest.approx(0.1, abs=1e-3)
    assert row["failed"]["low"] < 0.1 < row["failed"]["high"]
    assert row["month_usd"]["actual"] == pytest.approx(month_of(rows), rel=1e-9)
    # as if a tenth of the requests had not come, and none were repeated
    assert parts_of(row)["retries"] == pytest.approx(BILL * (0.9 / 1.02 - 1), rel=0.02)
    assert row["usage"]["input_tokens"]["actual"] == pytest.approx(1155)


# --- after a switch -------------------------------------------------------------------------


def moved(study, route):
    """The study after the chat has moved to a route; the one before is a candidate."""
    workload = study.workloads[CHAT]
    others = tuple(name for name in workload.routes if name != route)
    changed = workload.model_copy(update={"current_route": route, "candidates": others})
    return study.model_copy(update={"workloads": study.workloads | {CHAT: changed}})


def test_after_a_switch_the_forecast_is_that_of_the_new_route(chat, default_case, reference):
    now = moved(default_case.study, "openai-gpt-6-luna")
    rows = planted(
        np.random.default_rng(7), model="gpt-6-luna", other="gpt-4o", away=0.12, output_tokens=817
    )
    row = chat(rows, now=now)
    offer = reference["02_cost"]["bills"]
    bill = next(
        r["month_usd"] for r in offer if r["workload"] == CHAT and r["route"] == row["route"]
    )
    assert row["month_usd"]["p10"] < bill < row["month_usd"]["p90"]
    assert row["fallback"]["models"] == ["gpt-4o"]
    as_luna = rows.assign(model_served="gpt-6-luna")
    assert row["fallback"]["month_usd"] == pytest.approx(
        month_of(rows) - month_of(as_luna), rel=1e-9
    )
    assert row["broke"] == "fallback"


def test_a_fleet_is_paid_for_whoever_answers_and_a_fallback_on_top(chat, default_case):
    now = moved(default_case.study, "h200-llama-3.1-70b")
    fleet = {"model": "meta-llama/Llama-3.1-70B", "provider": "hosted_vllm"}
    alone = chat(planted(np.random.default_rng(8), **fleet), now=now)
    assert alone["month_usd"]["verdict"] == "as forecast"
    assert alone["fallback"]["share"] == 0
    rows = planted(np.random.default_rng(8), **fleet, other="gpt-4o", away=0.3)
    rows["provider"] = rows["provider"].mask(rows["model_served"] == "gpt-4o", "openai")
    row = chat(rows, now=now)
    gpt4o = month_of(rows[rows["model_served"] == "gpt-4o"])
    assert row["fallback"]["month_usd"] == pytest.approx(gpt4o, rel=1e-9)
    assert row["month_usd"]["actual"] - alone["month_usd"]["actual"] == pytest.approx(gpt4o)
    assert "price" not in parts_of(row)


@pytest.mark.parametrize(
    ("current", "provider", "served", "requested", "kind", "price"),
    [
        ("openai-gpt-4o", "openai", "gpt-4o-2024-08-06", "", "route", "gpt-4o"),
        ("openai-gpt-4o", "azure", "our-deployment", CHAT, "route", "gpt-4o"),
        ("openai-gpt-4o", "openai", "unknown", "", "route", "gpt-4o"),
        ("openai-gpt-4o", "openai", "gpt-4o-mini", CHAT, "fallback", "gpt-4o-mini"),
        ("openai-gpt-4o", "openai", "gpt-4o-mini", "gpt-4o", "fallback", "gpt-4o-mini"),
        ("openai-gpt-4o", "openai", "gpt-4o-mini", "gpt-4o-mini", "other", "gpt-4o-mini"),
        # the exported gateway calls a fallback WORKLOAD.ROUTE
        ("openai-gpt-4o", "openai", "gpt-6-luna", f"{CHAT}.gpt-6-luna", "fallback", "gpt-6-luna"),
        ("h200-llama-3.1-70b", "hosted_vllm", "meta-llama/Llama-3.1-70B", "", "route", None),
        ("h200-llama-3.1-70b", "openai", "chat-model", "", "route", None),
        # the same weights elsewhere
        ("h200-llama-3.1-70b", "novita", "meta-llama/llama-3.1-70b-instruct", CHAT, "fallback",
         "meta-llama/llama-3.1-70b-instruct"),
        ("novita-llama-3.1-70b", "hosted_vllm", "meta-llama/Llama-3.1-70B", CHAT, "route",
         "meta-llama/llama-3.1-70b-instruct"),
    ],
)  # fmt: skip
def test_who_answered_is_told_by_model_and_provider(
    default_case, current, provider, served, requested, kind, price
):
    study = moved(default_case.study, current)
    found = answer_of(study, CHAT, provider, served, requested)
    assert (found.kind, found.price and found.price.model) == (kind, price)


# --- the split ------------------------------------------------------------------------------

D = {
    "requests": 1000.0, "growth": 0.0, "input_tokens": 1000.0, "output_tokens": 100.0,
    "tokenizer": 1.0, "output_tokens_ratio": 1.0, "cached_input_share": 0.0,
    "cache_write_share": 0.0, "retry_share": 0.0, "prompt_growth": 0.0, "tool_usd": 0.0,
    "provisioned": 0.0, "drift_proprietary_api": 1.0,
}  # fmt: skip
D = {name: np.array([value]) for name, value in D.items()}
PRICE = TokenPrice("proprietary_api", 0.002, 0.001, 0.001, 1000, 100, (1.0,), 0.002)
"""USD 2 per million tokens of input and 10 of output: USD 3 for 1,000 requests."""


def came(requests=1000.0, tokens=1000.0, usd_per_request=0.003, **more):
    of = Interval(requests, requests, requests)
    none = Interval(0.0, 0.0, 0.0)
    fields = {
        "days": (date(2026, 12, 1),), "requests": of, "billed_share": 1.0, "input_tokens": tokens,
        "output_tokens": 100.0, "cached_input_share": None, "cache_write_share": None,
        "attempts": 1.0, "route_usd": usd_per_request, "fallback_usd": 0.0, "other_usd": 0.0,
        "usd": of, "fallback": none, "other_share": 0.0, "failed": none, "fallback_models": (),
        "ttft_p95_s": None,
    }  # fmt: skip
    return Logged(**fields | more)


def test_two_drivers_of_a_product_share_the_difference_as_on_paper():
    # volume 1,000 to 2,000 and the price doubled: USD 3 to 12, of which each alone makes 3
    parts, forecast = cost_parts(PRICE, D, np.ones(1), came(2000.0, usd_per_request=0.006))
    assert forecast == pytest.approx(3.0)
    assert parts["volume"] == parts["price"] == pytest.approx(4.5)
    assert sum(parts.values()) == pytest.approx(9.0)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0, 1), st.floats(0.5, 1), st.floats(1, 2),
    st.floats(0.1, 5), st.floats(-0.002, 0.01), st.floats(-0.002, 0.01),
)  # fmt: skip
def test_the_parts_add_up_whatever_came(
    volume, longer, cached, billed, attempts, price, fallback, other
):
    log = came(
        1000 * volume, 1000 * longer, 0.003 * price, cached_input_share=cached,
        billed_share=billed, attempts=attempts, fallback_usd=fallback, other_usd=other,
    )  # fmt: skip
    parts, forecast = cost_parts(PRICE, D, np.array([0.3, 0.7]), log)
    by_hand = 1000 * volume * (0.003 * price * billed * attempts + fallback + other)
    assert forecast + sum(parts.values()) == pytest.approx(by_hand, rel=1e-9, abs=1e-9)


def test_a_fleets_parts_add_up_to_its_rent_and_what_the_fallback_cost(priced, reference):
    offers = market(reference["02_cost"], reference["05_self_hosting"])
    offer = offers.fleets[CHAT, "h200-llama-3.1-70b"]
    stated = {
        **D, "capacity_factor": 1.0, "peak_to_mean": 2.0, "target_utilisation": 0.7,
        "usd_per_gpu_hour": 3.0, "overhead_share": 0.1, "staging_replicas": 0.0, "drift_gpu": 1.0,
        "observability": 0.0, "upgrades": 0.0, "upgrade_usd": 0.0, "fine_tuning": 0.0,
    }  # fmt: skip
    d = {name: np.array([value]).reshape(1) for name, value in stated.items()} | {
        "requests": np.array([3e7])
    }
    log = came(9e7, 2000.0, 0.0, fallback_usd=1e-4)
    parts, _ = cost_parts(offer.fleet, d, np.ones(1), log)
    at = d | {"requests": np.array([9e7]), "input_tokens": np.array([2000.0])}
    rents = [bills.fleet_rent_usd(offer.fleet, x, bills.volumes(x, 1), 1)[0, 0] for x in (d, at)]
    assert rents[1] > rents[0]
    assert sum(parts.values()) == pytest.approx(rents[1] - rents[0] + 9e7 * 1e-4)


# --- days -----------------------------------------------------------------------------------


def test_a_day_that_the_log_cuts_or_that_came_before_the_run_does_not_count():
    times = pd.Series(pd.date_range("2026-11-02T05:00Z", "2026-12-01T22:00Z", freq="7min"))
    days = whole_days(times, date(2026, 11, 10))
    assert (days[0], days[-1], len(days)) == (date(2026, 11, 10), date(2026, 11, 30), 21)
    hole = times[(times < "2026-11-18T06:00Z") | (times > "2026-11-22T06:00Z")]
    days = whole_days(hole, date(2026, 11, 3))
    assert not {date(2026, 11, day) for day in range(18, 23)} & set(days)
    assert np.bincount([day.weekday() for day in days]).tolist() == [3] * 7


def test_less_than_a_week_is_not_compared_and_says_so_once(compare):
    rows = compare(planted(np.random.default_rng(9), days=6))
    assert {row["month_usd"] for row in rows} == {None}
    ((sentence,),) = {tuple(row["sentences"]) for row in rows}
    assert sentence.endswith("forecast: the log holds no whole week from 2026-11-23 on.")
    assert summary_sentences(rows) == broken(rows) == []


def test_a_log_of_sums_is_not_compared(case_of, default_case, reference):
    case = case_of(planted(np.random.default_rng(9)))
    sums = replace(case, traffic=replace(case.traffic, summed=True))
    row, *_ = against_log(Run("1", {}, reference, {}, default_case.study), sums)
    assert row["why_not"].startswith("the log sums requests up")


def test_a_cost_beside_its_range_by_chance_is_undecided(chat):
    # one week, of which the last two days are busy: its mean has a wide interval
    rows = planted(np.random.default_rng(9), days=7, volume=1.35)
    late = rows["ts_start"] >= pd.Timestamp("2026-11-29", tz="UTC")
    rows = rows[late | (np.arange(len(rows)) % 2 == 0)]
    more = rows[late].assign(ts_start=rows["ts_start"] + pd.Timedelta("1s"))
    row = chat(pd.concat([rows, more, more], ignore_index=True))
    month = row["month_usd"]
    assert month["actual"] > month["p90"] > month["low"]
    assert (month["verdict"], row["broke"]) == ("undecided", None)
    assert "too few days are logged to tell" in row["sentences"][0]
    assert broken_forecasts([row]) == []
    assert "0 of 1 logged workloads cost what" in summary_sentences([row])[0]
    assert "(of 1 too few days" in summary_sentences([row])[0]


@pytest.mark.parametrize("weeks", [1, 2, 4, 8])
def test_the_interval_of_a_month_covers_the_truth_with_its_weekly_rhythm(weeks):
    rng = np.random.default_rng(weeks)
    rhythm = np.array([1.2, 1.3, 1.2, 1.2, 1.1, 0.5, 0.5])
    inside = []
    for _ in range(800):
        found = month_interval(1000 * rhythm * rng.lognormal(-0.005, 0.1, (weeks, 7)))
        inside.append(found.low <= 1000 * DAYS_A_MONTH <= found.high)
    assert np.mean(inside) >= 0.93
    assert weeks == 1 or np.mean(inside) <= 0.975  # of one week the rhythm widens it


def test_days_are_those_of_the_months_that_were_forecast():
    with pytest.raises(ValueError, match="not lie within the months that were forecast"):
        month_weights(date(2026, 1, 1), [date(2028, 1, 1)], 24)


def test_a_forecast_for_later_months_has_their_growth(chat):
    early, late = (
        chat(planted(np.random.default_rng(2), begins=day)) for day in ("2026-11-24", "2027-05-24")
    )
    forecasts = [row["usage"]["requests"]["forecast"] for row in (early, late)]
    assert forecasts[0] == pytest.approx(MONTHLY)
    assert forecasts[1] > 1.05 * MONTHLY


# --- what is not compared, and quality ------------------------------------------------------


def test_without_a_log_nothing_is_compared(default_case, reference):
    assert against_log(Run("1", {}, reference, {}, default_case.study), default_case) == []


def test_what_was_not_forecast_is_named(compare, case_of):
    rows = planted(np.random.default_rng(1))
    unread = against_log(Run("1", {}, {}, {}, None, "before runs kept theirs"), case_of(rows))
    assert {row["why_not"] for row in unread} == {"before runs kept theirs"}
    whys = {row["workload"]: row["why_not"] for row in compare(rows)}
    assert whys[CHAT] is None
    assert "no answer of extraction" in whys["extraction"]


def with_items(study, counts, looks=0, swapped=False):
    workload = study.workloads["extraction"]
    names = ("gpt-4o", "llama")
    own = {
        "counts": counts, "looks": looks, "source": "by hand", "as_of": study.as_of,
        **dict(zip(("model_proprietary", "model_open"), names[:: -1 if swapped else 1],
                   strict=True)),
    }  # fmt: skip
    evidence = {
        route: pair.model_copy(update=own) for route, pair in workload.quality.evidence.items()
    }
    quality = workload.quality.model_copy(update={"evidence": evidence})
    changed = workload.model_copy(update={"quality": quality})
    return study.model_copy(update={"workloads": study.workloads | {"extraction": changed}})


def test_items_judged_again_are_held_against_those_of_the_run(default_case):
    study = default_case.study
    then = with_items(study, (800, 20, 30, 150))
    assert judged_again(then, then, "extraction") == []
    assert judged_again(study, then, "extraction") == []
    (row,) = judged_again(then, with_items(study, (1500, 200, 60, 240), looks=1), "extraction")
    assert (row["forecast"], row["difference"]) == (pytest.approx(0.01), pytest.approx(-0.07))
    assert row["verdict"] == "inferior" if row["high"] < -row["margin"] else "undecided"
    after = with_items(study, (1500, 60, 200, 240), looks=1, swapped=True)
    assert judged_again(then, after, "extraction") == [row]


def test_rows_and_sentences_are_plain_json(compare):
    rows = compare(planted(np.random.default_rng(1), volume=1.5, away=0.2))
    assert json.loads(io.dumps(rows))[0]["first"] == "2026-11-24"
    stale = broken_forecasts(rows)
    assert [each.what for each in stale] == [f"the forecast of {CHAT}"]
    first, second = summary_sentences(rows)
    assert first.startswith("By the log 0 of 1 logged workloads cost what the last memo forecast;")
    assert "20 % of support-chat was answered by gpt-4-turbo" in second
