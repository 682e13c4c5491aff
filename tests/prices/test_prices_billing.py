"""Requests priced on any model: against sums done by hand, and the mistakes that a caller makes."""

import warnings
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from llmstudy.prices import PricedModel, PriceError, bill_requests, bill_total, price_requests

NOV_20 = date(2026, 11, 20)
LOG = pd.DataFrame(
    {
        "ts_start": pd.to_datetime(["2026-11-20T00:30Z", "2026-11-20T01:30Z"]),
        "workload": ["chat", "search"],
        "input_tokens": [1_000, 4_000],
        "cached_input_tokens": [0, 1_000],
        "cache_write_tokens": [0, 500],
        "output_tokens": [100, 10],
    },
    index=["a", "b"],
)
TOKENS = LOG[["input_tokens", "output_tokens"]]


def test_each_request_is_priced_on_each_model_and_keeps_its_own_columns_and_index():
    bills = price_requests(LOG, ["openai/gpt-4o", "openai/gpt-4o-mini"], NOV_20)
    assert bills.index.tolist() == ["a", "b", "a", "b"]
    assert [*bills] == [*LOG, "model", "input_usd", "output_usd", "usd"]
    usd = bills.set_index("model", append=True)["usd"]
    # 2.50 and 10 USD per million tokens, cached input at half; writes cost what input does
    by_hand = {"a": (1_000 * 2.5 + 100 * 10) / 1e6, "b": (3_000 * 2.5 + 1_000 * 1.25 + 100) / 1e6}
    assert usd.xs("openai/gpt-4o", level="model").to_dict() == pytest.approx(by_hand)
    assert bills["usd"].tolist() == (bills["input_usd"] + bills["output_usd"]).tolist()


def test_a_negotiated_price_and_a_region_take_the_place_of_the_list():
    ours = PricedModel("nobody", "own-model", usd_per_mtok=(2.0, 0.5, 8.0), factor=1.1)
    batch = PricedModel("openai", "gpt-4o", tier="batch")
    bills = price_requests(LOG, {"ours": ours, "batch": batch, "list": "openai/gpt-4o"}, NOV_20)
    usd = bills.groupby("model")["usd"]
    assert usd.sum()["ours"] == pytest.approx(1.1 * (4_000 * 2 + 1_000 * 0.5 + 110 * 8) / 1e6)
    assert usd.first()["batch"] == pytest.approx(usd.first()["list"] / 2)  # nothing of it cached


