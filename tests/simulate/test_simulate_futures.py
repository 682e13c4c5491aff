"""The futures of a move, against a loop over months in plain Python."""

from dataclasses import replace

import numpy as np
import pytest

from llmstudy import simulate
from llmstudy.simulate.futures import futures_of_moves, futures_of_routes, portfolio_saving
from llmstudy.simulate.inputs import draws_with_paths, pair_inputs, staff_draws

OWN, HOSTED = "h200-llama-3.1-70b", "novita-llama-3.1-70b"
FLEETS = {"support-chat": OWN, "extraction": OWN}
N = 4000


def on_a_fleet_today(study):
    """The study with support-chat on the fleet, and gpt-4o among its candidates."""
    chat = study.workloads["support-chat"]
    moved = chat.model_copy(update={"current_route": OWN, "candidates": ("openai-gpt-4o", HOSTED)})
    return study.model_copy(update={"workloads": {**study.workloads, "support-chat": moved}})


@pytest.mark.parametrize("route", [HOSTED, OWN])
def test_with_no_path_a_move_saves_what_the_model_of_the_sensitivity_says(priced, route):
    study, offers = priced
    still = study.workloads["extraction"].volatility
    flat = replace(still, value=0.0, low=None, high=None, distribution="fixed")
    calm = study.price_paths.model_copy(update={"jumps": flat, "gpu_volatility": flat})
    quiet = study.workloads["extraction"].model_copy(update={"volatility": flat})
    study = study.model_copy(
        update={"price_paths": calm, "workloads": {**study.workloads, "extraction": quiet}}
    )
    found = portfolio_saving(study, offers, {"extraction": route})
    drawn = draws_with_paths(study, "extraction", pair_inputs(study, offers, "extraction", route))
    d = {name: x for name, x in drawn.items() if not name.startswith(simulate.PATH)}
    current, offer = (offers.offer("extraction", r) for r in ("openai-gpt-4o", route))
    assert found == pytest.approx(simulate.move_saving(current, offer, study.months)(d))


def rent(held, i, month, signed):
    """Of a month in a term, by what was signed for as it began and what more it needs."""
    needed, price, of = held.usd[i], held.market[i], held.terms
    kept = of.share * needed[signed]
    more = of.on_demand(needed[month]) - kept / of.price_share
    return kept * price[signed] + max(more, 0.0) * price[month]


