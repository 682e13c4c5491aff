"""What the log or the invoice has beside the tokens' own price is named, to the last cent."""

import numpy as np
import pandas as pd
import pytest

from llmstudy.measures.reconcile import lines, reconcile
from llmstudy.measures.repricing import reprice
from llmstudy.prices import PricedModel

OURS = {"openai/gpt-4o": PricedModel("openai", "gpt-4o", usd_per_mtok=(2.0, 1.0, 8.0))}


def log(n=100, **columns):
    """Requests of gpt-4o in November, logged at what they cost."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "ts_start": pd.date_range("2026-11-01", periods=n, freq="1h", tz="UTC"),
            "provider": "openai",
            "model_requested": "gpt-4o",
            "model_served": "gpt-4o",
            "input_tokens": rng.integers(1_000, 9_000, n),
            "output_tokens": rng.integers(100, 900, n),
            "ok": True,
        }
        | columns
    )
    if "logged_usd" in columns:
        return frame
    return frame.assign(logged_usd=reprice(frame)["usd"].round(9))


def bill(frame, model="openai/gpt-4o", **columns):
    """What a log's requests cost on another price."""
    return reprice(frame.assign(provider=model.split("/")[0], model_served=model.split("/")[1]))[
        "usd"
    ]


def kinds(rows, against="log"):
    return rows[rows["against"] == against].set_index("kind")


def check_sums(rows, frame, prices=None):
    repriced = reprice(frame, prices)["usd"]
    total = frame["logged_usd"].sum() - repriced.sum()
    of_log = rows[rows["against"] == "log"]
    assert of_log["difference_usd"].sum() == pytest.approx(total, rel=1e-12, abs=1e-12)
    assert of_log["requests"].sum() == len(frame)
    assert of_log["billed_usd"].sum() == pytest.approx(frame["logged_usd"].sum())
    assert of_log["repriced_usd"].sum() == pytest.approx(repriced.sum())


def test_a_log_at_list_prices_agrees():
    rows = reconcile(log())
    assert rows["kind"].tolist() == ["agrees"]
    assert rows["sentence"].item() == "100 requests: logged at what the tokens cost, to 0.5 %."
    check_sums(rows, log())


CACHED = {"cached_input_tokens": 800}


@pytest.mark.parametrize(
    ("kind", "columns", "logged_as", "prices"),
    [
        ("batch", {"service_tier": "batch"}, {"service_tier": None}, None),
        ("service tier", {"service_tier": "priority", "model_served": "gpt-5.6-luna",
                          "model_requested": "gpt-5.6-luna"}, {"service_tier": None}, None),
        ("cache", CACHED, {"cached_input_tokens": 0}, None),
        ("fallback", {"model_requested": "gpt-4o-mini"}, {"model_served": "gpt-4o-mini"}, None),
        ("fallback", {"model_served": "claude-sonnet-4-5", "provider": "anthropic"},
         {"model_served": "gpt-4o", "provider": "openai"}, None),
        ("negotiated", {}, {}, OURS),
        ("batch and cache", {"service_tier": "batch", **CACHED},
         {"service_tier": None, "cached_input_tokens": 0}, None),
        ("negotiated and cache", CACHED, {"cached_input_tokens": 0}, OURS),
        ("fallback and cache", {"model_requested": "gpt-4o-mini", **CACHED},
         {"model_served": "gpt-4o-mini", "cached_input_tokens": 0}, None),
        ("long prompt", {"model_served": "gemini-2.5-pro", "provider": "google",
                         "input_tokens": 300_000}, {"input_tokens": 150_000}, None),
        ("cache reads", {"cached_input_tokens": 800},
         lambda f: f.assign(input_tokens=f["input_tokens"] - 800, cached_input_tokens=0), None),
        ("cache writes", {"model_served": "claude-sonnet-4-5", "provider": "anthropic",
                          "cached_input_tokens": 300, "cache_write_tokens": 500},
         {"cache_write_tokens": 0}, None),
    ],
)  # fmt: skip
def test_a_cause_is_named_where_the_log_has_its_price(kind, columns, logged_as, prices):
    frame = log(**columns)
    other = logged_as(frame) if callable(logged_as) else frame.assign(**logged_as)
    usd = reprice(other)["usd"]
    if kind == "long prompt":
        usd = 2 * usd - reprice(other.assign(input_tokens=0))["usd"]
    frame = pd.concat([frame.assign(logged_usd=usd), log(50)])
    rows = reconcile(frame, prices=prices)
    if prices is None:
        assert kinds(rows)["requests"].to_dict() == {"agrees": 50, kind: 100}
    else:  # the fifty are logged at the list price too
        assert kind in set(rows["kind"])
    check_sums(rows, frame, prices)


