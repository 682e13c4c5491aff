"""The futures of a move, against the other ways in which the package adds up the same money."""

import numpy as np
import pytest

from llmstudy.assess.case import open_case
from llmstudy.assess.cost import cost_tables
from llmstudy.assess.futures import futures_of_moves, futures_of_routes
from llmstudy.assess.hosting import hosting_tables
from llmstudy.assess.market import market, portfolio_saving, saving_draws
from llmstudy.canonical import plain
from llmstudy.study import load

FLEETS = {"support-chat": "h200-llama-3.1-70b", "extraction": "h200-llama-3.1-70b"}
N = 4000


@pytest.fixture(scope="module")
def priced():
    case = open_case(load("params/default.yaml"))
    return case.study, market(plain(cost_tables(case)), plain(hosting_tables(case)))


@pytest.mark.parametrize("route", ["novita-llama-3.1-70b", "h200-llama-3.1-70b"])
def test_what_a_move_saves_by_the_end_is_its_saving_over_the_horizon(priced, route):
    study, offers = priced
    future = futures_of_routes(study, offers, "extraction", [route], study.months, N)[route]
    expected = saving_draws(study, offers, "extraction", route)
    assert future.saving_by_month()[:, -1] == pytest.approx(expected)


def test_workloads_that_move_together_pay_one_team(priced):
    study, offers = priced
    future = futures_of_moves(study, offers, FLEETS, study.months, N)
    expected = portfolio_saving(study, offers, FLEETS)
    assert future.saving_by_month()[:, -1] == pytest.approx(expected)


def test_beginning_now_costs_what_staying_costs_less_what_moving_saves(priced):
    study, offers = priced
    future = futures_of_moves(study, offers, FLEETS, 30, 500)
    costs = future.switch_costs()
    saved = future.saving_by_month()[:, -1]
    assert costs[:, -1] - costs[:, 0] == pytest.approx(saved)
    assert costs[:, -1] == pytest.approx(future.stay_usd.sum(axis=1))


def test_the_cost_of_beginning_in_a_month_is_what_a_loop_over_months_adds_up_to(priced):
    study, offers = priced
    future = futures_of_moves(study, offers, FLEETS, 18, 6)
    costs = future.switch_costs()
    for i in range(6):
        for start in (0, 5, 17):
            ramp, total = future.ramp_months[i], future.once_usd[i]
            cutover = int(np.ceil(start + ramp))
            for month in range(18):
                moved = min(1.0, max(0.0, month + 1 - start - ramp))
                stay, go = future.stay_usd[i, month], future.go_usd[i, month]
                total += (1 - moved) * stay + moved * go
                total += future.team_usd[i] if month >= start else 0.0
                total += future.dual_months[i] * go if month == cutover else 0.0
            assert costs[i, start] == pytest.approx(total)


def test_the_month_from_which_moving_stays_cheaper_is_the_first_after_the_last_dearer_one(priced):
    study, offers = priced
    future = futures_of_moves(study, offers, FLEETS, 60, 300)
    found, go = future.cheaper_from_month(), future.with_team()
    assert 0.05 < np.isinf(found).mean() < 0.95
    for i, month in enumerate(found):
        dearer = go[i] > future.stay_usd[i]
        if np.isinf(month):
            assert dearer[-1]
        else:
            assert not dearer[int(month) :].any()
            assert month == 0 or dearer[int(month) - 1]


def test_a_buyer_who_follows_the_market_pays_no_more_on_average_and_moving_then_pays_less(priced):
    study, offers = priced
    named, wary = (
        futures_of_moves(study, offers, FLEETS, 24, N, buyer)
        for buyer in ("named_model", "same_quality")
    )
    assert wary.stay_usd.sum(axis=1).mean() < named.stay_usd.sum(axis=1).mean()
    assert (wary.go_usd == named.go_usd).all()
    assert (wary.price <= named.price + 1e-12).mean() > 0.9
