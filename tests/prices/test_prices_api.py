import base64
import importlib.metadata
from datetime import UTC, date, datetime, timedelta

import genai_prices.data
import numpy as np
import pandas as pd
import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import DataSnapshot, set_custom_snapshot
from genai_prices.types import ModelPrice, TimeOfDateConstraint
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy import paths
from llmstudy.prices import (
    PricedModel,
    PriceError,
    bill_requests,
    bill_total,
    price_findings,
    rate,
    scheduled_changes,
)

NOV_20 = date(2026, 11, 20)

NEXT_YEAR = date(2027, 11, 20)


def request(input_tokens, output_tokens, cached=0, written=0, at="2026-11-20T00:00Z"):
    return {
        "ts_start": pd.Timestamp(at),
        "input_tokens": input_tokens,
        "cached_input_tokens": cached,
        "cache_write_tokens": written,
        "output_tokens": output_tokens,
    }


def cost_of(provider, model, *requests, on=NOV_20, tier="standard"):
    bill = bill_requests(pd.DataFrame(requests), PricedModel(provider, model, tier), on)
    return bill.sum().sum()


# --- API prices against the published tables and against genai-prices itself ----------------------


@pytest.mark.parametrize(
    ("provider", "model", "input_usd", "cached_usd", "output_usd"),
    [
        ("openai", "gpt-4o", 2.50, 1.25, 10),
        ("openai", "gpt-4o-mini", 0.15, 0.075, 0.60),
        ("openai", "gpt-4.1-mini", 0.40, 0.10, 1.60),
        ("openai", "gpt-5-nano", 0.05, 0.005, 0.40),
        ("openai", "gpt-5.6-luna", 0.20, 0.02, 1.20),
        ("openai", "gpt-6-luna", 0.10, 0.01, 0.50),
        ("openai", "gpt-6.1-terra", 1, 0.05, 5),
        ("anthropic", "claude-sonnet-4.5", 3, 0.30, 15),
        ("anthropic", "claude-haiku-4.5", 1, 0.10, 5),
        ("anthropic", "claude-haiku-5.5", 0.10, 0.01, 0.50),
        ("anthropic", "claude-opus-5.5", 4, 0.20, 20),
        ("google", "gemini-2.5-pro", 1.25, 0.125, 10),
        ("google", "gemini-3.8-flash", 0.75, 0.075, 3.75),
        ("deepseek", "deepseek-v4-flash", 0.15, 0.003, 0.60),
        ("deepseek", "deepseek-v4-pro", 0.66, 0.022, 1.98),
        ("x-ai", "grok-4.7", 2, 0.50, 6),
        ("groq", "llama-3.1-8b-instant", 0.05, 0.05, 0.08),
        ("groq", "llama-3.3-70b-versatile", 0.59, 0.59, 0.79),
    ],
)
def test_rates_are_those_of_the_published_price_lists(
    provider, model, input_usd, cached_usd, output_usd
):
    listed = rate(provider, model, NOV_20)
    assert listed.input_usd_per_mtok == input_usd
    assert listed.cached_input_usd_per_mtok == cached_usd
    assert listed.output_usd_per_mtok == output_usd


@pytest.mark.parametrize(
    ("provider", "model", "tier", "input_usd", "output_usd"),
    [
        ("openai", "gpt-4o", "batch", 1.25, 5),
        ("openai", "gpt-4o", "priority", 4.25, 17),
        ("openai", "gpt-6-luna", "flex", 0.05, 0.25),
        ("anthropic", "claude-sonnet-4-5", "batch", 1.5, 7.5),
        ("anthropic", "claude-opus-5-5", "fast", 8, 40),
    ],
)
def test_tiers_have_their_own_rates(provider, model, tier, input_usd, output_usd):
    listed = rate(provider, model, NOV_20, tier)
    assert (listed.input_usd_per_mtok, listed.output_usd_per_mtok) == (input_usd, output_usd)


def test_a_thousand_requests_cost_what_each_costs_and_not_what_their_sum_would():
    assert cost_of("google", "gemini-2.5-pro", *[request(2_000, 300)] * 1_000) == pytest.approx(5.5)
    assert cost_of("google", "gemini-2.5-pro", request(2_000_000, 300_000)) == pytest.approx(9.5)


