import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy.measures.cost import (
    TokenPrice,
    api_usd_per_request,
    month_bills,
    replica_month_usd,
    requests_per_replica,
    token_price,
    usd_per_accepted_answer,
    usd_per_million_tokens,
)
from llmstudy.prices import Bill
from llmstudy.prices.gpu import (
    OwnedGpu,
    capital_month_usd,
    committed_usd_per_gpu_hour,
    owned_gpu_hour_parts,
    owned_usd_per_gpu_hour,
)
from llmstudy.requests.draw import token_mix

AZURE = pd.DataFrame({"input_tokens": [1155], "output_tokens": [211]})
"""The mean request of the Azure conversation trace of 2023."""

LIST_PRICES = {  # USD per million tokens in, cached in, out; and cost.md 4.4: USD per 1k requests
    "gpt-4o": (2.50, 1.25, 10.00, 5.00),
    "claude-sonnet-4-5": (3.00, 0.30, 15.00, 6.63),
    "gpt-4o-mini": (0.15, 0.075, 0.60, 0.300),
    "gpt-6-luna": (0.10, 0.01, 0.50, 0.221),
}

shares = st.floats(0, 1)


def offer(model, requests=AZURE):
    per_input, per_cached, per_output, _ = LIST_PRICES[model]

    def bill(usd_per_mtok):
        tokens = requests.sum()
        return Bill(
            tokens["input_tokens"] * usd_per_mtok / 1e6, tokens["output_tokens"] * per_output / 1e6
        )

    parts = [bill(usd) for usd in (per_input, per_cached, 1.25 * per_input)]
    return token_price("proprietary_api", requests, *parts, (1.0,))


@pytest.mark.parametrize("model", LIST_PRICES)
def test_a_thousand_azure_requests_cost_what_was_published(model):
    found = 1000 * api_usd_per_request(offer(model), 1155, 211)
    assert found == pytest.approx(LIST_PRICES[model][3], rel=5e-3)


def test_the_mix_of_azure_requests_costs_what_its_mean_request_does():
    mix = token_mix("azure_conversation_2023")
    requests = mix.loc[mix.index.repeat(mix["requests"])].rename(
        columns={"input_tokens_mean": "input_tokens", "output_tokens_mean": "output_tokens"}
    )
    price = offer("gpt-4o", requests)
    assert (round(price.input_tokens), round(price.output_tokens)) == (1155, 211)
    found = 1000 * api_usd_per_request(price, price.input_tokens, price.output_tokens)
    assert found == pytest.approx(5.00, abs=0.01)


@given(shares, shares, st.floats(0, 0.5), st.floats(1, 1e5), st.floats(1, 1e4))
def test_caching_and_retries_are_billed_as_by_hand(read, of_rest, retries, tokens_in, tokens_out):
    written = of_rest * (1 - read)
    found = api_usd_per_request(offer("gpt-4o"), tokens_in, tokens_out, read, written, retries)
    fresh = tokens_in * (1 - read - written)
    prompt = fresh * 2.50 + tokens_in * (read * 1.25 + written * 1.25 * 2.50)
    by_hand = (prompt + tokens_out * 10.00) / 1e6
    assert found == pytest.approx(by_hand + retries * by_hand)


def test_a_bill_takes_arrays_as_it_takes_numbers():
    price, cached = offer("gpt-4o"), np.array([0.0, 0.5, 1.0])
    singly = [api_usd_per_request(price, 1155, 211, c) for c in cached]
    assert api_usd_per_request(price, 1155, 211, cached).tolist() == pytest.approx(singly)


def test_no_requests_is_an_error_that_says_so():
    free = Bill(0.0, 0.0)
    with pytest.raises(ValueError, match="no requests"):
        token_price("proprietary_api", AZURE.head(0), free, free, free, (1.0,))


@given(st.floats(0.1, 20), st.floats(0.3, 1), st.floats(0.1, 20), shares, shares)
def test_a_mix_of_commitments_costs_its_weighted_mean(on_demand, reserved, spot, a, b):
    first, second, third = min(a, b), abs(a - b), 1 - max(a, b)
    found = committed_usd_per_gpu_hour(on_demand, reserved, spot, first, second, third)
    rents = [on_demand, reserved * on_demand, spot]
    assert found == pytest.approx(np.average(rents, weights=[first, second, third]))


@given(
    st.floats(1e3, 1e6),
    st.floats(0, 0.9),
    st.integers(1, 120),
    st.one_of(st.just(0.0), st.floats(1e-4, 0.5)),
)
def test_what_months_bring_in_is_worth_the_purchase_less_what_its_sale_is_worth(
    bought, residual_share, months, rate
):
    month = capital_month_usd(bought, residual_share * bought, months, rate)
    worth = sum(month / (1 + rate) ** (m / 12) for m in range(1, months + 1))
    sale = residual_share * bought / (1 + rate) ** (months / 12)
    assert worth + sale == pytest.approx(bought, rel=1e-9)