def test_what_no_price_explains_has_its_own_row():
    rng = np.random.default_rng(5)
    parts = {
        "unpriced": log(20, model_served="gpt-9", logged_usd=0.01),
        "self-hosted": log(30, provider="hosted_vllm", model_served="llama", logged_usd=0.0),
        "not logged": log(10, logged_usd=np.nan),
        "logged at 0": log(15, logged_usd=0.0),
        "failed": log(12, ok=False, logged_usd=0.5),
        "unknown": log(25, logged_usd=rng.uniform(1, 2, 25)),
    }
    frame = pd.concat(parts.values())
    rows = reconcile(frame)
    assert kinds(rows)["requests"].to_dict() == {kind: len(x) for kind, x in parts.items()}
    check_sums(rows, frame)
    assert "lists no model 'gpt-9'" in kinds(rows).loc["unpriced", "sentence"]
    assert kinds(rows).loc["self-hosted", "difference_usd"] == 0
    failed = kinds(rows).loc["failed", "sentence"]
    assert failed.startswith("12 requests: failed, and logged at another amount than their tokens")


def test_weighted_rows_count_as_all_their_requests():
    frame = log(n_requests=10.0)
    rows = reconcile(frame)
    assert rows["requests"].sum() == 1_000


def whole_november(**columns):
    return log(720, **columns)


def test_an_invoice_of_a_covered_month_agrees():
    frame = whole_november()
    amount = frame["logged_usd"].sum()
    rows = kinds(reconcile(frame, {"2026-11": amount * 1.004}), "invoice 2026-11")
    assert rows.index.tolist() == ["agrees"]
    assert rows["difference_usd"].sum() == pytest.approx(0.004 * amount)


def test_a_log_of_fourteen_days_is_scaled_to_its_month_and_says_so():
    frame = log(14 * 24)
    amount = frame["logged_usd"].sum() * 30 / 14
    rows = kinds(reconcile(frame, {"2026-11": amount}), "invoice 2026-11")
    assert rows.index.tolist() == ["days not logged", "agrees"]
    assert (
        rows["sentence"]
        .iloc[0]
        .startswith(
            "The log covers 14.0 of the 30 days of 2026-11, 14 of them with requests: its USD"
        )
    )
    assert rows["difference_usd"].sum() == pytest.approx(amount - frame["logged_usd"].sum())


@pytest.mark.parametrize("currency", ["EUR"])
def test_an_invoice_in_another_currency_is_converted_at_the_stated_rate(currency):
    frame = whole_november()
    euros = frame["logged_usd"].sum() / 1.08
    rows = reconcile(frame, euros, usd_per_unit=1.08, currency=currency)
    rows = kinds(rows, "invoice 2026-11")
    assert rows.index.tolist() == ["agrees"]
    assert f"{euros:,.2f} EUR at 1.08" in rows["sentence"].item()
    assert rows["billed_usd"].sum() == pytest.approx(euros * 1.08)