@st.composite
def requests_of_any_size(draw):
    edges = st.sampled_from([0, 1, 200_000, 200_001, 272_000, 272_001])
    total = draw(edges | st.integers(0, 400_000))
    cached = draw(st.integers(0, total))
    written = draw(st.integers(0, total - cached))
    hours = st.sampled_from([0, 1, 4, 6, 10]).map(lambda hour: hour * 3_600)
    second = draw(hours | st.integers(0, 86_399))
    moment = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(seconds=second)
    return request(total, draw(st.integers(0, 50_000)), cached, written, moment)


@pytest.mark.parametrize(
    ("provider", "model", "context"),
    [
        ("openai", "gpt-4o", {}),
        ("openai", "gpt-4o", {"processing": "batch"}),
        ("openai", "gpt-6-luna", {}),
        ("openai", "gpt-6-luna", {"service_tier": "priority"}),
        ("google", "gemini-2.5-pro", {}),
        ("deepseek", "deepseek-v4-flash", {}),
        ("deepseek", "deepseek-chat", {}),
        ("anthropic", "claude-haiku-4.5", {}),
        ("anthropic", "claude-haiku-5.5", {"processing": "batch"}),
        ("groq", "llama-3.1-8b-instant", {}),
    ],
)
@settings(max_examples=15, deadline=None)
@given(requests=st.lists(requests_of_any_size(), min_size=1, max_size=8))
def test_every_request_costs_what_genai_prices_says(provider, model, context, requests):
    tier = next(iter(context.values()), "standard")
    priced = PricedModel(provider, model, tier)
    bill = bill_requests(pd.DataFrame(requests), priced, NOV_20)
    sums = np.zeros(2)
    for row, (_, billed) in zip(requests, bill.iterrows(), strict=True):
        usage = Usage(
            input_tokens=row["input_tokens"],
            cache_read_tokens=row["cached_input_tokens"],
            cache_write_tokens=row["cache_write_tokens"],
            output_tokens=row["output_tokens"],
        )
        theirs = calc_price(
            usage,
            model,
            provider_id=provider,
            genai_request_timestamp=row["ts_start"],
            price_context=context,
        )
        assert billed["input_usd"] == pytest.approx(float(theirs.input_price), rel=1e-12)
        assert billed["output_usd"] == pytest.approx(float(theirs.output_price), rel=1e-12)
        sums += [float(theirs.input_price), float(theirs.output_price)]
    assert [*bill_total(pd.DataFrame(requests), priced, NOV_20)] == pytest.approx(sums, rel=1e-12)


# --- The traps of genai-prices: each an error or a visible fact, never a silent default -----------


def test_a_batch_price_before_its_rows_exist_is_an_error():
    with pytest.raises(PriceError, match="batch rate of gpt-4o is listed from 2026-10-14"):
        rate("openai", "gpt-4o", date(2026, 10, 13), "batch")
    assert rate("openai", "gpt-4o", date(2026, 10, 14), "batch").input_usd_per_mtok == 1.25


def test_a_misspelt_tier_is_an_error_that_lists_the_tiers():
    with pytest.raises(
        PriceError, match="no 'bacth' rate; it has: standard, priority, fast, batch"
    ):
        cost_of("openai", "gpt-4o", request(10, 1), tier="bacth")


@pytest.mark.parametrize(
    ("provider", "model"),
    [("anthropic", "claude-sonnet-4"), ("google", "gemini-3.5-flash"), ("x-ai", "grok-4.7")],
)
def test_a_tier_without_rows_is_an_error(provider, model):
    with pytest.raises(PriceError, match="has no 'batch' rate"):
        rate(provider, model, NOV_20, "batch")


def test_a_request_is_priced_at_its_own_time_of_day():
    midnight = request(1_000_000, 0)
    peak = request(1_000_000, 0, at="2026-11-20T01:00Z")
    peak_elsewhere = request(1_000_000, 0, at="2025-03-09T03:00+02:00")
    for requests, usd in [([midnight], 0.15), ([midnight, peak], 0.45), ([peak_elsewhere], 0.30)]:
        assert cost_of("deepseek", "deepseek-v4-flash", *requests) == pytest.approx(usd)
    assert rate("deepseek", "deepseek-v4-flash", NOV_20).has_time_of_day