def test_an_hour_of_an_owned_gpu_is_what_its_purchase_and_its_socket_cost_by_hand():
    card = OwnedGpu(30_000, 0.4, 0.05, 48, 0.1, 0.0, 0.05, 1260, 0.7, 1.4, 0.09, 184)
    bought = 30_000 * 1.4 * 1.05
    by_hand = {
        "depreciation": 0.9 * bought / 48 / 730,
        "cost of capital": 0.0,
        "maintenance": 0.05 * bought / 8760,
        "electricity and cooling": 1.26 * 0.7 * 1.4 * 0.09,
        "colocation": 1.26 * 184 / 730,
    }
    assert owned_gpu_hour_parts(card) == pytest.approx(by_hand)
    assert owned_usd_per_gpu_hour(card) == pytest.approx(sum(by_hand.values()))


def test_a_month_of_one_replica_is_730_hours_of_its_gpus():
    hours = 365 * 24 / 12
    assert replica_month_usd(2.29, 1, 0.0) == pytest.approx(2.29 * hours)
    assert replica_month_usd(3.50, 4, 0.25) == pytest.approx(4 * 3.50 * hours * 1.25)


@pytest.mark.parametrize(
    ("usd_per_gpu_hour", "requests_per_s", "usd_per_1k"),
    [
        (2.29, 22.7, 0.028),  # 8B FP8 on H100
        (6.88, 22.7, 0.084),  # the same at AWS
        (1.861, 6.5, 0.080),  # 8B FP8 on L40S
        (3.39, 4.2, 0.226),  # 70B FP8 on H200, TPOT 71 ms
        (3.39, 2.1, 0.444),  # and at 34 ms
    ],
)
def test_a_full_gpu_serves_a_thousand_requests_for_what_was_published(
    usd_per_gpu_hour, requests_per_s, usd_per_1k
):
    month = replica_month_usd(usd_per_gpu_hour, 1, 0.0)
    carried = requests_per_replica(requests_per_s, 1.0, 1.0)
    assert 1000 * month / carried == pytest.approx(usd_per_1k, rel=0.02)


@given(st.floats(0.1, 100), st.floats(1, 10), st.floats(0.1, 1))
def test_a_replica_in_its_peak_hour_runs_at_the_target(capacity, peak_to_mean, target):
    carried = requests_per_replica(capacity, peak_to_mean, target)
    peak_hour = carried / 730 * peak_to_mean
    assert peak_hour / (capacity * 3600) == pytest.approx(target)


def test_ten_million_tokens_of_the_source_memos_small_tier_cost_six_dollars():
    # T1: USD 0.60 per million tokens, 10M tokens a month
    assert usd_per_million_tokens(6.0, 10_000, 1_000) == pytest.approx(0.60)


def test_an_accepted_answer_costs_what_its_failed_attempts_cost_too():
    rng = np.random.default_rng(5)
    accepted = rng.random(200_000) < 0.8
    spent = 0.005 * len(accepted) / accepted.sum()
    assert usd_per_accepted_answer(0.005, 0.8) == pytest.approx(spent, rel=0.01)


def test_a_route_without_any_accepted_answer_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="accept"):
        usd_per_accepted_answer(0.005, 0.0)


def test_a_token_price_is_split_so_that_its_parts_add_up():
    price = offer("gpt-4o")
    whole = price.uncached_input_usd + price.output_usd
    assert isinstance(price, TokenPrice)
    assert whole == pytest.approx(api_usd_per_request(price, 1155, 211))


# ---- month_bills ----------------------------------------------------------------------------


def routes(n):
    return pd.MultiIndex.from_product([["chat"], [f"r{i}" for i in range(n)]])


@given(st.lists(st.floats(1e-7, 0.1), min_size=1, max_size=4), st.floats(0, 0.5))
def test_the_bills_of_a_frame_are_those_of_its_rows(uncached_usd, cached_share):
    index = routes(len(uncached_usd))
    prices = pd.DataFrame(
        {
            "uncached_input_usd": uncached_usd,
            "cached_input_usd": np.array(uncached_usd) / 2,
            "written_input_usd": np.array(uncached_usd) * 1.25,
            "output_usd": 0.002,
            "input_tokens": 1000.0,
            "output_tokens": 200.0,
        },
        index,
    )
    usage = pd.DataFrame(
        {
            "requests_per_month": 1e6,
            "input_tokens": 1500.0,
            "output_tokens": 100.0,
            "cached_input_share": cached_share,
            "cache_write_share": 0.1,
            "retry_share": 0.02,
            "tool_usd": 0.0003,
        },
        index,
    )
    bills = month_bills(prices, usage)
    for usd, (_, bill) in zip(uncached_usd, bills.iterrows(), strict=True):
        prompt = usd * (1 - cached_share - 0.1 + cached_share / 2 + 0.125) * 1.5
        request = (prompt + 0.001) * 1.02 + 0.0003
        assert bill["usd_per_request"] == pytest.approx(request)
        assert bill["month_usd"] == pytest.approx(1e6 * request)


def test_prices_of_other_routes_than_the_usage_are_refused():
    with pytest.raises(ValueError, match="the same index"):
        month_bills(pd.DataFrame(index=routes(2)), pd.DataFrame(index=routes(3)))
