from datetime import date

import pandas as pd
import pytest

from llmstudy import paths
from llmstudy.figure import GRADES
from llmstudy.prices import (
    RESERVED_PRICE_SHARE,
    PriceError,
    gpu,
    gpu_price,
    gpu_price_findings,
    gpu_prices,
)


def quotes(*rows):
    columns = ["gpu", "provider", "region", "commitment", "usd_per_gpu_hour", "as_of"]
    table = pd.DataFrame(rows, columns=columns).assign(grade="published", source="a list")
    return table.assign(as_of=pd.to_datetime(table["as_of"]))


def test_a_gpu_price_is_ranged_by_what_all_providers_ask():
    h100 = gpu_price("h100_sxm", "nebius", "on_demand")
    assert (h100.value, h100.low, h100.high, h100.unit) == (2.95, 2.29, 10.98, "USD/h")
    assert (h100.distribution, h100.grade, h100.as_of) == ("loguniform", "published", None)
    spot = gpu_price("h100_sxm", "verda", "spot")
    assert (spot.value, spot.low, spot.high) == (0.80, 0.80, 2.51)


def test_the_newest_quote_of_an_offer_counts_and_then_the_cheapest():
    index = gpu_price("h100_sxm", "market", "reserved_1y")
    assert (index.value, index.as_of) == (2.65, date(2026, 6, 1))
    node = gpu_price("h100_sxm", "lambda", "on_demand")
    assert node.value == 3.99
    assert node.source.endswith("(8x)")


def test_a_gpu_price_that_is_not_listed_is_an_error_that_says_what_is():
    with pytest.raises(PriceError, match=r"available: a10, .*h100_sxm"):
        gpu_price("h1000", "aws", "on_demand")
    with pytest.raises(PriceError, match="available: h100_nvl azure us on_demand"):
        gpu_price("h100_nvl", "aws", "on_demand")
    with pytest.raises(PriceError, match="no GPU price for h100_sxm aws on_demand eu-west-1"):
        gpu_price("h100_sxm", "aws", "on_demand", region="eu-west-1")


def test_a_price_in_several_regions_needs_the_region(monkeypatch):
    table = quotes(
        ("h100", "aws", "east", "on_demand", 6.0, "2026-11-01"),
        ("h100", "aws", "west", "on_demand", 7.0, "2026-11-01"),
    )
    monkeypatch.setattr(gpu, "gpu_prices", lambda: table)
    with pytest.raises(PriceError, match="name one of east, west"):
        gpu_price("h100", "aws", "on_demand")
    assert gpu_price("h100", "aws", "on_demand", "west").value == 7.0


def test_findings_show_prices_that_look_wrong_old_or_unsettled():
    table = quotes(
        ("h100", "gcp", "east", "on_demand", 2.0, "2026-11-01"),
        ("h100", "gcp", "east", "spot", 2.1, "2026-11-01"),
        ("h100", "gcp", "west", "on_demand", 3.3, "2026-05-26"),
        ("h100", "aws", "east", "on_demand", 6.0, None),
        ("l4", "aws", "east", "on_demand", 0.8, "2025-01-01"),
        ("l4", "aws", "east", "on_demand", 0.9, "2026-11-01"),
    )
    found = [(f.severity, f.subject) for f in gpu_price_findings(table, date(2026, 11, 23))]
    assert found == [
        ("warning", "h100 gcp east"),  # spot above on demand
        ("warning", "h100 gcp"),  # 1.65 times between regions
        ("stale", "h100 gcp west"),  # 181 days; the old l4 quote is replaced by the newer one
        ("warning", "h100"),  # no date
        ("info", "h100"),
        ("info", "l4"),
    ]


def test_credible_prices_raise_no_alarm():
    table = quotes(
        ("h100", "gcp", "east", "on_demand", 2.0, "2026-11-01"),
        ("h100", "gcp", "east", "spot", 2.0, "2026-11-01"),
        ("h100", "gcp", "west", "on_demand", 3.2, "2026-05-27"),
    )
    severities = {f.severity for f in gpu_price_findings(table, date(2026, 11, 23))}
    assert severities == {"info"}


def test_reserved_hours_cost_less_than_on_demand_ones():
    assert 0 < RESERVED_PRICE_SHARE.low < RESERVED_PRICE_SHARE.value < RESERVED_PRICE_SHARE.high < 1


# --- The bundled table ----------------------------------------------------------------------------


def test_every_gpu_price_has_a_known_grade_and_a_date_or_a_note_why_not():
    table = gpu_prices()
    assert set(table["grade"]) <= set(GRADES)
    assert (table["as_of"].notna() ^ (table["as_of_note"] != "")).all()
    assert set(table["commitment"]) == {"on_demand", "spot", "reserved_1y"}


def test_every_gpu_price_has_a_source_and_a_licence():
    table = gpu_prices()
    assert not table.empty
    assert table[["source", "licence"]].ne("").all(axis=None)


@pytest.mark.shared
def test_gpu_prices_are_those_that_were_researched():
    shared = paths.ROOT.parent / "shared" / "figures" / "gpu_prices.csv"
    if not shared.exists():
        pytest.skip("no shared figures beside the checkout")
    ours, theirs = gpu_prices(), pd.read_csv(shared)
    columns = ["provider", "region", "usd_per_gpu_hour", "commitment"]
    pd.testing.assert_frame_equal(ours[columns], theirs[columns])
