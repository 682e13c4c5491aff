import calendar
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy import paths
from llmstudy.chapters.cost import cost_tables
from llmstudy.chapters.evidence import evidence_tables
from llmstudy.evidence import gpu_hours, offers
from llmstudy.evidence.case import open_case
from llmstudy.evidence.findings import findings_of, ledger, rate_figures
from llmstudy.evidence.offers import route_curve, token_offer
from llmstudy.evidence.output_tokens import output_tokens_ratio
from llmstudy.evidence.traffic import measured, traffic_of
from llmstudy.figure import Figure
from llmstudy.measures.capacity import CannotServe, serving_fit
from llmstudy.measures.cost import api_usd_per_request
from llmstudy.prices import PricedModel, bill_requests
from llmstudy.study import OwnedGpus, TokenRates, load
from llmstudy.units import month_start

AZURE = pd.DataFrame(
    {
        "input_tokens": [1155],
        "output_tokens": [211],
        "ts_start": pd.to_datetime(["2026-11-23T12:00Z"]),
    }
)
H200_70B, H200_8B = "h200-llama-3.1-70b", "h200-llama-3.1-8b"


@pytest.fixture(scope="module")
def default():
    return load(paths.params("default.yaml"))


@pytest.fixture(scope="module")
def drawn(default):
    return traffic_of(default)


# ---- traffic


def test_without_a_log_every_workload_is_drawn_at_its_own_lengths_and_marked(default, drawn):
    assert list(drawn.simulated) == list(default.workloads)
    assert (drawn.rows_read, len(drawn.quarantined), drawn.warnings) == (0, 0, ())
    assert drawn.requests["source"].str.startswith("simulated").all()
    for name, workload in default.workloads.items():
        requests = drawn.of(name)
        for side in ("input", "output"):
            tokens = requests[f"{side}_tokens"]
            asked = getattr(workload.intake, f"{side}_tokens").value
            assert tokens.mean() == pytest.approx(asked, abs=4 * tokens.std() / len(tokens) ** 0.5)
    assert measured(default, drawn) is default


def test_a_workload_draws_the_same_whatever_other_workloads_there_are(default, drawn):
    alone = {"extraction": default.workloads["extraction"]}
    found = traffic_of(default.model_copy(update={"workloads": alone})).requests
    pd.testing.assert_frame_equal(found, drawn.of("extraction").reset_index(drop=True))


LOGGED_COLUMNS = "ts_start: at, input_tokens: in, output_tokens: out, ok: ok, ttft_s: ttft"


@pytest.fixture
def logged(variant, tmp_path):
    """The source memo's study with a log: one request an hour, and rows that cannot be read."""

    def write(days, broken=0):
        start = datetime(2026, 11, 2)
        times = [start + timedelta(hours=h) for h in range(24 * days)]
        rows = [f"{at}Z,{900 + 200 * (at.hour % 2)},200,true,0.5" for at in times]
        rows += [f"{start}Z,many,200,true,0.5"] * broken
        (tmp_path / "log.csv").write_text("\n".join(["at,in,out,ok,ttft", *rows]) + "\n")
        log = (
            f"requests: {{path: log.csv, format: csv, columns: {{{LOGGED_COLUMNS}}}, "
            "workload: product, provider: openai, model: gpt-4o}\n"
        )
        return load(variant("source_memo", ("team:\n", f"{log}team:\n")))

    return write


def test_a_log_of_a_week_answers_what_was_unknown(logged):
    study = logged(days=8)
    found = traffic_of(study)
    assert found.simulated == {}
    now = measured(study, found)
    intake = now.workloads["product"].intake
    assert intake.requests.value == pytest.approx(730)  # one an hour
    assert not intake.requests.uncertain
    assert intake.input_tokens.value == pytest.approx(1000)
    assert intake.output_tokens.value == pytest.approx(200)
    assert intake.peak_to_mean.value == pytest.approx(1)
    for figure in (intake.requests, intake.input_tokens, intake.output_tokens, intake.peak_to_mean):
        assert figure.grade == "measured"
        assert figure.source.startswith("log: 192 requests in 192")
    answered = {path.split(".")[-1] for path in set(study.unknown()) - set(now.unknown())}
    assert answered == {"requests", "input_tokens", "output_tokens", "peak_to_mean"}


def test_four_weeks_of_log_give_the_growth_and_the_peak_and_fewer_change_neither(logged):
    study = logged(days=29)
    workload = measured(study, traffic_of(study)).workloads["product"]
    for figure in (workload.growth, workload.intake.peak_to_mean):
        assert figure.grade == "measured"
        assert figure.source.startswith("log: 696 requests")
    assert workload.growth.low < 0 < workload.growth.high
    short = logged(days=27)
    traffic = traffic_of(short)
    assert measured(short, traffic).workloads["product"].growth == (
        short.workloads["product"].growth
    )
    assert "27 days of log for product show no growth" in traffic.warnings[0]
    stated = study.with_({"workloads.product.growth": "3 %/month"})
    assert measured(stated, traffic_of(stated)).workloads["product"].growth.value == 0.03