def test_peak_hours_of_a_day_before_the_known_rates_are_an_error():
    with pytest.raises(PriceError, match="from 2026-09-10 on, but none on 2026-09-09"):
        cost_of("deepseek", "deepseek-v4-flash", request(10, 1), on=date(2026, 9, 9))


def test_the_windows_of_the_price_data_are_in_utc():
    models = [model for each in genai_prices.data.providers for model in each.models]
    rows = [
        row for model in models if not isinstance(model.prices, ModelPrice) for row in model.prices
    ]
    windows = [row.constraint for row in rows if isinstance(row.constraint, TimeOfDateConstraint)]
    edges = [edge for window in windows for edge in (window.start_time, window.end_time)]
    assert edges
    assert {edge.utcoffset() for edge in edges} == {timedelta(0)}


@pytest.mark.parametrize("model", ["mistral-large-latest", "mistral-medium-latest"])
def test_an_alias_that_moves_is_an_error(model):
    with pytest.raises(PriceError, match="an alias that changes"):
        rate("mistral", model, NOV_20)


@pytest.mark.parametrize(
    ("provider", "model", "message"),
    [
        ("openia", "gpt-4o", "no provider 'openia'; close to it: openai"),
        ("OpenAI", "gpt-4o", "no provider 'OpenAI'; close to it: openai"),
        ("openai", "gpt4o", "no model 'gpt4o'; close to it: gpt-4o"),
        ("google", "gemini-3.8-flash-lite", "no model"),  # its prefix is another model's
        ("anthropic", "claude-sonnet-4-55", "close to it: claude-sonnet-4-5"),
        ("aws", "my.amazon.nova-lite", "close to it: amazon.nova-lite-v1:0"),  # matched inside
        ("azure", "gpt-4o", "another provider lists it"),  # lent by openai, tiers lost
        ("github-copilot", "gpt-4o", "no price per input and output token"),  # free if not refused
        ("perplexity", "sonar-pro", "more than token counts show"),  # a fee per request
    ],
)
def test_a_price_that_would_be_a_guess_is_an_error(provider, model, message):
    with pytest.raises(PriceError, match=message):
        rate(provider, model, NOV_20)


@pytest.mark.parametrize(
    ("provider", "model", "matched_id"),
    [
        ("anthropic", "claude-haiku-4.5", "claude-haiku-4-5"),
        ("anthropic", "claude-sonnet-4-20250514", "claude-sonnet-4-0"),
        ("google", "gemini-2.5-pro-preview-05-06", "gemini-2.5-pro"),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o"),
    ],
)
def test_a_rate_says_which_model_was_matched(provider, model, matched_id):
    assert rate(provider, model, NOV_20).matched_id == matched_id


def test_prices_replaced_at_run_time_do_not_reach_a_study():
    set_custom_snapshot(DataSnapshot(providers=[], from_auto_update=True))
    try:
        assert rate("openai", "gpt-4o", NOV_20).input_usd_per_mtok == 2.5
    finally:
        set_custom_snapshot(None)


def test_a_rate_names_the_data_it_was_read_from():
    listed = rate("openai", "gpt-4o", NOV_20)
    files = importlib.metadata.files("genai-prices") or []
    [recorded] = [each.hash for each in files if str(each) == "genai_prices/data.py"]
    digest = base64.urlsafe_b64encode(bytes.fromhex(listed.data_sha256)).decode().rstrip("=")
    assert (listed.package_version, digest) == ("0.2.3", recorded.value)


# --- Changes, expiry and findings -----------------------------------------------------------------


