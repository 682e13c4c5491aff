"""Each request is priced at its own time and served model, as genai-prices prices it singly."""

from datetime import date, datetime
from decimal import Decimal

import genai_prices.data
import numpy as np
import pandas as pd
import pytest
from genai_prices import Usage

from llmstudy.measures.repricing import reprice
from llmstudy.prices import PricedModel, PriceError, bill_requests, billing
from llmstudy.prices.served import served_model

MODELS = [
    ("openai", "gpt-4o", None),
    ("openai", "gpt-4o-mini", "batch"),
    ("openai", "gpt-5.6-luna", "priority"),
    ("anthropic", "claude-sonnet-4-5", None),
    ("anthropic", "claude-haiku-4-5-20251001", "batch"),
    ("google", "gemini-2.5-pro", None),  # context tiers
    ("google", "gemini-4-argon", None),  # changes on 2026-12-01
    ("deepseek", "deepseek-v4-flash", None),  # time of day
]


def sample(n=600, seed=7):
    """Requests of many models over three months, some above the context tiers."""
    rng = np.random.default_rng(seed)
    pick = rng.integers(len(MODELS), size=n)
    tokens = np.exp(rng.normal(8, 2.5, n)).astype(int) + 10
    cached = (tokens * rng.choice([0, 0.3, 0.9], n)).astype(int)
    return pd.DataFrame(
        {
            "ts_start": pd.Timestamp("2026-10-20", tz="UTC")
            + pd.to_timedelta(rng.integers(0, 80 * 86_400, n), unit="s"),
            "provider": [MODELS[i][0] for i in pick],
            "model_served": [MODELS[i][1] for i in pick],
            "service_tier": [MODELS[i][2] for i in pick],
            "input_tokens": tokens,
            "cached_input_tokens": cached,
            "cache_write_tokens": ((tokens - cached) * rng.choice([0, 0.5], n)).astype(int),
            "output_tokens": rng.integers(0, 4_000, n),
        }
    )


def published_usd(row):
    """The bill of one request by genai-prices' own exact arithmetic."""
    provider = next(each for each in genai_prices.data.providers if each.id == row.provider)
    model = provider.find_model(row.model_served)
    context = None
    if isinstance(row.service_tier, str):
        variants = [v.when for v in model.price_variants if row.service_tier in v.when.values()]
        context = variants[0]
    price = model.get_prices(row.ts_start.to_pydatetime(), context or {})
    usage = Usage(
        input_tokens=row.input_tokens,
        cache_read_tokens=row.cached_input_tokens,
        cache_write_tokens=row.cache_write_tokens,
        output_tokens=row.output_tokens,
    )
    return price.calc_price(usage)["total_price"]


def test_bills_are_those_of_genai_prices_to_the_last_decimal():
    bills = reprice(sample())
    assert bills["unpriced"].isna().all()
    for row in bills.itertuples():
        assert row.usd == pytest.approx(float(published_usd(row)), rel=1e-15, abs=0)
        # no price list has more decimals than twelve
        assert round(Decimal(row.usd), 12) == round(published_usd(row), 12)


def test_bills_are_those_of_requests_priced_on_one_model_and_day():
    log = sample()
    bills = reprice(log)
    for (provider, model, day), part in bills.groupby(
        ["provider", "model_served", bills["ts_start"].dt.date]
    ):
        tier = part["service_tier"].iloc[0]
        priced = PricedModel(provider, model, tier if isinstance(tier, str) else "standard")
        usd = bill_requests(part, priced, day).sum(axis=1)
        np.testing.assert_allclose(part["usd"], usd, rtol=1e-15)


def test_the_index_and_the_order_are_those_of_the_requests():
    log = sample(50).set_index(np.arange(50)[::-1] * 3)
    bills = reprice(log)
    assert bills.index.equals(log.index)
    pd.testing.assert_frame_equal(bills[log.columns], log)


def one(**columns):
    row = {
        "ts_start": pd.Timestamp("2026-11-20T09:00Z"),
        "provider": "openai",
        "model_served": "gpt-4o",
        "input_tokens": 1_000_000,
        "output_tokens": 0,
    }
    return pd.DataFrame([row | columns])


def test_a_bucket_is_billed_in_the_context_tier_of_its_mean_request():
    bucket = one(provider="google", model_served="gemini-2.5-pro", n_requests=10.0)
    assert reprice(bucket)["usd"].item() == pytest.approx(1.25)
    assert reprice(bucket.assign(n_requests=1.0))["usd"].item() == pytest.approx(2.50)


def test_a_negotiated_price_holds_for_its_tier_and_every_snapshot():
    prices = {"openai/gpt-4o": PricedModel("openai", "gpt-4o", usd_per_mtok=(2.0, 1.0, 8.0))}
    assert reprice(one(model_served="gpt-4o-2024-08-06"), prices)["usd"].item() == 2.0
    assert reprice(one(service_tier="batch"), prices)["usd"].item() == 1.25
    assert reprice(one(model_served="gpt-4o-mini"), prices)["usd"].item() == 0.15


def test_what_has_no_price_says_why():
    bills = reprice(pd.concat([one(model_served="gpt-9"), one(service_tier="turbo"), one()]))
    assert bills["usd"].notna().tolist() == [False, False, True]
    assert "lists no model 'gpt-9'" in bills["unpriced"].iloc[0]
    assert "no 'turbo' rate" in bills["unpriced"].iloc[1]


@pytest.mark.parametrize(
    ("provider", "model", "priced"),
    [
        ("azure.ai.openai", "gpt-4o", "openai"),  # its list lacks it
        ("vertex_ai", "gemini-2.5-pro", "google"),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
        ("openai", "openai/gpt-4o", "openai"),
        ("unknown", "gpt-4o", "openai"),
        ("unknown", "azure/gpt-4o", "openai"),
    ],
)
def test_names_that_gateways_use_are_those_of_a_list(provider, model, priced):
    assert served_model(provider, model, date(2026, 11, 20)).provider == priced


@pytest.mark.parametrize("provider", ["hosted_vllm", "vLLM", "ollama"])
def test_servers_of_ones_own_have_no_list_price(provider):
    assert served_model(provider, "llama-3.1-70b", date(2026, 11, 20)) is None


def test_a_model_of_no_one_known_is_refused():
    with pytest.raises(PriceError, match="names no provider"):
        served_model("unknown", "our-model", date(2026, 11, 20))


def test_a_table_without_what_a_price_needs_is_refused():
    with pytest.raises(ValueError, match="lack provider: give a canonical table"):
        reprice(one().drop(columns="provider"))
    with pytest.raises(ValueError, match="not times with a zone"):
        reprice(one(ts_start=datetime(2026, 11, 20)))
    with pytest.raises(ValueError, match="no DataFrame"):
        reprice("log.parquet")
    with pytest.raises(PriceError, match='"gpt-4o" is no "provider/model"'):
        reprice(one(), {"gpt-4o": "openai/gpt-4o"})


def test_no_price_is_asked_for_by_row(monkeypatch):
    """Rates are asked for by name and day of a change, however many requests there are."""
    calls = []
    lookup = billing.prices_of_day
    monkeypatch.setattr(
        billing, "prices_of_day", lambda *given: calls.append(given) or lookup(*given)
    )
    reprice(sample(200))
    of_few = len(calls)
    reprice(pd.concat([sample(200, seed) for seed in range(7, 17)]))
    assert len(calls) <= 2 * of_few