@pytest.mark.parametrize("ids", [False, True], ids=["rows alone", "calls with ids"])
def test_a_failed_attempt_is_billed_once_whether_it_is_a_row_or_told_by_its_id(
    variant, tmp_path, ids
):
    """An answer an hour over 8 days, every fourth after an attempt that failed: 1.25 an hour."""
    lines = ["id,at,in,out,cached,ok"]
    for hour in range(24 * 8):
        at = datetime(2026, 11, 2) + timedelta(hours=hour)
        if hour % 4 == 0:
            lines.append(f"r{hour},{at}Z,1000,200,0,false")
        lines.append(f"r{hour},{at + timedelta(seconds=9)}Z,1000,200,0,true")
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    columns = "ts_start: at, input_tokens: in, output_tokens: out, ok: ok, "
    columns += "cached_input_tokens: cached" + (", request_id: id" if ids else "")
    log = (
        f"requests: {{path: log.csv, format: csv, columns: {{{columns}}}, "
        "workload: product, provider: openai, model: gpt-4o}\n"
    )
    case = open_case(load(variant("source_memo", ("team:\n", f"{log}team:\n"))))
    workload = case.study.workloads["product"]
    requests, share = (730, 0.25) if ids else (1.25 * 730, 0.0)
    assert workload.intake.requests.value == pytest.approx(requests, rel=0.01)
    assert (workload.retry_share.value, workload.retry_share.grade) == (share, "measured")
    (bill,) = (row for row in cost_tables(case)["bills"].to_dict("records") if row["current"])
    tokens_usd = (1000 * 2.5 + 200 * 10) / 1e6
    tools_usd = case.study.api_use.tools.value / 1000
    month_usd = 1.25 * 730 * tokens_usd + workload.intake.requests.value * tools_usd
    assert bill["month_usd"] == pytest.approx(month_usd, rel=0.01)


def test_a_log_of_a_day_leaves_the_volume_as_wide_as_the_week_is_uneven(logged):
    study = logged(days=1)
    now = measured(study, traffic_of(study))
    requests = now.workloads["product"].intake.requests
    assert requests.value == pytest.approx(730)
    assert requests.low < 730 < requests.high
    shape = pd.read_csv(paths.data("servegen_hourly.csv"))
    hours = shape[shape["service"] == "m-large"]["mean_requests_per_s"]
    busy, quiet = hours.quantile([0.9, 0.1]) / hours.mean()
    assert (requests.low, requests.high) == pytest.approx((730 / busy, 730 / quiet), rel=1e-3)
    # an hour of the day is no peak of the week: the study's assumption stands
    assumed = study.workloads["product"].intake.peak_to_mean
    assert now.workloads["product"].intake.peak_to_mean == assumed


@pytest.fixture
def logged_rows(variant, tmp_path):
    """The source memo's study with a log of so many rows, ten minutes apart, of uneven length."""

    def write(n, broken=0):
        start = datetime(2026, 11, 2)
        times = [start + timedelta(minutes=10 * k) for k in range(n)]
        rows = [f"{at}Z,{10 + 3000 * (k % 3 == 2)},200,true,0.5" for k, at in enumerate(times)]
        rows += [f"{start}Z,many,200,true,0.5"] * broken
        (tmp_path / "log.csv").write_text("\n".join(["at,in,out,ok,ttft", *rows]) + "\n")
        log = (
            f"requests: {{path: log.csv, format: csv, columns: {{{LOGGED_COLUMNS}}}, "
            "workload: product, provider: openai, model: gpt-4o}\n"
        )
        return load(variant("source_memo", ("team:\n", f"{log}team:\n")))

    return write


@pytest.mark.parametrize("n", [1, 2, 3, 6, 30, 99])
def test_few_rows_give_a_mean_and_leave_the_range_to_the_study(logged_rows, n):
    study = logged_rows(n)
    found = traffic_of(study)
    now, before = (s.workloads["product"].intake for s in (measured(study, found), study))
    requests = found.of("product")
    for side in ("input_tokens", "output_tokens"):
        figure, assumed = getattr(now, side), getattr(before, side)
        assert figure.value == pytest.approx(requests[side].mean())
        assert figure.grade == "measured"
        assert 1 <= figure.low <= min(assumed.low, figure.value)
        assert figure.high >= max(assumed.high, figure.value)
    [warning] = [w for w in found.warnings if "the study's own range" in w]
    assert f"product (requests: {n})" in warning
    # one request has no rate
    assert (now.requests == before.requests) == (n == 1)
    assert ("volume" in warning) == (n == 1)


