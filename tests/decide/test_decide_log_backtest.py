"""The rules played through a log: the week in which each would have fired."""

from datetime import date

import pandas as pd
import pytest

from llmstudy.decide.triggers.today import log_backtest
from tests.logs import with_log

MONDAY = pd.Timestamp("2026-09-07", tz="UTC")
USD_A_REQUEST = 0.0025 * 1.2 + 0.010 * 0.5
"""gpt-4o at USD 2.50 and 10.00 per million tokens: 1,200 tokens in, nothing cached, and 500 out."""


def logged(case, requests_a_week):
    """The case with a log of support-chat: so many requests in each week, at even distances."""
    starts = [
        MONDAY + pd.Timedelta(weeks=week) + pd.Timedelta(hours=168) * i / n
        for week, n in enumerate(requests_a_week)
        for i in range(n)
    ]
    one = case.traffic.of("support-chat").iloc[[0]]
    rows = one.iloc[[0] * len(starts)].assign(
        ts_start=starts,
        request_id=[str(i) for i in range(len(starts))],
        input_tokens=1200,
        cached_input_tokens=0,
        output_tokens=500,
    )
    return with_log(case, rows)


@pytest.fixture(scope="module")
def found(assessed):
    return assessed("default")


def scaled(found, factor):
    """The results with every token of today's route that much dearer: few rows, a large bill."""
    offers = {
        name: {
            route: {
                **offer,
                **{key: factor * offer[key] for key in offer if key.endswith("_usd")},
            }
            for route, offer in routes.items()
        }
        for name, routes in found.results["02_cost"]["offers"].items()
    }
    return {**found.results, "02_cost": {**found.results["02_cost"], "offers": offers}}


def week_of(rows, rule):
    [row] = [row for row in rows if row["rule"] == rule]
    return row["week"]


def test_the_spend_rule_fires_at_the_end_of_the_fourth_week_above_its_level(found):
    # 200 requests a week of 730 / 168 weeks a month: so dear that they pass USD 10,000 a month
    factor = 1.05 * 10_000 / (200 * 730 / 168 * USD_A_REQUEST)
    rows = log_backtest(logged(found.case, [20, 200, 200, 200, 200, 200]), scaled(found, factor))
    assert week_of(rows, "architect") == date(2026, 10, 5)
    assert week_of(rows, "challenger_low") is None
    assert {row["weeks"] for row in rows} == {6}


def test_three_weeks_above_the_level_fire_nothing(found):
    factor = 1.05 * 10_000 / (200 * 730 / 168 * USD_A_REQUEST)
    rows = log_backtest(logged(found.case, [200, 200, 200, 20, 20]), scaled(found, factor))
    assert week_of(rows, "architect") is None


def test_what_a_log_does_not_tell_is_named(found):
    rows = log_backtest(logged(found.case, [50] * 5), found.results)
    [strategist] = [row for row in rows if row["rule"] == "strategist"]
    assert "utilisation over break-even" in strategist["not_judged"]


def test_drawn_traffic_is_no_log(found):
    assert log_backtest(found.case, found.results) == []
