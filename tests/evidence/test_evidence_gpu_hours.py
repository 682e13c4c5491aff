"""An hour of a route's GPUs: bought ones, and what their figure says of itself."""

from dataclasses import replace

import numpy as np
import pytest

from llmstudy import paths
from llmstudy.evidence import gpu_hours
from llmstudy.figure import Figure
from llmstudy.measures import capacity
from llmstudy.prices.gpu import OwnedGpu, owned_usd_per_gpu_hour
from llmstudy.study import OwnedGpus, bundled_figures, load

ROUTE = "h200-llama-3.1-70b"


def usd(value, low=None, high=None, grade="assumed"):
    kind = "fixed" if low is None else "triangular"
    return Figure("", value, "USD/GPU", low, high, kind, grade, "a quote")


def owned_route(**given):
    """The default study's fleet on cards of its own."""
    route = load(paths.params("default.yaml")).routes[ROUTE]
    owned = OwnedGpus(price=usd(36_000), **given)
    return route.model_copy(update={"rented_from": None, "commitment": None, "owned": owned})


def everything_certain(route):
    """The route with the range taken from every figure of its cards."""
    names = type(route.owned).model_fields
    power = Figure("", 1260.0, "W/GPU", source="meter")
    held = {
        name: replace(figure, low=None, high=None, distribution="fixed")
        for name in names
        if (figure := getattr(route.owned, name) or power)
    }
    return route.model_copy(update={"owned": route.owned.model_copy(update=held)})


def test_an_owned_hour_is_the_closed_form_at_the_bundled_figures():
    bundled = {name: figure.value for name, figure in bundled_figures().items()}
    watts = capacity.gpu("h200_sxm").power_w * bundled["owned.power_factor"]
    by_hand = owned_usd_per_gpu_hour(
        OwnedGpu(
            36_000,
            bundled["owned.server_share"],
            bundled["owned.spares_share"],
            bundled["owned.life"],
            bundled["owned.residual_share"],
            bundled["owned.cost_of_capital"],
            bundled["owned.maintenance"],
            watts,
            bundled["owned.load_share"],
            bundled["owned.pue"],
            bundled["owned.electricity_usd"],
            bundled["owned.colocation_usd"],
        )
    )
    found = gpu_hours.gpu_hour(owned_route(), 0.05)
    assert found.value == pytest.approx(by_hand)
    assert found.unit == "USD/h"
    assert found.low < found.value < found.high


def test_the_range_holds_what_most_draws_of_the_figures_come_to():
    """The quadrature of single moves, against 4,000 draws of all figures at once."""
    route = owned_route()
    found = gpu_hours.gpu_hour(route, 0.0)
    figures, rng = gpu_hours._figures(route), np.random.default_rng(3)
    drawn = OwnedGpu(**{field: f.quantile(rng.random(4000)) for field, f in figures.items()})
    usd_per_hour = np.asarray(owned_usd_per_gpu_hour(drawn))
    assert ((found.low <= usd_per_hour) & (usd_per_hour <= found.high)).mean() > 0.95
    assert found.high - found.low < 2 * np.ptp(usd_per_hour)


def test_with_one_uncertain_figure_the_range_is_its_own():
    route = everything_certain(owned_route())
    life = replace(route.owned.life, low=36.0, high=72.0, distribution="triangular")
    owned = route.owned.model_copy(update={"life": life})
    found = gpu_hours.gpu_hour(route.model_copy(update={"owned": owned}), 0.0)
    ends = [
        float(owned_usd_per_gpu_hour(gpu_hours._gpu(gpu_hours._figures(route), life_months=months)))
        for months in (72.0, 36.0)
    ]
    assert (found.low, found.high) == pytest.approx(ends)
    assert found.grade == life.grade


def test_what_nothing_moves_has_no_range_and_the_grade_of_its_price():
    route = everything_certain(owned_route())
    priced = route.owned.model_copy(update={"price": usd(36_000, grade="published")})
    found = gpu_hours.gpu_hour(route.model_copy(update={"owned": priced}), 0.0)
    assert (found.low, found.high) == (found.value, found.value)
    assert found.grade == "published"
    assert not found.uncertain


def test_parts_of_an_owned_hour_add_up_and_say_what_moves_them_most():
    rows = gpu_hours.owned_hour_parts(ROUTE, owned_route())
    parts = {row["part"]: row for row in rows}
    whole = parts.pop("in all")
    assert sum(row["usd_per_gpu_hour"] for row in parts.values()) == pytest.approx(
        whole["usd_per_gpu_hour"]
    )
    assert parts["depreciation"]["decided_by"] in ("life", "server")
    assert parts["cost of capital"]["decided_by"] == "cost of capital"
    assert parts["colocation"]["source"] == bundled_figures()["owned.colocation_usd"].source
    for row in rows:
        assert 0 <= row["low_usd"] <= row["usd_per_gpu_hour"] <= row["high_usd"]


def test_a_rented_route_has_no_part_of_capital_and_no_owned_hour():
    rented = load(paths.params("default.yaml")).routes[ROUTE]
    assert gpu_hours.capital_share(rented) == 0
    assert gpu_hours.owned_hour_parts(ROUTE, rented) == []
    assert (gpu_hours.reserved_share(owned_route()), gpu_hours.term_months(owned_route())) == (
        0,
        48,
    )
    parts = {row["part"]: row for row in gpu_hours.owned_hour_parts(ROUTE, owned_route())}
    bought = sum(parts[p]["usd_per_gpu_hour"] for p in ("depreciation", "cost of capital"))
    share = gpu_hours.capital_share(owned_route())
    assert share == pytest.approx(bought / parts["in all"]["usd_per_gpu_hour"])


def test_power_that_is_stated_stands_for_the_cards_own():
    stated = Figure("", 900.0, "W/GPU", source="meter")
    less = gpu_hours.gpu_hour(owned_route(power=stated), 0.0).value
    assert less < gpu_hours.gpu_hour(owned_route(), 0.0).value