def test_a_hundred_rows_give_a_range_of_their_own_above_nought(logged_rows):
    study = logged_rows(100)
    found = traffic_of(study)
    tokens = measured(study, found).workloads["product"].intake.input_tokens
    assert 1 <= tokens.low < tokens.value < tokens.high
    assert tokens.high < study.workloads["product"].intake.input_tokens.high
    assert not any("the study's own range" in w for w in found.warnings)


def test_a_log_of_which_no_row_is_usable_is_refused_with_the_commonest_reason(logged_rows):
    with pytest.raises(
        ValueError, match=r"log.csv: none of the 3 rows .* because input_tokens is not a whole"
    ):
        traffic_of(logged_rows(0, broken=3))


def test_a_log_without_rows_is_refused(logged_rows):
    with pytest.raises(ValueError, match=r"log.csv: the log has no rows"):
        traffic_of(logged_rows(0))


def test_the_quarantine_is_reported_by_row_and_reason_and_never_by_its_text(logged_rows):
    study = logged_rows(200, broken=2)
    tables = evidence_tables(open_case(study))
    assert list(tables["quarantine"].columns) == ["row", "reason"]
    assert len(tables["quarantine"]) == tables["log"]["rows_quarantined"] == 2
    assert tables["log"]["reasons"] == {"input_tokens is not a whole number": 2}
    assert set(tables["quarantine"]["reason"]) == set(tables["log"]["reasons"])


@pytest.mark.parametrize("n", [3, 30])
def test_a_study_with_a_small_log_is_assessed_to_the_end(assess, logged_rows, n):
    results = assess(logged_rows(n)).results
    assert results["07_triggers_and_routing"]["verdicts"]["product"]["decision"]


def test_no_row_of_a_log_is_lost(logged):
    found = traffic_of(logged(days=8, broken=3))
    assert found.rows_read == 195
    assert len(found.of("product")) == 192
    assert len(found.quarantined) == found.rows_lost == 3


def test_rows_that_cannot_be_used_widen_the_volume_and_are_named(logged):
    study = logged(days=8, broken=4)
    found = traffic_of(study)
    requests = measured(study, found).workloads["product"].intake.requests
    assert requests.value == requests.low == pytest.approx(730)
    assert requests.high == pytest.approx(730 * (1 + 4 / 192))
    [sentence] = found.set_aside
    assert sentence == (
        "Set aside: 4 of 196 rows of the log, 4 because input_tokens is not a whole number; the "
        "volume may be 2.1 % higher for them."
    )
    assert open_case(study).study.workloads["product"].intake.requests == requests


def test_a_log_of_which_more_than_a_twentieth_is_unusable_is_refused(logged):
    with pytest.raises(ValueError, match=r"log.csv: 12 of the 204 rows of the log, 5.9 % of its"):
        traffic_of(logged(days=8, broken=12))


def test_a_cache_of_which_only_hits_are_logged_is_named(a_log):
    rows = [[*row[:5], 300 if k % 2 else ""] for k, row in enumerate(_fortnight(400))]
    study = a_log(rows, LOG_COLUMNS.replace("model_served: model", "cached_input_tokens: model"))
    named = study.requests.model_copy(update={"model": "gpt-4o"})
    warnings = traffic_of(study.model_copy(update={"requests": named})).warnings
    assert any("only where there is one" in said for said in warnings)


LOG_COLUMNS = (
    "ts_start: at, input_tokens: in, output_tokens: out, ok: ok, latency_s: s, model_served: model"
)


@pytest.fixture
def a_log(variant, tmp_path):
    """The source memo's study with a log of these rows: at, in, out, ok, s, model."""

    def write(rows, columns=LOG_COLUMNS):
        lines = [",".join(map(str, row)) for row in rows]
        (tmp_path / "log.csv").write_text("\n".join(["at,in,out,ok,s,model", *lines]) + "\n")
        log = (
            f"requests: {{path: log.csv, format: csv, columns: {{{columns}}}, "
            "workload: product, provider: openai}\n"
        )
        return load(variant("source_memo", ("team:\n", f"{log}team:\n")))

    return write