def test_tokens_of_a_cache_that_are_not_logged_count_as_none_and_a_warning_says_so():
    with pytest.warns(UserWarning, match="cached_input_tokens of 2 requests and cache_write") as w:
        bare = price_requests(TOKENS, "openai/gpt-4o", NOV_20)
    assert len(w) == 1
    assert w[0].filename == __file__
    zero = LOG.assign(cached_input_tokens=0, cache_write_tokens=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = price_requests(zero, "openai/gpt-4o", NOV_20)
    assert bare["usd"].tolist() == whole["usd"].tolist()
    null = LOG.astype({"cached_input_tokens": "Int64"}).assign(cached_input_tokens=pd.NA)
    with pytest.warns(UserWarning, match="^cached_input_tokens of 2 requests not logged"):
        price_requests(null, "openai/gpt-4o", NOV_20)


def test_without_times_a_price_by_the_hour_is_that_of_midnight_and_a_warning_says_so():
    untimed = LOG.drop(columns="ts_start")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        price_requests(untimed, "openai/gpt-4o", NOV_20)
    deepseek = "deepseek/deepseek-v4-flash"
    with pytest.warns(UserWarning, match="no ts_start: deepseek.* midnight UTC"):
        flat = price_requests(untimed, ["openai/gpt-4o", deepseek], NOV_20)
    timed = price_requests(LOG, deepseek, NOV_20)
    ratio = timed["usd"] / flat.loc[flat["model"] == deepseek, "usd"]
    assert ratio.tolist() == pytest.approx([1, 2])  # from 01:00 UTC it costs twice as much


@pytest.mark.parametrize(
    "on",
    [
        "2026-12-01",
        date(2026, 12, 1),
        datetime(2026, 12, 1, 9),
        pd.Timestamp("2026-12-01"),
        datetime(2026, 11, 30, 20, tzinfo=timezone(timedelta(hours=-5))),  # December in UTC
    ],
)
def test_a_date_is_a_date_a_time_or_iso_text(on):
    # its price changes on 1 December 2026
    (later,) = price_requests(LOG[:1], "google/gemini-4-argon", on)["usd"]
    (before,) = price_requests(LOG[:1], "google/gemini-4-argon", NOV_20)["usd"]
    assert later > before


MODELS = (
    PricedModel("openai", "gpt-4o", tier="batch"),
    PricedModel("openai", "gpt-4o", usd_per_mtok=(2.0, 0.5, 8.0), factor=1.1),
    PricedModel("google", "gemini-2.5-pro", factor=1.1),  # with context tiers
    PricedModel("openai", "gpt-6-luna"),
    PricedModel("deepseek", "deepseek-v4-flash"),  # by the hour
)


def drawn(n=5_000):
    rng = np.random.default_rng(5)
    prompts = rng.choice([0, 1, 200_000, 200_001, 272_000, 272_001], n)
    prompts = np.where(rng.random(n) < 0.2, prompts, rng.integers(0, 400_000, n))
    cached = rng.integers(0, prompts + 1)
    seconds = np.where(rng.random(n) < 0.2, 3_600 * rng.integers(0, 24, n), rng.random(n) * 86_400)
    return pd.DataFrame(
        {
            "ts_start": pd.Timestamp("2026-11-20", tz="Asia/Kolkata")
            + pd.to_timedelta(seconds, unit="s"),
            "input_tokens": prompts,
            "cached_input_tokens": pd.array(cached, dtype="Int64"),
            "cache_write_tokens": pd.array(rng.integers(0, prompts - cached + 1), dtype="Int64"),
            "output_tokens": rng.integers(0, 9_000, n),
        },
        index=rng.permutation(n),
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.model)
def test_the_bill_of_all_is_the_sum_of_the_bills_of_each(model):
    log = drawn()
    each = bill_requests(log, model, NOV_20)
    assert [*bill_total(log, model, NOV_20)] == pytest.approx(each.sum().tolist(), rel=1e-12)
    often = np.random.default_rng(6).integers(0, 4, len(log))
    weighted = each.mul(often, axis=0).sum().tolist()
    assert [*bill_total(log, model, NOV_20, often)] == pytest.approx(weighted, rel=1e-12)
    none = log.assign(cached_input_tokens=0, cache_write_tokens=0)
    columns = {**{name: log[name] for name in log}, "cached_input_tokens": 0}
    columns["cache_write_tokens"] = 0
    uncached = bill_requests(none, model, NOV_20).sum().tolist()
    assert [*bill_total(columns, model, NOV_20)] == pytest.approx(uncached, rel=1e-12)
    assert bill_total(log[:0], model, NOV_20) == (0, 0)


def test_the_bill_of_all_needs_the_columns_of_the_bills_of_each():
    with pytest.raises(PriceError, match="the requests lack cached_input_tokens, cache_write"):
        bill_total(TOKENS, MODELS[0], NOV_20)
    with pytest.raises(PriceError, match="the requests lack ts_start"):
        bill_total(LOG.drop(columns="ts_start"), MODELS[-1], NOV_20)


def test_no_requests_have_an_empty_bill():
    assert price_requests(LOG[:0], "openai/gpt-4o", NOV_20)["usd"].sum() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cached_input_tokens": 4_001}, "fewer input_tokens than cached"),
        ({"output_tokens": -1}, r"2 of 2 requests .* negative token count \(first: row a\)"),
        ({"input_tokens": [np.nan, 4_000]}, r"1 of 2 .* missing or .* \(first: row a\)"),
        ({"output_tokens": "many"}, "token counts must be numbers"),
        ({"ts_start": pd.Timestamp("2026-11-20")}, "not times with one timezone"),
        ({"ts_start": [pd.NaT, pd.Timestamp("2026-11-20", tz=UTC)]}, "no ts_start"),
        ({"model": "gpt-4o"}, 'already have model: rename .* "model_served"'),
    ],
)
def test_a_request_that_cannot_be_is_an_error(change, message):
    with pytest.raises(PriceError, match=message):
        price_requests(LOG.assign(**change), "deepseek/deepseek-v4-flash", NOV_20)
    if "model" not in change:
        with pytest.raises(PriceError, match=message):
            bill_total(LOG.assign(**change), PricedModel("deepseek", "deepseek-v4-flash"), NOV_20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on": "20 November"}, "on is '20 November', which is not a date: write it as 2026-11-20"),
        ({"on": pd.NaT}, "NaT, which is not a date"),
        ({"on": None}, "None, which is not a date"),
        ({"models": "gpt-4o"}, 'names no provider: write "provider/model", such as openai/gpt-4o'),
        ({"models": ["openai/gpt4o"]}, "openai lists no model 'gpt4o'; close to it: gpt-4o"),
        ({"models": "openia/gpt-4o"}, "no provider 'openia'; close to it: openai"),
        ({"models": []}, "names none"),
        ({"models": None}, "names none"),
        ({"models": {"ours": 3}}, "names none"),
        ({"requests": TOKENS.drop(columns="output_tokens")}, "the requests lack output_tokens"),
        ({"requests": pd.DataFrame()}, "the requests lack input_tokens, output_tokens"),
        ({"requests": "log.csv"}, "is a str, not a DataFrame"),
    ],
)
@pytest.mark.filterwarnings("ignore:cached_input_tokens of")
def test_a_mistake_in_the_call_is_one_sentence(arguments, message):
    call = {"requests": LOG, "models": "openai/gpt-4o", "on": NOV_20} | arguments
    with pytest.raises(PriceError, match=message) as raised:
        price_requests(**call)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "price",
    [
        {"usd_per_mtok": (2.0, 8.0)},
        {"usd_per_mtok": (2.0, -1.0, 8.0)},
        {"usd_per_mtok": ("2", 1.0, 8.0)},
        {"usd_per_mtok": (float("nan"), 1.0, 8.0)},
        {"factor": 0},
    ],
)
def test_a_price_that_nobody_charges_is_refused(price):
    with pytest.raises(PriceError, match="give USD per million tokens of input, cached input"):
        PricedModel("openai", "gpt-4o", **price)
