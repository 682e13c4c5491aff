"""A quote of one's own for a rented GPU, in place of the public list's price."""

import pytest

from llmstudy.evidence import gpu_hours
from llmstudy.study import load

ROUTE = "h200-llama-3.1-70b"


def test_a_quote_takes_the_place_of_the_list_under_the_same_discount(variant):
    listed = load(variant("default")).routes[ROUTE]
    quoted = load(
        variant(
            "default",
            ("rented_from: nebius", "rented_from: nebius\n    on_demand_quote: 7 USD/h"),
        )
    ).routes[ROUTE]
    before, after = (gpu_hours.gpu_hour(route, 0.0) for route in (listed, quoted))
    # 40 % on demand, and 60 % at 55 to 80 % of that
    assert after.value == pytest.approx(7 * (0.4 + 0.6 * 0.675))
    assert (after.low, after.high) == (pytest.approx(5.11), pytest.approx(6.16))
    assert after.low / before.low == pytest.approx(after.value / before.value)
    assert after.name == before.name  # the same discount is drawn for both


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("on_demand_quote: 2.5", "a unit is missing"),
        (
            "on_demand_quote: {value: 2, unit: USD/h, range: [1, 3], source: host, "
            "as_of: 2026-11-01, grade: published}",
            "a quote is one price",
        ),
    ],
)
def test_a_quote_without_a_unit_or_with_a_range_is_refused(variant, written, said):
    with pytest.raises(ValueError, match=said):
        load(variant("default", ("rented_from: nebius", f"rented_from: nebius\n    {written}")))


def test_gpus_that_are_owned_have_no_quote(variant):
    owned = "owned: {price: 30000 USD/GPU}\n    on_demand_quote: 2 USD/h"
    mix = "rented_from: nebius\n    commitment: {on_demand: 40 %, reserved: 60 %, spot: 0 %}"
    with pytest.raises(ValueError, match="has `owned` and on_demand_quote as well"):
        load(variant("default", (mix, owned)))