def _fortnight(n=2_000, seed=1):
    """n requests over 14 days, in order: time, input, output, ok, seconds, model."""
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2026-11-02", tz="UTC")
    times = start + pd.to_timedelta(np.sort(rng.random(n)) * 14, unit="D")
    size = rng.integers(500, 1_500, n)
    return [
        [at.isoformat(), int(tokens), int(tokens) // 5, "true", 2.0, "gpt-4o"]
        for at, tokens in zip(times.floor("us"), size, strict=True)
    ]


TRUE_VOLUME = 2_000 / 14 / 24 * 730


def _intake(study):
    found = traffic_of(study)
    return measured(study, found).workloads["product"].intake, found


@pytest.mark.parametrize(
    "stray", ["1970-01-01T00:00:00Z", "2016-01-01", "2027-10-01", "2027-03-01"]
)
def test_one_row_of_another_year_moves_no_volume(a_log, stray):
    intake, found = _intake(a_log([*_fortnight(), [stray, 9, 9, "true", 1, "gpt-4o"]]))
    assert intake.requests.value == pytest.approx(TRUE_VOLUME, rel=0.01)
    assert intake.requests.high == pytest.approx(intake.requests.value * (1 + 1 / 2_000))
    assert "Set aside: 1 of 2,001 rows" in found.set_aside[0]
    assert intake.requests.as_of == date(2026, 11, 15)


@pytest.mark.parametrize("tokens", [9 * 10**18, 10**9, 5_000_000, 10**25])
def test_one_row_of_absurd_size_bills_nothing(a_log, tokens):
    rows = _fortnight()
    mean = np.mean([row[1] for row in rows])
    rows[7][1] = tokens
    intake, found = _intake(a_log(rows))
    assert intake.input_tokens.value == pytest.approx(mean, rel=0.01)
    assert found.rows_lost == 1


def test_a_gap_in_the_log_is_named_and_is_no_quiet_time(a_log):
    rows = [row for row in _fortnight() if not "2026-11-06" <= row[0][:10] <= "2026-11-10"]
    intake, found = _intake(a_log(rows))
    assert intake.requests.value == pytest.approx(TRUE_VOLUME, rel=0.03)
    # unless nobody asked then
    assert intake.requests.low == pytest.approx(TRUE_VOLUME * 9 / 14, rel=0.03)
    assert any("has a gap of 2026-11-05 23:" in said for said in found.warnings)


@pytest.mark.parametrize(("quiet", "start"), [("weekends", "2026-11-02"), ("nights", "2026-11-02")])
def test_weekends_and_nights_are_no_gaps(a_log, quiet, start):
    times = pd.date_range(start, periods=28 * 24 * 6, freq="10min", tz="UTC")
    awake = times.day_of_week < 5 if quiet == "weekends" else times.hour >= 12
    rng = np.random.default_rng(4)
    rows = [
        [(at + pd.Timedelta(seconds=int(s))).isoformat(), 900 + int(s), 90, "true", 2, "gpt-4o"]
        for at, s in zip(times[awake], rng.integers(0, 600, awake.sum()), strict=True)
    ]
    intake, found = _intake(a_log(rows))
    assert not any("gap" in said for said in found.warnings)
    assert intake.requests.value == pytest.approx(awake.sum() / 28 / 24 * 730, rel=0.08)


@pytest.mark.parametrize("unit", ["1D", "1h"])
def test_a_usage_export_by_bucket_is_refused(a_log, unit):
    times = pd.date_range("2026-11-02", periods=14, freq=unit, tz="UTC")
    rows = [
        [at.isoformat(), 60_000 + 10 * k, 8_000, "true", "", model]
        for k, at in enumerate(times)
        for model in ("gpt-4o", "gpt-4o-mini")
    ]
    with pytest.raises(ValueError, match=r"each row stands for a whole (day|hour)"):
        traffic_of(a_log(rows))


def test_a_doubled_log_is_halved_and_says_so(a_log):
    rows = _fortnight()
    intake, found = _intake(a_log([*rows, *rows]))
    assert intake.requests.value == pytest.approx(TRUE_VOLUME, rel=0.01)
    assert not intake.requests.uncertain
    assert found.set_aside == (
        "Set aside: 2,000 of 4,000 rows of the log, 2,000 because delivered again: the same as an "
        "earlier row.",
    )


def test_failures_without_tokens_stay_failures_and_bend_no_mean(a_log):
    rows = _fortnight()
    for row in rows[::5]:
        row[1:4] = ["", "", "false"]
    intake, found = _intake(a_log(rows))
    assert found.summary["failed_share"].tolist() == pytest.approx([0.2])
    assert intake.requests.value == pytest.approx(TRUE_VOLUME, rel=0.01)
    answered = [row[1] for row in rows if row[3] == "true"]
    assert intake.input_tokens.value == pytest.approx(np.mean(answered))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({1: 1}, "The mean input of product is 1.0 tokens"),
        ({4: 2_000}, "The median latency of product is 2,000 s"),
        ({2: 0}, "100 % were answered without a token, as embeddings are"),
        ({1: 8, 2: 1}, "100 % are of at most 16 tokens"),
        ({4: 0.001}, "100 % were answered faster than any server writes"),
    ],
)
def test_what_looks_wrong_has_its_sentence(a_log, changed, sentence):
    rows = _fortnight()
    assert not any(sentence[:20] in said for said in traffic_of(a_log(rows)).warnings)
    for row in rows:
        for at, value in changed.items():
            row[at] = value
    assert any(sentence in said for said in traffic_of(a_log(rows)).warnings)


