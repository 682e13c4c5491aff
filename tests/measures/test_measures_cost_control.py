from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy.measures.cost import (
    CONTROLS,
    TokenPrice,
    Use,
    control_savings,
    controlled,
    largest_tenant_share,
)
from llmstudy.study import bundled_figures

# GPT-4o at USD 2.50, 1.25 cached and 10 a million tokens: 1,000 in and 200 out
PRICE = TokenPrice(
    "proprietary_api", 1000 * 2.5e-6, 1000 * 1.25e-6, 200 * 10e-6, 1000, 200, (1.0,), 1000 * 2.5e-6
)
USE = Use(1e6, 1000, 200, 0.2, 0.0, 0.04, 0.5)


def savings(use: Use = USE) -> pd.DataFrame:
    return control_savings(PRICE, use, bundled_figures()).set_index("control")


def test_todays_bill_is_the_list_price_of_its_tokens():
    # 0.8 of the input at 2.50, 0.2 at 1.25, output at 10, and 4 % of the calls twice
    assert USE.month_usd(PRICE) == pytest.approx(1.04 * (800 * 2.5 + 200 * 1.25 + 200 * 10))


@pytest.mark.parametrize(
    ("control", "to", "expected"),
    [
        ("token budget", 0.85, 1.04 * 0.15 * 2000),
        ("compressed context", 0.75, 1.04 * 0.25 * (2000 + 250)),
        ("caching", 0.5, 1.04 * 0.3 * 1250),
        ("retry budget", 0.005, 0.035 * 4250),
        ("tenant quota", 0.2, 0.3 * 1.04 * 4250),
        ("cap on loops", 2.0, 1.04 * 4250),
    ],
)
def test_a_control_saves_what_its_tokens_cost(control, to, expected):
    row = savings().loc[control]
    assert row["to"] == to
    assert row["saving_usd"] == pytest.approx(expected)
    assert row["saving_low_usd"] <= row["saving_usd"] <= row["saving_high_usd"]


def test_every_control_has_a_graded_figure():
    assert set(CONTROLS.values()) <= set(bundled_figures())
    assert savings()["grade"].eq("assumed").all()


def test_a_use_that_is_under_control_already_saves_nothing():
    tight = replace(USE, cached_input_share=0.9, retry_share=0.0, largest_tenant_share=0.05)
    found = savings(tight)
    assert found.loc[["caching", "retry budget", "tenant quota"], "saving_usd"].eq(0).all()


def test_of_a_bill_of_nothing_no_share_is_saved():
    free = replace(PRICE, uncached_input_usd=0.0, cached_input_usd=0.0, output_usd=0.0)
    found = control_savings(replace(free, written_input_usd=0.0), USE, bundled_figures())
    assert found["share_of_bill"].isna().all()


def test_a_quota_saves_an_unknown_sum_where_no_tenant_is_named():
    row = savings(replace(USE, largest_tenant_share=None)).loc["tenant quota"]
    assert pd.isna(row["saving_usd"])


@given(st.sampled_from(sorted(CONTROLS)), st.floats(0, 10))
def test_no_control_makes_the_bill_larger(control, to):
    without, under = controlled(USE, control, to)
    assert under.month_usd(PRICE) <= without.month_usd(PRICE) + 1e-9


def test_an_unknown_control_is_refused():
    with pytest.raises(ValueError, match='"prayer" is not a control'):
        controlled(USE, "prayer", 0.5)


def test_the_busiest_tenant_is_counted_among_named_requests():
    assert largest_tenant_share(pd.DataFrame({"tenant": ["a", "a", "b", None]})) == 2 / 3
    assert largest_tenant_share(pd.DataFrame({"tenant": [None, None]})) is None
    assert largest_tenant_share(pd.DataFrame({"ok": [True]})) is None