@pytest.mark.parametrize(
    ("kind", "frame", "amount", "prices"),
    [
        ("cache", whole_november(**CACHED), lambda f: bill(f.assign(cached_input_tokens=0)), None),
        ("negotiated", whole_november(), lambda f: bill(f), OURS),
        ("retries", whole_november(failed_attempts=[0, 0, 1] * 240),
         lambda f: bill(f) * (1 + f["failed_attempts"]), None),
        ("failed", whole_november(ok=[True, True, False] * 240), lambda f: bill(f)[f["ok"]], None),
    ],
)  # fmt: skip
def test_an_invoice_at_the_price_of_a_cause_is_put_down_to_it(kind, frame, amount, prices):
    invoiced = amount(frame).sum()
    rows = kinds(reconcile(frame, invoiced, prices=prices), "invoice 2026-11")
    assert rows.index.tolist() == [kind, "agrees"]
    total = invoiced - reprice(frame, prices)["usd"].sum()
    assert rows["difference_usd"].sum() == pytest.approx(total, rel=1e-12)


def test_an_invoice_that_nothing_explains_is_unknown_and_adds_up():
    frame = pd.concat([log(14 * 24), log(20, model_served="gpt-9", logged_usd=0.01)])
    rows = kinds(reconcile(frame, {"2026-11": 777.0}), "invoice 2026-11")
    assert rows.index.tolist() == ["days not logged", "unpriced", "unknown"]
    assert "usage outside this log" in rows.loc["unknown", "sentence"]
    assert rows["difference_usd"].sum() == pytest.approx(777 - reprice(frame)["usd"].sum())
    assert rows["billed_usd"].sum() == pytest.approx(777)


def test_an_invoice_of_a_month_that_the_log_lacks_is_no_agreement():
    rows = kinds(reconcile(log(), {"2026-09": 10.0}), "invoice 2026-09")
    assert rows.index.tolist() == ["days not logged", "unknown"]
    assert "covers 0.0 of the 30 days" in rows["sentence"].iloc[0]
    assert rows["difference_usd"].sum() == pytest.approx(10)


def test_one_providers_requests_are_compared_with_its_invoice():
    frame = pd.concat(
        [whole_november(), log(provider="anthropic", model_served="claude-sonnet-4-5")]
    )
    amount = whole_november()["logged_usd"].sum()
    rows = kinds(reconcile(frame, amount, provider="openai"), "invoice 2026-11")
    assert rows.index.tolist() == ["agrees"]


def test_an_invoice_of_one_of_several_providers_is_told_from_the_rest():
    other = log(provider="anthropic", model_served="claude-sonnet-4-5")
    both, own = pd.concat([whole_november(), other]), whole_november()["logged_usd"].sum()
    rows = kinds(reconcile(both, own), "invoice 2026-11")
    assert rows.index.tolist() == ["other providers", "agrees"]
    assert "at openai alone" in rows["sentence"].iloc[0]
    left_out = rows.loc["other providers", "difference_usd"]
    assert left_out == pytest.approx(-reprice(other)["usd"].sum())
    rows = kinds(reconcile(both, own / 2), "invoice 2026-11")
    assert "name its `provider`: openai or anthropic" in rows.loc["unknown", "sentence"]


def test_a_parquet_file_is_reconciled_as_the_frame_is(tmp_path):
    import duckdb

    frame = log(service_tier="batch")
    duckdb.from_df(frame).write_parquet(str(tmp_path / "a.parquet"))
    pd.testing.assert_frame_equal(reconcile(tmp_path / "a.parquet"), reconcile(frame))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"invoice": {"November": 3.0}}, '"November" is no month: write it as "2026-11"'),
        ({"invoice": -1.0}, "give both above 0"),
        ({"invoice": 1.0, "usd_per_unit": 0.0}, "give both above 0"),
        ({"provider": "acme"}, "'acme' has no request in the log, which has openai"),
    ],
)
def test_what_cannot_be_compared_is_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        reconcile(log(), **given)


def test_lines_state_the_totals_and_then_each_row():
    text = lines(reconcile(log(), 100.0))
    assert [line.split(":")[0] for line in text] == [
        "log",
        "  agrees",
        "invoice 2026-11",
        "  days not logged",
        "  unknown",
    ]