def test_a_log_of_a_workload_that_the_study_lacks_is_refused(logged):
    study = logged(days=1)
    strange = study.requests.model_copy(update={"workload": "chess"})
    with pytest.raises(ValueError, match=r"log.csv: the log holds the workload 'chess', which is"):
        traffic_of(study.model_copy(update={"requests": strange}))


def test_requests_are_billed_as_the_model_that_answered(a_log):
    rows = _fortnight(1_000)
    for row in rows[::5]:
        row[5] = "gpt-4o-2024-08-06"
    small = [row for row in rows if row[5] == "gpt-4o"]
    for row in small:
        row[5] = "openai/gpt-4o-mini-2024-07-18"
    study = a_log(rows)
    found = traffic_of(study)
    route = study.workloads["product"].current_route
    assert study.routes[route].model == "gpt-4o"
    offer = token_offer(study, route, found.of("product"))
    rates = {"gpt-4o-2024-08-06": (2.5, 10.0), "openai/gpt-4o-mini-2024-07-18": (0.15, 0.6)}
    usd = np.mean([row[1] * rates[row[5]][0] + row[2] * rates[row[5]][1] for row in rows]) / 1e6
    assert offer.uncached_input_usd + offer.output_usd == pytest.approx(usd)
    [said] = [said for said in found.warnings if "answered by" in said]
    assert said.startswith("Of the requests of product 80 % were answered by openai/gpt-4o-mini-")
    # and its answers are the ones that were counted
    workload = measured(study, found).workloads["product"]
    assert workload.answered_by == "gpt-4o-mini-2024-07-18"
    today = study.routes[route]
    ratios = {
        model: output_tokens_ratio(study, workload, today.model_copy(update={"model": model}))
        for model in ("gpt-4o", "gpt-4o-mini", "gpt-5")
    }
    assert [ratios[m].uncertain for m in ratios] == [False, False, True]
    # a candidate would answer all of them itself
    other = next(name for name in study.workloads["product"].candidates if "together" in name)
    alone = found.of("product").assign(model_served="gpt-4o")
    assert token_offer(study, other, found.of("product")) == token_offer(study, other, alone)


def test_a_model_that_no_list_prices_is_billed_as_the_route_and_named(a_log):
    rows = [[*row[:5], "our-deployment"] for row in _fortnight(500)]
    study = a_log(rows)
    found = traffic_of(study)
    route = study.workloads["product"].current_route
    as_route = found.of("product").assign(model_served="gpt-4o")
    assert token_offer(study, route, found.of("product")) == token_offer(study, route, as_route)
    assert any("by our-deployment, not by gpt-4o: no price list" in x for x in found.warnings)
    assert measured(study, found).workloads["product"].answered_by is None


def test_what_is_no_chat_is_set_aside_and_lost_to_nobody(a_log):
    rows = _fortnight(500)
    vectors = [[row[0], 300, 0, "true", 0.1, "text-embedding-3-small"] for row in rows]
    intake, found = _intake(a_log([*rows, *vectors]))
    assert found.rows_lost == 0
    assert "500 because no chat or completion, by its model or operation" in found.set_aside[0]
    assert intake.requests.value == pytest.approx(TRUE_VOLUME / 4, rel=0.02)
    assert not intake.requests.uncertain


def test_health_checks_are_told_apart_by_their_operation(a_log):
    rows = [[*row[:5], "acompletion"] for row in _fortnight(500)]
    checks = [[row[0], 8, 1, "true", 0.1, "ahealth_check"] for row in rows]
    columns = LOG_COLUMNS.replace("model_served: model", "operation: model")
    study = a_log([*rows, *checks], columns)
    named = study.requests.model_copy(update={"model": "gpt-4o"})
    found = traffic_of(study.model_copy(update={"requests": named}))
    assert len(found.of("product")) == 500
    assert not any("health checks" in said for said in found.warnings)


# ---- what API routes charge


@pytest.mark.parametrize(
    ("route", "usd_per_1k"),
    [  # cost.md 4.4
        ("openai-gpt-4o", 5.00),
        ("openai-gpt-4o-mini", 0.300),
        ("openai-gpt-6-luna", 0.221),
        ("groq-llama-3.1-8b", 0.075),
    ],
)
def test_a_route_charges_the_azure_mean_request_what_was_published(default, route, usd_per_1k):
    offer = token_offer(default, route, AZURE)
    assert 1000 * api_usd_per_request(offer, 1155, 211) == pytest.approx(usd_per_1k, rel=5e-3)
    assert offer.month_factors == (1.0,) * 25  # the horizon's, and that of all later months