@pytest.mark.parametrize(("start", "rate"), [(0, 0.0), (5, 0.0), (17, 0.0), (0, 0.1), (7, 0.1)])
def test_the_cost_of_beginning_in_a_month_is_what_a_loop_over_months_adds_up_to(
    priced, start, rate
):
    study, offers = priced
    future = futures_of_moves(study, offers, FLEETS, 18, 6)
    future = replace(future, discount_rate=np.full(6, rate))
    costs = future.switch_costs()
    for i in range(6):
        ramp, total = future.ramp_months[i], future.once_usd[i] / (1 + rate) ** (start / 12)
        cutover = int(np.ceil(start + ramp))
        for month in range(18):
            moved = min(1.0, max(0.0, month + 1 - start - ramp))
            go = future.go_usd[i, month]
            if month >= start:  # the reservation was signed when the move began
                signed = start + (month - start) // 12 * 12
                go += sum(
                    rent(held, i, month, signed) - rent(held, i, month, month // 12 * 12)
                    for held in future.reserved
                )
            paid = (1 - moved) * future.stay_usd[i, month] + moved * go
            paid += future.team_usd[i] if month >= start else 0.0
            paid += future.dual_months[i] * go if month == cutover else 0.0
            total += paid / (1 + rate) ** ((month + 1) / 12)
        assert costs[i, start] == pytest.approx(total)


def test_beginning_now_costs_what_staying_costs_less_what_moving_saves(priced):
    study, offers = priced
    future = futures_of_moves(study, offers, FLEETS, 30, 500)
    costs, saved = future.switch_costs(), future.saving_by_month()[:, -1]
    assert costs[:, -1] - costs[:, 0] == pytest.approx(saved)
    assert costs[:, -1] == pytest.approx(future.stay_usd.sum(axis=1))


def test_workloads_that_move_together_pay_one_team_and_one_platform(priced):
    study, offers = priced
    future = futures_of_moves(study, offers, FLEETS, study.months, N)
    together = future.saving_by_month()[:, -1]
    assert together == pytest.approx(portfolio_saving(study, offers, FLEETS))
    apart = sum(portfolio_saving(study, offers, {name: OWN}) for name in FLEETS)
    own, hosted = (study.moving[arm].cost.value for arm in ("self_hosted", "hosted_open"))
    spared = staff_draws(study).mean() * study.months + own - hosted
    assert (together - apart).mean() == pytest.approx(spared, rel=0.1)


def test_leaving_the_only_fleet_spares_its_team_as_the_move_proceeds(priced):
    study, offers = priced
    study = on_a_fleet_today(study)
    future = futures_of_routes(study, offers, "support-chat", [HOSTED], 24, N)[HOSTED]
    saved = future.saving_by_month()[:, -1]
    moved = simulate.moved_share(future.ramp_months, 24).sum(axis=1)
    without = replace(future, team=0).saving_by_month()[:, -1]
    assert saved - without == pytest.approx(staff_draws(study) * moved)
    assert saved == pytest.approx(portfolio_saving(study, offers, {"support-chat": HOSTED}))


def test_a_second_fleet_finds_the_team_and_the_platform_there(priced):
    study, offers = priced
    study = on_a_fleet_today(study)
    future = futures_of_routes(study, offers, "extraction", [OWN], 24, N)[OWN]
    assert future.team == 0
    assert future.once_usd.mean() < 0.5 * study.moving["self_hosted"].cost.value
    assert future.saving_by_month()[:, -1] == pytest.approx(
        portfolio_saving(study, offers, {"extraction": OWN})
    )


def test_a_move_pays_from_the_first_month_by_whose_end_it_has_earned_its_cost_for_good(priced):
    study, offers = priced
    future = futures_of_moves(study, offers, FLEETS, 60, 300)
    found, saved = future.pays_from_month(), future.saving_by_month()
    assert 0.05 < np.isinf(found).mean() < 0.95
    for i, month in enumerate(found):
        if np.isinf(month):
            assert saved[i, -1] <= 0
        else:
            assert (saved[i, int(month) - 1 :] > 0).all()
            assert month == 1 or saved[i, int(month) - 2] <= 0


def test_what_is_still_owed_on_leaving_is_the_rest_of_the_term(priced):
    study, offers = priced
    for held in futures_of_moves(study, offers, FLEETS, 30, 50).reserved:
        signed = held.terms.share * held.usd * held.market
        assert (held.unused_usd(12) == 0).all()
        assert held.unused_usd(3) == pytest.approx(9 * signed[:, 0])
        assert held.unused_usd(14) == pytest.approx(10 * signed[:, 12])


def test_a_buyer_who_follows_the_market_pays_less_on_average_and_moving_stays_the_same(priced):
    study, offers = priced
    named, wary = (
        futures_of_moves(study, offers, FLEETS, 24, N, buyer)
        for buyer in ("named_model", "same_quality")
    )
    assert wary.stay_usd.sum(axis=1).mean() < named.stay_usd.sum(axis=1).mean()
    assert (wary.go_usd == named.go_usd).all()


def test_in_a_market_that_never_falls_both_buyers_pay_the_same(priced):
    study, offers = priced
    paths = study.price_paths
    certain = {"low": None, "high": None, "distribution": "fixed"}
    still = {
        "same_quality": replace(paths.same_quality, value=1.0, **certain),
        "jumps": replace(paths.jumps, value=0.0, **certain),
    }
    study = study.model_copy(update={"price_paths": paths.model_copy(update=still)})
    named, wary = (
        futures_of_routes(study, offers, "extraction", [HOSTED], 24, 500, buyer)[HOSTED]
        for buyer in ("named_model", "same_quality")
    )
    assert wary.stay_usd == pytest.approx(named.stay_usd)


# ---- bought cards, and months that are worth less


def owned_in(offers, share=0.75, life=48):
    """The offers, with every fleet on cards that were bought."""
    return replace(
        offers,
        fleets={
            key: replace(
                offer,
                fleet=replace(
                    offer.fleet, reserved_share=0.0, capital_share=share, term_months=life
                ),
            )
            for key, offer in offers.fleets.items()
        },
    )


def test_a_fleet_that_is_owned_never_shrinks_and_no_market_moves_its_price(priced):
    study, offers = priced
    offers = owned_in(offers)
    future = futures_of_moves(study, offers, {"extraction": OWN}, 24, 200)
    upkeep = simulate.fleet_month_usd(draws(study, offers, 200))[:, None]
    hours = future.go_usd - upkeep
    assert (np.diff(hours, axis=1) >= -1e-6).all()
    wide = replace(study.price_paths.gpu_volatility, value=0.9, high=1.8)
    paths = study.price_paths.model_copy(update={"gpu_volatility": wide})
    wild = study.model_copy(update={"price_paths": paths})
    found = futures_of_moves(wild, offers, {"extraction": OWN}, 24, 200)
    assert found.go_usd == pytest.approx(future.go_usd)
    assert found.switch_costs() == pytest.approx(future.switch_costs())


def draws(study, offers, n):
    return draws_with_paths(study, "extraction", pair_inputs(study, offers, "extraction", OWN), n)


def test_who_leaves_owned_cards_carries_their_capital_to_the_end_of_their_life(priced):
    study, offers = priced
    future = futures_of_moves(study, owned_in(offers), {"extraction": OWN}, 24, 200)
    (held,) = future.reserved
    d = draws(study, owned_in(offers), 200)
    hours = future.go_usd - simulate.fleet_month_usd(d)[:, None]
    capital = 0.75 * hours / (1 + d["overhead_share"][:, None])
    assert held.usd == pytest.approx(capital)
    assert held.unused_usd(6) == pytest.approx(42 * capital[:, 6])
    assert (held.on_demand() == 0).all()
    assert (held.late_start_usd(7) == 0).all()


def test_rented_and_owned_fleets_keep_their_own_terms_when_they_move_together(priced):
    study, offers = priced
    mixed = {**offers.fleets}
    mixed["extraction", OWN] = owned_in(offers).fleets["extraction", OWN]
    both = futures_of_moves(study, replace(offers, fleets=mixed), FLEETS, 24, 50)
    found = {(part.terms.term_months, part.owned) for part in both.reserved}
    assert found == {(12, False), (48, True)}


def test_a_discount_leaves_bills_as_they_fall_due_and_every_total_alike(priced):
    study, offers = priced
    rate = replace(study.discount_rate, value=0.1, low=None, high=None)
    dear = study.model_copy(update={"discount_rate": rate})
    future = futures_of_moves(study, offers, FLEETS, 18, 6)
    found = futures_of_moves(dear, offers, FLEETS, 18, 6)
    assert found.stay_usd == pytest.approx(future.stay_usd)
    never, begun = found.switch_costs()[:, -1], found.switch_costs()[:, 0]
    assert found.saving_by_month()[:, -1] == pytest.approx(never - begun)
    assert found.stay_by_month()[:, -1] == pytest.approx(never)


def test_all_that_moves_is_discounted_alike_whichever_way_it_is_added_up(priced):
    study, offers = priced
    rate = replace(study.discount_rate, value=0.1, low=None, high=None)
    dear = study.model_copy(update={"discount_rate": rate})
    one = futures_of_moves(dear, offers, {"extraction": OWN}, dear.months, N)
    found = portfolio_saving(dear, offers, {"extraction": OWN})
    assert found == pytest.approx(one.saving_by_month()[:, -1])
    undiscounted = portfolio_saving(study, offers, {"extraction": OWN})
    assert np.abs(found / undiscounted - 1).mean() > 0.01