def test_dated_changes_are_those_in_the_table_of_price_changes():
    owners = {"gpt": "openai", "grok": "x-ai", "deepseek": "deepseek", "gemini": "google"}
    table = pd.read_csv(paths.data("price_changes.csv")).query("kind == 'api'")
    table = table[~table["item"].str.endswith("latest")]
    assert len(table) >= 10
    for (model, effective), sides in table.groupby(["item", "effective"]):
        day = date.fromisoformat(effective)
        changes = scheduled_changes(
            owners[model.split("-")[0]], model, day - timedelta(days=1), day
        )
        ours = changes[["input_before", "input_after", "output_before", "output_after"]]
        sides = sides.set_index("quantity")
        theirs = [
            sides.loc[side, when] for side in ("input", "output") for when in ("before", "after")
        ]
        assert ours.iloc[0].tolist() == theirs


@pytest.mark.parametrize("model", ["gemini-3.6-flash", "gemini-3.7-flash", "gemini-3.8-flash"])
def test_introductory_rates_double_on_new_years_day(model):
    changes = scheduled_changes("google", model, NOV_20, NEXT_YEAR)
    assert changes["effective"].tolist() == [date(2027, 1, 1)]
    assert changes["change_share"].tolist() == [1.0]
    assert changes["reason"].tolist() == ["introductory rate ends"]


def test_a_window_holds_its_last_day_and_not_its_first():
    last_day = date(2026, 12, 1)
    assert len(scheduled_changes("google", "gemini-4-argon", NOV_20, last_day)) == 1
    assert scheduled_changes("google", "gemini-4-argon", last_day, NEXT_YEAR).empty


def test_a_change_of_the_long_context_rate_alone_is_a_change():
    changes = scheduled_changes("anthropic", "claude-opus-4-6", date(2026, 1, 1), NOV_20)
    assert changes["effective"].tolist() == [date(2026, 3, 13)]
    assert changes["change_share"].tolist() == [-0.5]
    assert changes["input_before"].tolist() == changes["input_after"].tolist()


@pytest.mark.parametrize("tier", ["standard", "batch"])
def test_a_rate_expires_on_the_day_of_its_next_change(tier):
    assert rate("google", "gemini-4-argon", NOV_20, tier).expires == date(2026, 12, 1)
    assert rate("google", "gemini-4-argon", date(2026, 12, 1), tier).expires is None


def test_findings_tell_of_rises_retirements_and_recent_moves():
    def told(provider, model, on=NOV_20, until=NEXT_YEAR):
        return {(f.severity, f.effective) for f in price_findings(provider, model, on, until)}

    assert told("google", "gemini-4-argon") == {("warning", date(2026, 12, 1))}
    assert told("google", "gemini-2.5-pro") == {("stale", date(2026, 10, 20))}
    assert told("google", "gemini-2.5-pro", on=date(2026, 10, 1)) == {
        ("warning", date(2026, 10, 20))
    }
    assert told("anthropic", "claude-sonnet-4-5") == {("warning", date(2026, 11, 30))}
    assert told("anthropic", "claude-sonnet-4-5", until=date(2026, 11, 29)) == set()
    assert told("anthropic", "claude-sonnet-4") == {("warning", None)}
    assert told("openai", "gpt-5.6-luna") == {("info", date(2026, 7, 30))}
    assert told("openai", "gpt-4o") == set()


def test_a_deprecated_model_is_surfaced():
    assert rate("avian", "Meta-Llama-3.1-8B-Instruct", NOV_20).deprecated
    findings = price_findings("avian", "Meta-Llama-3.1-8B-Instruct", NOV_20, NEXT_YEAR)
    assert any("marked as deprecated" in finding.sentence for finding in findings)


@pytest.mark.parametrize("name", ["price_changes.csv", "model_retirements.csv"])
def test_every_bundled_row_has_a_source_and_a_licence(name):
    table = pd.read_csv(paths.data(name))
    assert not table.empty
    assert table[["source", "licence"]].notna().all(axis=None)


def test_a_tier_has_no_changes_before_the_day_from_which_its_rates_are_known():
    """The list has batch rates of gpt-6-luna from 14 October 2026 on, and dated rows before it."""
    with pytest.raises(PriceError, match="listed from 2026-10-14"):
        rate("openai", "gpt-6-luna", date(2026, 10, 13), "batch")
    past = scheduled_changes("openai", "gpt-6-luna", date(2025, 11, 20), NOV_20, "batch")
    assert past.empty