def test_requests_are_priced_singly_so_that_their_sum_is_the_bill(default, drawn):
    requests = drawn.of("support-chat")
    offer = token_offer(default, "openai-gpt-4o", requests)
    by_hand = (2.50 * requests["input_tokens"] + 10 * requests["output_tokens"]).mean() / 1e6
    assert offer.uncached_input_usd + offer.output_usd == pytest.approx(by_hand)
    assert offer.cached_input_usd == pytest.approx(offer.uncached_input_usd / 2)


@pytest.mark.parametrize("labels", ["string", "category"])
@pytest.mark.parametrize("model", ["gpt-4o", "gemini-2.5-pro", "deepseek-v4-flash"])
def test_an_offer_is_the_mean_of_the_bills_of_each_request(default, model, labels):
    rng, n = np.random.default_rng(9), 3_000
    starts = pd.Timestamp("2026-11-02", tz="UTC") + pd.to_timedelta(rng.random(n) * 28, unit="D")
    log = pd.DataFrame(
        {
            "ts_start": starts.as_unit("us"),
            "workload": "support-chat",
            "provider": "openai",
            # the last is on no list, and billed as the route
            "model_served": rng.choice([model, "gpt-6-luna", "our-own"], n),
            "input_tokens": rng.lognormal(11.5, 1, n).astype(int),
            "output_tokens": rng.integers(0, 900, n),
        }
    )
    names = ["workload", "provider", "model_served"]
    route, provider = "openai-gpt-4o", {"g": "google", "d": "deepseek"}.get(model[0], "openai")
    provider = "openai" if model.startswith("gpt") else provider
    spec = default.routes[route].model_copy(update={"provider": provider, "model": model})
    study = default.model_copy(update={"routes": {**default.routes, route: spec}})
    offer = token_offer(study, route, log.astype(dict.fromkeys(names, labels)))

    def bills(length_factor=1.0, cached=0.0, written=0.0):
        tokens = (log["input_tokens"] * length_factor).round().astype(int)
        changed = log.assign(
            input_tokens=tokens,
            cached_input_tokens=tokens * cached,
            cache_write_tokens=tokens * written,
        )
        luna = log["model_served"] == "gpt-6-luna"
        parts = [
            bill_requests(changed[~luna], PricedModel(provider, model), study.as_of),
            bill_requests(changed[luna], PricedModel("openai", "gpt-6-luna"), study.as_of),
        ]
        return pd.concat(parts).sum(), tokens.sum()

    def about(usd):
        return pytest.approx(usd / n, rel=1e-12)

    (none, tokens), (read, _), (written, _) = bills(), bills(cached=1), bills(written=1)
    assert offer.uncached_input_usd == about(none["input_usd"])
    assert offer.output_usd == about(none["output_usd"])
    assert offer.cached_input_usd == about(read["input_usd"])
    assert offer.written_input_usd == about(written["input_usd"])
    for length_factor, input_factor, output_factor in offer.context_factors:
        longer, many = bills(length_factor)
        per_token = longer["input_usd"] / many / (none["input_usd"] / tokens)
        assert input_factor == pytest.approx(per_token, rel=1e-9)
        assert output_factor == pytest.approx(longer["output_usd"] / none["output_usd"], rel=1e-9)
    assert len(offer.context_factors) == 12  # gpt-6-luna has tiers


def test_a_negotiated_price_bills_as_the_same_list_price_does():
    study = load(paths.params("regulated.yaml"))
    listed, negotiated = (token_offer(study, f"{x}-gpt-4o", AZURE) for x in ("openai", "azure"))
    assert api_usd_per_request(negotiated, 1155, 211, 0.4) == pytest.approx(
        api_usd_per_request(listed, 1155, 211, 0.4)
    )


def test_an_introductory_rate_doubles_on_the_day_on_which_it_ends(default):
    # cost.md 5.3: gemini-4-argon x2 on 2026-12-01; the study's months begin on the 23rd, so that 8
    # of the first month's 30 days are billed at the old price
    offer = token_offer(default, "google-gemini-4-argon", AZURE)
    assert offer.month_factors == pytest.approx(((8 + 2 * 22) / 30, *(2.0,) * 24))
    later = default.model_copy(update={"horizon": replace(default.horizon, value=1.0)})
    assert token_offer(later, "google-gemini-4-argon", AZURE).month_factors[-1] == 2.0
    [finding] = [f for f in findings_of(default) if "argon" in f.subject]
    assert finding.effective == date(2026, 12, 1)
    rates = rate_figures(default)
    assert rates["routes.google-gemini-4-argon.price.input"].expires == date(2026, 12, 1)


def test_list_prices_are_in_the_ledger_with_their_source(default):
    rates = rate_figures(default)
    assert rates["routes.openai-gpt-4o.price.input"].value == 2.50
    assert rates["routes.openai-gpt-4o.price.output"].value == 10.00
    table = ledger({**default.figures(), **rates})
    assert table["name"].is_unique
    assert (table["source"] != "").all()
    priced = table[table["name"].str.contains(".price.", regex=False)]
    assert (priced["grade"] == "published").all()


@given(st.dates(date(2000, 1, 1), date(2090, 1, 1)), st.integers(0, 60))
def test_a_month_begins_on_the_same_day_or_the_last_of_a_shorter_month(day, months):
    found = month_start(day, months)
    assert (found.year - day.year) * 12 + found.month - day.month == months
    assert found.day == min(day.day, calendar.monthrange(found.year, found.month)[1])


# ---- what a self-hosted route carries and costs


def certain(figure, value):
    return replace(figure, value=value, low=value, high=value)


def fleet_offer(study, workload, route):
    return offers.fleet_offer(study, workload, route, route_curve(route))


def at_lengths(workload, tokens_in, tokens_out):
    intake = workload.intake
    return workload.model_copy(
        update={
            "intake": intake.model_copy(
                update={
                    "input_tokens": certain(intake.input_tokens, tokens_in),
                    "output_tokens": certain(intake.output_tokens, tokens_out),
                }
            )
        }
    )


def test_elasticities_foretell_the_capacity_at_other_lengths(default):
    workload, route = default.workloads["extraction"], default.routes[H200_70B]
    fleet = fleet_offer(default, workload, route)[0].fleet
    for longer_in, longer_out in [(1.1, 1.0), (0.9, 1.0), (1.0, 1.15), (1.0, 0.85), (1.15, 0.9)]:
        solved, _ = fleet_offer(default, at_lengths(workload, 2000 * longer_in, 250 * longer_out),
                                route)  # fmt: skip
        foretold = (
            fleet.capacity_requests_per_s
            * longer_in**fleet.input_elasticity
            * longer_out**fleet.output_elasticity
        )
        assert foretold == pytest.approx(solved.fleet.capacity_requests_per_s, rel=0.03)
    assert fleet.input_elasticity < 0
    assert fleet.output_elasticity < 0


@pytest.mark.parametrize(
    ("name", "route"), [("classification", "h200-llama-3.1-8b"), ("extraction", H200_70B)]
)
def test_a_fleet_carries_at_another_cached_share_what_is_solved_for_it(default, name, route):
    workload, spec = default.workloads[name], default.routes[route]
    fleet = fleet_offer(default, workload, spec)[0].fleet
    for cached in (0.0, 0.05, 0.33, 0.6, 0.85, 1.0):
        other = certain(workload.cached_input_share, cached)
        there = workload.model_copy(update={"cached_input_share": other})
        solved = fleet_offer(default, there, spec)[0].fleet
        found = fleet.capacity_requests_per_s * fleet.cached_factor(np.array([cached]))
        assert found[0] == pytest.approx(solved.capacity_requests_per_s, rel=0.04)
    assert fleet.cached_factor(np.array([0.6]))[0] > 1.3


def test_capacity_has_the_error_of_its_curve_inside_the_measured_range_and_more_outside(default):
    workload, route = default.workloads["support-chat"], default.routes[H200_70B]
    inside, point = fleet_offer(default, at_lengths(workload, 1024, 1024), route)
    assert point.inside_hull
    held_out = serving_fit(route_curve(route).points, seed=default.seed)
    u = np.random.default_rng(3).random(20_000)
    errors = np.abs(inside.capacity_factor.quantile(u) - 1)
    assert np.median(errors) == pytest.approx(held_out["median_abs_error_share"], rel=0.05)
    outside, point = fleet_offer(default, at_lengths(workload, 1155, 211), route)
    assert not point.inside_hull
    assert outside.capacity_factor.low < inside.capacity_factor.low < 1
    assert outside.capacity_factor.high > inside.capacity_factor.high > 1
    assert outside.capacity_factor.grade == "assumed"


def test_rent_is_the_mean_of_the_commitments_within_its_range(default):
    quotes = pd.read_csv(paths.data("gpu_prices.csv"))
    nebius = quotes.query("gpu == 'h200_sxm' and provider == 'nebius'").set_index("commitment")
    on_demand = nebius.loc["on_demand", "usd_per_gpu_hour"]
    route = default.routes[H200_70B]
    rent = fleet_offer(default, default.workloads["extraction"], route)[0].usd_per_gpu_hour
    assert 0.4 * on_demand < rent.low < rent.value < rent.high
    assert rent.value < on_demand
    everything = route.commitment.on_demand
    dear = route.model_copy(
        update={
            "commitment": route.commitment.model_copy(
                update={
                    "on_demand": replace(everything, value=1.0),
                    "reserved": replace(everything, value=0.0),
                }
            )
        }
    )
    found, _ = fleet_offer(default, default.workloads["extraction"], dear)
    assert found.usd_per_gpu_hour.value == pytest.approx(on_demand)


def test_an_owned_fleet_carries_what_a_rented_one_does_at_its_own_price(default):
    workload, rented = default.workloads["extraction"], default.routes[H200_70B]
    price = Figure("", 36_000.0, "USD/GPU", source="a quote", as_of=default.as_of)
    gone = {"rented_from": None, "commitment": None, "owned": OwnedGpus(price=price)}
    owned = rented.model_copy(update=gone)
    theirs, _ = fleet_offer(default, workload, rented)
    found, _ = fleet_offer(default, workload, owned)
    assert found.usd_per_gpu_hour == gpu_hours.gpu_hour(owned, 0.0)
    assert (found.fleet.reserved_share, found.fleet.term_months) == (0.0, 48)
    assert found.fleet.capital_share == gpu_hours.capital_share(owned)
    paid = {"reserved_share": 0.0, "term_months": 12, "capital_share": 0.0}
    assert replace(found.fleet, **paid) == replace(theirs.fleet, **paid)
    assert findings_of(default.model_copy(update={"routes": {H200_70B: rented}}))
    assert not findings_of(default.model_copy(update={"routes": {H200_70B: owned}}))


@pytest.mark.parametrize("route", ["openai-gpt-4o", "negotiated"])
def test_a_regional_premium_is_on_every_part_of_the_price_in_every_month(default, route):
    listed = default.routes["openai-gpt-4o"]
    usd = Figure("", 2.0, "USD/Mtok", source="contract", as_of=default.as_of)
    rates = TokenRates(input=usd, cached_input=usd, output=usd)
    spec = listed if route == "openai-gpt-4o" else listed.model_copy(update={"price": rates})
    dearer = spec.model_copy(update={"regional_premium": Figure("", 1.1, "factor")})
    plain, premium = (
        token_offer(default.model_copy(update={"routes": {route: each}}), route, AZURE)
        for each in (spec, dearer)
    )
    for part in ("uncached_input_usd", "cached_input_usd", "written_input_usd", "output_usd"):
        assert getattr(premium, part) == pytest.approx(1.1 * getattr(plain, part))
    assert premium.month_factors == pytest.approx(plain.month_factors)


def test_a_quote_without_a_date_stays_without_one(default):
    rent = fleet_offer(default, default.workloads["extraction"], default.routes[H200_70B])[
        0
    ].usd_per_gpu_hour
    assert rent.as_of is None


def test_a_request_too_long_for_its_gpus_is_a_finding_and_not_a_number(default):
    endless = at_lengths(default.workloads["extraction"], 2_000_000, 250)
    with pytest.raises(CannotServe, match="70B"):
        fleet_offer(default, endless, default.routes[H200_70B])


def test_a_curve_is_fitted_to_the_points_of_its_own_engine(default):
    route = default.routes[H200_8B]
    assert route_curve(route) is not None
    with pytest.raises(ValueError, match=r"9\.9"):
        route_curve(route.model_copy(update={"engine_version": "9.9"}))


def test_prompts_that_grow_past_a_price_threshold_are_billed_beyond_it():
    from llmstudy import simulate
    from llmstudy.evidence.offers import priced_model

    rng = np.random.default_rng(1)
    lengths = rng.lognormal(np.log(75_000), 0.6, 4_000).astype(int)  # about 90,000 on the mean
    requests = pd.DataFrame(
        {"ts_start": pd.Timestamp("2026-11-20T09:00Z"), "input_tokens": lengths}
    ).assign(cached_input_tokens=0, cache_write_tokens=0, output_tokens=400)
    study = load(paths.params("default.yaml"))
    known = study.routes["openai-gpt-4o"]
    gemini = known.model_copy(update={"provider": "google", "model": "gemini-2.5-pro"})
    study = study.model_copy(update={"routes": {**study.routes, "gemini": gemini}})
    offer = replace(token_offer(study, "gemini", requests), month_factors=(1.0,))
    one = {
        "tokenizer": 1.0,
        "output_tokens_ratio": 1.0,
        "prompt_growth": 0.02,
        "drift_proprietary_api": 1.0,
    }
    one |= {"input_tokens": offer.input_tokens, "output_tokens": offer.output_tokens}
    none = dict.fromkeys(("cached_input_share", "cache_write_share", "retry_share", "tool_usd"), 0)
    d = {name: np.array([float(x)]) for name, x in {**one, **none}.items()}
    billed = simulate.usd_per_request(offer, d, 25)[0]
    for month in (0, 6, 12, 24):
        longer = (requests["input_tokens"] * 1.02**month).round().astype("int64")
        grown = requests.assign(input_tokens=longer)
        exact = bill_requests(grown, priced_model(gemini), study.as_of)
        assert billed[month] == pytest.approx(exact.sum(axis=1).mean(), rel=0.005)
    flat = simulate.usd_per_request(replace(offer, context_factors=()), d, 25)[0]
    assert flat[24] < 0.85 * billed[24]
