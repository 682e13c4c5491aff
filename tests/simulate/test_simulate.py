import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from llmstudy import simulate
from llmstudy.figure import Figure
from llmstudy.measures import cost
from llmstudy.measures.cost import TokenPrice

MONTHS = 24
TWO_YEARS = (1.0,) * MONTHS


def api(usd_per_mtok_in, usd_per_mtok_out, arm="proprietary_api", cached=0.5, factors=TWO_YEARS):
    """A price at the Azure mean request, 1155 tokens in and 211 out."""
    uncached = 1155 * usd_per_mtok_in / 1e6
    return TokenPrice(
        arm, uncached, cached * uncached, 211 * usd_per_mtok_out / 1e6, 1155, 211, factors,
        1.25 * uncached,
    )  # fmt: skip


GPT_4O, MINI, SONNET = api(2.5, 10), api(0.15, 0.6), api(3, 15, cached=0.1)


def fleet(
    requests_per_s, gpus=1, spare=1, input_elasticity=-0.8, output_elasticity=-0.3, reserved=0.0
):
    return cost.Fleet(
        requests_per_s, 1155, 211, input_elasticity, output_elasticity, gpus_per_replica=gpus,
        spare=spare, reserved_share=reserved, reserved_price_share=0.7,
        cached_factors=((0.0, 1.0), (0.6, 1.5)),
    )  # fmt: skip


CERTAIN = {
    "requests": 1e6,
    "input_tokens": 1155,
    "output_tokens": 211,
    "cached_input_share": 0,
    "retry_share": 0,
    "drift_proprietary_api": 1,
    "drift_hosted_open": 1,
    "drift_gpu": 1,
    "growth": 0,
    "ramp": 0,
    "moving_cost": 0,
    "fte": 1,
    "usd_per_fte_year": 240_000,
    "peak_to_mean": 2,
    "target_utilisation": 0.7,
    "capacity_factor": 1,
    "usd_per_gpu_hour": 3,
    "overhead_share": 0.2,
    "volatility": 0,
    "prompt_growth": 0,
    "cache_write_share": 0,
    "tokenizer": 1,
    "output_tokens_ratio": 1,
    "dual_running": 0,
    "staging_replicas": 0,
    "observability": 0,
    "on_call": 0,
    "security": 0,
    "upgrades": 0,
    "upgrade_usd": 0,
    "fine_tuning": 0,
    "api_evaluation": 0,
    "model_life_proprietary_api": 24,
    "model_life_hosted_open": 24,
    "migration_proprietary_api": 0,
    "migration_hosted_open": 0,
    "provisioned": 0,
    "tool_usd": 0,
    "jumps": 0,
    "gpu_volatility": 0,
}


def draws(n=1, **given_):
    """Inputs of n draws: certain ones, and those given as a number or an array."""
    values = {**CERTAIN, **given_}
    return {name: np.broadcast_to(np.asarray(x, dtype=float), n) for name, x in values.items()}


def some_draws(n, seed):
    """n draws of every input over wide ranges."""
    rng = np.random.default_rng(seed)
    return draws(
        n,
        requests=10 ** rng.uniform(4, 8, n),
        input_tokens=rng.uniform(100, 5000, n),
        output_tokens=rng.uniform(20, 1000, n),
        cached_input_share=rng.uniform(0, 0.6, n),
        retry_share=rng.uniform(0, 0.05, n),
        drift_proprietary_api=rng.uniform(0.2, 1.2, n),
        drift_hosted_open=rng.uniform(0.5, 1.3, n),
        drift_gpu=rng.uniform(0.8, 1.3, n),
        growth=rng.uniform(-0.05, 0.1, n),
        ramp=rng.uniform(0, 6, n),
        moving_cost=rng.uniform(0, 2e5, n),
        fte=rng.uniform(0, 4, n),
        peak_to_mean=rng.uniform(1.2, 4, n),
        target_utilisation=rng.uniform(0.5, 0.8, n),
        capacity_factor=rng.uniform(0.5, 1.5, n),
        usd_per_gpu_hour=rng.uniform(1, 8, n),
        overhead_share=rng.uniform(0, 0.4, n),
        **other_costs(n, rng),
    )


def other_costs(n, rng):
    """What a month costs beside tokens, rent and salaries, over wide ranges."""
    return {
        "prompt_growth": rng.uniform(-0.01, 0.03, n),
        "cache_write_share": rng.uniform(0, 0.4, n),
        "tokenizer": rng.uniform(0.9, 1.2, n),
        "today_tokenizer": np.ones(n),
        "output_tokens_ratio": rng.uniform(0.3, 6, n),
        "today_output_tokens_ratio": np.ones(n),
        "dual_running": rng.uniform(0, 2, n),
        "staging_replicas": rng.uniform(0, 1, n),
        "observability": rng.uniform(0, 3e3, n),
        "on_call": rng.uniform(0, 5e3, n),
        "security": rng.uniform(0, 4e4, n),
        "upgrades": rng.uniform(0, 4, n),
        "upgrade_usd": rng.uniform(0, 1e4, n),
        "fine_tuning": rng.uniform(0, 5e4, n),
        "api_evaluation": rng.uniform(0, 1e4, n),
        "model_life_proprietary_api": rng.uniform(12, 30, n),
        "model_life_hosted_open": rng.uniform(12, 48, n),
        "migration_proprietary_api": rng.uniform(0, 3e4, n),
        "migration_hosted_open": rng.uniform(0, 6e4, n),
        "provisioned": rng.uniform(0, 2e3, n),
        "tool_usd": rng.uniform(0, 10, n),
        "discount_rate": rng.uniform(0, 0.2, n),
    }


# ---- draws


def test_draws_follow_the_distribution_of_their_figure():
    figures = {
        "a": Figure("", 2, "x", 1, 5, "triangular"),
        "b": Figure("", 2, "x", 1, 5, "loguniform"),
    }
    for name, of in {"a": stats.triang(0.25, 1, 4), "b": stats.loguniform(1, 5)}.items():
        assert stats.kstest(simulate.draw(figures[name], name, 4_000, seed=3), of.cdf).pvalue > 0.01


def test_one_stream_moves_figures_together_and_another_stream_or_seed_draws_apart():
    figure = Figure("", 0.2, "share", 0, 0.6, "triangular")
    twice = Figure("", 0.4, "share", 0, 1.2, "triangular")
    cached = simulate.draw(figure, "cached", 2_000, seed=1)
    assert simulate.draw(twice, "cached", 2_000, seed=1) == pytest.approx(2 * cached)
    for other in (
        simulate.draw(figure, "retries", 2_000, seed=1),
        simulate.draw(figure, "cached", 2_000, 2),
    ):
        assert abs(np.corrcoef(cached, other)[0, 1]) < 0.1


def test_moving_to_the_same_price_loses_the_cost_of_moving_in_every_draw():
    same = {"tokenizer": np.ones(1_000), "output_tokens_ratio": np.ones(1_000)}
    d = {**some_draws(1_000, seed=4), **same, "dual_running": np.zeros(1_000)}
    saved = simulate.move_saving(GPT_4O, GPT_4O, MONTHS)(d)
    assert saved == pytest.approx(-d["moving_cost"], abs=1e-3)


def test_central_draws_are_the_stated_values():
    figures = {"a": Figure("", 2, "x", 1, 5, "triangular"), "b": Figure("", 3, "x")}
    assert {k: v.tolist() for k, v in simulate.central(figures).items()} == {"a": [2], "b": [3]}


# ---- bills month by month


def months_of_one_draw(current, challenger, d):
    """What moving saves, month by month as an accountant would add it up."""
    saved = -d["moving_cost"]
    now = {**d, "tokenizer": d["today_tokenizer"]}
    now["output_tokens_ratio"] = d["today_output_tokens_ratio"]
    cutover = math.ceil(d["ramp"])
    for month in range(MONTHS):
        requests = d["requests"] * (1 + d["growth"]) ** month
        moved = min(1.0, max(0.0, month + 1 - d["ramp"]))
        stay = month_bill(current, now, requests, month)
        go = month_bill(challenger, d, requests, month)
        paid = (1 - moved) * stay + moved * go
        if isinstance(challenger, cost.Fleet) and not isinstance(current, cost.Fleet):
            paid += (1 - moved) * team_bill(d)
        if month == cutover:
            team = team_bill(d) if isinstance(challenger, cost.Fleet) else 0
            paid += d["dual_running"] * (go - team)
        saved += (stay - paid) / (1 + d["discount_rate"]) ** ((month + 1) / 12)
    return saved


def team_bill(d):
    return d["fte"] * d["usd_per_fte_year"] / 12 + d["on_call"] + d["security"] / 12


def month_bill(offer, d, requests, month):
    years, prompts = month / 12, d["input_tokens"] * d["tokenizer"]
    answer = d["output_tokens"] * d["output_tokens_ratio"]
    if isinstance(offer, TokenPrice):
        cached, wrote = d["cached_input_share"], d["cache_write_share"]
        a_token = (
            (1 - cached - wrote) * offer.uncached_input_usd
            + cached * offer.cached_input_usd
            + wrote * offer.written_input_usd
        ) / offer.input_tokens
        usd = a_token * prompts * (1 + d["prompt_growth"]) ** month
        usd += offer.output_usd / offer.output_tokens * answer
        usd *= (1 + d["retry_share"]) * d[f"drift_{offer.arm}"] ** years
        usd *= offer.month_factors[month]
        beside = d["api_evaluation"] / 12 + d["provisioned"]
        beside += d[f"migration_{offer.arm}"] / d[f"model_life_{offer.arm}"]
        return requests * (usd + d["tool_usd"] / 1000) + beside
    price = d["drift_gpu"] ** years
    needed, hour = running(offer, d, requests, month), d["usd_per_gpu_hour"]
    if offer.reserved_share:
        # of the replicas at a term's start some are reserved; others, and later ones, on demand
        share, discount = offer.reserved_share, offer.reserved_price_share
        a_term = month // offer.term_months * offer.term_months
        before = requests / (1 + d["growth"]) ** (month - a_term)
        per_reserved = 1 / (share / discount + 1 - share)  # of the hours, by what they cost
        reserved = running(offer, d, before, a_term) * share / discount * per_reserved
        on_demand = hour / per_reserved
        hours = reserved * discount * on_demand * d["drift_gpu"] ** (a_term / 12)
        hours += max(needed - reserved, 0) * on_demand * price
    else:
        hours = needed * hour * price
    rent = hours * offer.gpus_per_replica * 730 * (1 + d["overhead_share"])
    upkeep = d["observability"] + (d["upgrades"] * d["upgrade_usd"] + d["fine_tuning"]) / 12
    return rent + upkeep + team_bill(d)  # its team, as if it were the only fleet


def running(offer, d, requests, month):
    """Replicas that a month's requests take, spares and staging included."""
    prompts = d["input_tokens"] * d["tokenizer"]
    longer_in = prompts * (1 + d["prompt_growth"]) ** month / offer.input_tokens
    longer_out = d["output_tokens"] * d["output_tokens_ratio"] / offer.output_tokens
    per_s = offer.capacity_requests_per_s * d["capacity_factor"]
    per_s *= longer_in**offer.input_elasticity * longer_out**offer.output_elasticity
    per_s /= 1 - d["cached_input_share"] / 0.6 / 3  # a third of a request's time at 0.6
    attempts = requests * (1 + d["retry_share"])
    peak_per_s = attempts / (730 * 3600) * d["peak_to_mean"]
    replicas = math.ceil(peak_per_s / (per_s * d["target_utilisation"])) + offer.spare
    return replicas + d["staging_replicas"]


DOUBLED = (1.0,) * 3 + (2.0,) * (MONTHS - 3)


@pytest.mark.parametrize(
    ("current", "challenger"),
    [
        (GPT_4O, MINI),
        (api(2.5, 10, factors=DOUBLED), api(0.4, 0.4, arm="hosted_open")),
        (GPT_4O, fleet(5, gpus=2)),
        (GPT_4O, fleet(5, gpus=2, reserved=0.6)),
        (MINI, fleet(20, spare=2)),
        (api(0.4, 0.4, arm="hosted_open"), fleet(20, spare=0)),
        (fleet(5, gpus=2), GPT_4O),
        (fleet(5, gpus=2), fleet(20, spare=0)),
    ],
)
def test_a_saving_is_what_a_loop_over_the_months_adds_up_to(current, challenger):
    d = some_draws(40, seed=9)
    by_hand = [
        months_of_one_draw(current, challenger, {name: x[i] for name, x in d.items()})
        for i in range(40)
    ]
    found = simulate.move_saving(current, challenger, MONTHS)(d)
    assert found == pytest.approx(np.array(by_hand), rel=1e-9, abs=1e-3)


def test_a_fleet_runs_the_attempts_that_fail_as_well():
    d = draws(retry_share=0.25)
    carried = simulate.fleet_unit(fleet(5), draws(), 1)[0][0, 0]
    a_replica = 730 * 3 * 1.2
    for requests, replicas in [(0.8 * carried, 1), (0.81 * carried, 2), (3.2 * carried, 4)]:
        rent = simulate.fleet_rent_usd(fleet(5), d, np.array([[requests]]), 1)[0, 0]
        assert rent == pytest.approx((replicas + 1) * a_replica)


def test_a_reserved_term_is_paid_to_its_end_when_the_volume_halves_in_its_sixth_month():
    """8 replicas, 6 of them reserved at half the price of one on demand: 6 + 2 * 2 = 10 a month."""
    of = replace(fleet(5, spare=0), reserved_share=0.6, reserved_price_share=0.5)
    carried = simulate.fleet_unit(of, draws(), 1)[0][0, 0]
    replicas = np.array([8] * 5 + [4] * 9 + [16])
    d = draws(overhead_share=0.0)
    a_replica = 730 * 3 * 8 / 10  # reserved: the mean of the eight is 3 an hour
    found = simulate.fleet_rent_usd(of, d, carried * (replicas - 0.5)[None], 15)[0] / a_replica
    # in the second term 3 of 4 are reserved, and 12 more come on demand in its third month
    assert found == pytest.approx([10] * 5 + [6] * 7 + [3 + 2] * 2 + [3 + 2 * 13])


def test_a_term_is_signed_at_the_price_and_for_the_hours_of_its_first_month():
    terms = cost.Reservation(share=0.6, price_share=0.5, term_months=2)
    market = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    needed = np.array([[10.0, 10.0, 20.0, 20.0, 5.0]])
    kept, by_the_hour = 0.6 * needed[0], 0.4 * needed[0]
    # begun in the second month: signed there and two months later
    found = terms.rent_usd(needed, market, start=1)[0, 1:]
    more = 1.6 * (20 - 10)  # ten more than were signed for, on demand
    less = max(1.6 * 5 - 0.6 / 0.5 * 20, 0)
    assert found == pytest.approx(
        [kept[1] * 2 + by_the_hour[1] * 2, kept[1] * 2 + (by_the_hour[1] + more) * 3,
         kept[3] * 4 + by_the_hour[3] * 4, kept[3] * 4 + less * 5]
    )  # fmt: skip


def test_an_owned_card_that_was_bought_for_a_busy_month_stays_and_its_price_holds():
    rented = fleet(5)
    owned = replace(rented, capital_share=0.7)
    carried = simulate.fleet_unit(rented, draws(), 1)[0][0, 0]
    requests = carried * np.array([[0.5, 3.5, 1.5, 0.5, 4.5]])
    d = draws(drift_gpu=2.0, overhead_share=0.0)
    a_replica = 730 * d["usd_per_gpu_hour"][0] * owned.gpus_per_replica
    found = simulate.fleet_rent_usd(owned, d, requests, 5)[0] / a_replica
    assert found == pytest.approx([1 + owned.spare, *[4 + owned.spare] * 3, 5 + owned.spare])
    rent = simulate.fleet_rent_usd(rented, d, requests, 5)[0] / a_replica
    wanted = np.array([1, 4, 2, 1, 5]) + rented.spare
    assert rent == pytest.approx(wanted * 2.0 ** (np.arange(5) / 12))


def saving(d, stay, go):
    """A move's saving over the horizon, of bills that are given, from its total and by month."""
    terms, nothing = simulate.terms(GPT_4O, MINI, d, stay.shape[1]), np.zeros(1)
    (total,) = terms.saving_usd(stay, go, nothing)
    assert terms.saving_by_month(stay, go, nothing)[0, -1] == pytest.approx(total)
    return total


def test_level_bills_are_worth_an_annuity_and_no_rate_leaves_them_as_they_are():
    """Present value of an ordinary annuity: s (1 - v^n) / i, i the month's rate of the year's."""
    stay, go = np.full((1, 24), 1000.0), np.full((1, 24), 400.0)
    d = draws(moving_cost=5000.0, ramp=0.0, dual_running=0.0)
    assert saving(d, stay, go) == pytest.approx(24 * 600 - 5000)
    i = 1.08 ** (1 / 12) - 1
    worth = 600 * (1 - (1 + i) ** -24) / i
    found = saving({**d, "discount_rate": np.array([0.08])}, stay, go)
    assert found == pytest.approx(worth - 5000)


def test_a_discounted_crossover_is_where_the_discounted_saving_is_nought():
    d = draws(discount_rate=0.15, moving_cost=40_000.0, ramp=2.5, dual_running=0.5)
    volume = simulate.crossover_requests_per_month(GPT_4O, MINI, d, MONTHS, 1e12)
    at = {**d, "requests": volume}
    assert simulate.move_saving(GPT_4O, MINI, MONTHS)(at)[0] == pytest.approx(0.0, abs=1e-6)
    undiscounted = draws(moving_cost=40_000.0, ramp=2.5, dual_running=0.5)
    cheap = simulate.crossover_requests_per_month(GPT_4O, MINI, undiscounted, MONTHS, 1e12)
    assert cheap[0] < volume[0]


def test_nothing_moves_before_the_ramp_and_all_after_it():
    assert simulate.moved_share(np.array([0.0, 1.5, 3.0, 30.0]), 4).tolist() == [
        [1, 1, 1, 1],
        [0, 0.5, 1, 1],
        [0, 0, 0, 1],
        [0, 0, 0, 0],
    ]


def test_a_yearly_drift_and_a_monthly_growth_compound():
    assert simulate.drift(np.array([0.5]), 25)[0, [0, 12, 24]] == pytest.approx([1, 0.5, 0.25])
    assert simulate.volume(np.array([100.0]), np.array([0.1]), 3)[0] == pytest.approx(
        [100, 110, 121]
    )


# ---- crossover


def saving_on_a_grid(a, k, q, s, f, replicas):
    """Volumes across each replica, from just after its start to its end, and what is saved."""
    within = np.concatenate([[1e-9], np.linspace(0.05, 1, 20)])
    grid = (np.arange(replicas)[:, None] + within).ravel()
    volumes = grid * q[:, None]
    running = np.ceil(grid) + s[:, None]
    return volumes, a[:, None] * volumes - running * k[:, None] - f[:, None]


def test_the_crossover_is_the_smallest_volume_from_which_the_saving_stays():
    rng, n = np.random.default_rng(11), 3_000
    k, q = 10 ** rng.uniform(0, 5, n), 10 ** rng.uniform(1, 7, n)
    earns = np.where(rng.random(n) < 0.25, rng.uniform(0.1, 1, n), 10 ** rng.uniform(0.1, 1.5, n))
    a, s, f = earns * k / q, rng.integers(0, 4, n), k * rng.uniform(0, 5, n)
    cap = rng.uniform(0.2, 60, n) * q
    # past replica 60 none of those that earn their rent lose: (1.26 + 3 + 5) / 0.26 < 60
    volumes, saving = saving_on_a_grid(a, k, q, s, f, replicas=60)
    losing = saving < -1e-9 * k[:, None]
    stays = ~losing[:, -1]
    last = np.where(losing.any(axis=1), losing.shape[1] - losing[:, ::-1].argmax(axis=1) - 1, -1)

    found = np.array(
        [
            simulate.stepped_crossover(
                *[x[i : i + 1] for x in (a, k, q)], int(s[i]), f[i : i + 1], cap[i]
            )
            for i in range(n)
        ]
    )[:, 0]

    first_kept = volumes[np.arange(n), np.minimum(last + 1, volumes.shape[1] - 1)]
    last_lost = np.where(last >= 0, volumes[np.arange(n), last], 0)
    reached = np.isfinite(found)
    assert stays.sum() > 1_000
    assert reached.sum() > 500
    # never, exactly where brute force finds no volume below the cap
    clear = (first_kept < cap * (1 - 1e-9)) | (last_lost > cap * (1 + 1e-9)) | ~stays
    assert (reached == (stays & (first_kept <= cap)))[clear].all()
    # and else within one step of the grid
    assert (found[reached] <= first_kept[reached] * (1 + 1e-9)).all()
    assert (found[reached] >= last_lost[reached] * (1 - 1e-9)).all()


@given(st.integers(21, 1000), st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 3),
       st.integers(0, 500))  # fmt: skip
def test_just_below_the_crossover_moving_loses_and_from_it_on_it_does_not(earns, k, q, s, fixed):
    a, f = earns / 20 * k / q, fixed / 100 * k
    # where a replica starts at a saving of exactly nothing, rounding may count it as a loss
    assume((5 * earns + 100 * s + fixed) % (5 * earns - 100))

    def saved(volume):
        return a * volume - (math.ceil(volume / q * (1 - 1e-12)) + s) * k - f

    (found,) = simulate.stepped_crossover(
        np.array([a]), np.array([k]), np.array([q]), s, np.array([f]), math.inf
    )
    slack = 1e-9 * (a * found + f + k)
    last = math.ceil(found / q * (1 - 1e-12))
    # the volumes that lose may be few: those between the start of its last replica and itself
    assert saved(((last - 1) * q + found) / 2) < slack
    assert saved(found) >= -slack
    assert min(saved(r * q * (1 + 1e-9)) for r in range(last, last + 50)) >= -slack


@given(st.floats(1e-6, 1), st.floats(-1, 1), st.floats(0, 1e6), st.floats(1e3, 1e12))
def test_between_two_prices_per_token_the_crossover_is_the_cost_of_moving_over_the_gain(
    usd, gain, cost, cap
):
    now, then = (TokenPrice(arm, 0, 0, x, 1, 1, TWO_YEARS, 0) for arm, x in
                 (("proprietary_api", usd), ("hosted_open", usd * (1 - gain))))  # fmt: skip
    assume(abs(gain) > 1e-6)
    d = draws(input_tokens=1, output_tokens=1, moving_cost=cost)
    (found,) = simulate.crossover_requests_per_month(now, then, d, MONTHS, cap)
    expected = cost / (MONTHS * usd * gain) if gain > 0 else math.inf
    assert found == (pytest.approx(expected) if expected <= cap else math.inf)


@pytest.mark.parametrize("challenger", [fleet(5, gpus=2), fleet(20, spare=0), api(0.4, 0.4)])
def test_at_the_crossover_the_saving_of_a_steady_volume_changes_sign(challenger):
    n = 200
    d = {**some_draws(n, seed=21), "growth": np.zeros(n), "prompt_growth": np.zeros(n)}
    volumes = simulate.crossover_requests_per_month(GPT_4O, challenger, d, MONTHS, 1e13)
    reached = np.isfinite(volumes)
    assert reached.sum() > 20
    met = {name: x[reached] for name, x in d.items()}

    def saved(requests):
        return simulate.move_saving(GPT_4O, challenger, MONTHS)({**met, "requests": requests})

    found, start = volumes[reached], 0.0
    if isinstance(challenger, cost.Fleet):  # what loses may be a part of the last replica alone
        carries = simulate.fleet_unit(challenger, met, MONTHS)[0][:, 0]
        start = np.floor(found / carries) * carries
    assert (saved(found * (1 + 1e-6)) > 0).all()
    assert (saved((start + found) / 2) < 0).all()


def test_nothing_crosses_a_free_route_and_a_free_one_that_costs_no_moving_is_cheaper_at_once():
    free = api(0, 0, arm="hosted_open")
    for challenger in (GPT_4O, fleet(20), free):
        assert (
            simulate.crossover_requests_per_month(free, challenger, draws(), MONTHS, 1e13)
            == math.inf
        )
    assert simulate.crossover_requests_per_month(GPT_4O, free, draws(), MONTHS, 1e13) == 0


def published_priors(n, seed):
    """The priors of research cost.md 4.5. Where it gives ends alone, money is log-uniform."""
    rng = np.random.default_rng(seed)

    def log(low, high):
        return low * (high / low) ** rng.random(n)

    retries, batch = rng.uniform(0, 0.05, n), rng.uniform(0, 0.3, n)
    # a share of the requests is billed at half price
    billed = (1 + retries) * (1 - batch / 2)
    return draws(
        n,
        usd_per_gpu_hour=log(2.0, 6.9),
        # the simulation has no retry on the fleet, and no cache
        capacity_factor=rng.uniform(12, 26, n) / 20 * billed,
        peak_to_mean=rng.uniform(1.8, 3.5, n),
        target_utilisation=rng.uniform(0.5, 0.8, n),
        fte=log(4_000, 40_000),
        usd_per_fte_year=12,
        overhead_share=rng.uniform(0.05, 0.3, n),
        drift_proprietary_api=log(0.2, 1.2),
        drift_gpu=rng.uniform(0.8, 1.3, n),
        cached_input_share=rng.uniform(0, 0.6, n),
        retry_share=billed - 1,
    )


@pytest.mark.parametrize(
    ("price", "published", "never"),
    [
        (GPT_4O, [3.7e6, 8.8e6, 22e6], 0.0),
        (SONNET, [3.0e6, 6.8e6, 17e6], 0.0),
        (MINI, [0.53e9, None, None], 0.84),
    ],
)
def test_a_fleet_of_8b_replicas_crosses_where_an_independent_simulation_did(
    price, published, never
):
    uncached = replace(fleet(20), cached_factors=((0.0, 1.0),))
    volumes = simulate.crossover_requests_per_month(
        price, uncached, published_priors(10_000, seed=5), MONTHS, 3e10
    )
    for found, told in zip(simulate.band(volumes), published, strict=True):
        assert found == (told if told is None else pytest.approx(told, rel=0.15))
    assert np.isinf(volumes).mean() == pytest.approx(never, abs=0.03)


@given(st.lists(st.floats(0, 1e9) | st.just(math.inf), min_size=1, max_size=40))
def test_a_quantile_is_never_exactly_when_too_few_draws_end(values):
    found = simulate.band(np.array(values), (0.1, 0.5, 0.9))
    for share, quantile in zip((0.1, 0.5, 0.9), found, strict=True):
        reached = sum(math.isfinite(x) for x in values)
        if quantile is None:
            assert reached < share * len(values) + 1e-9
        else:
            below = sum(x <= quantile for x in values)
            assert quantile in values
            assert below >= share * len(values) - 1e-9


# ---- sensitivity


def uniform(low, high):
    return Figure("", (low + high) / 2, "x", low, high, "uniform")


def test_indices_of_a_linear_outcome_are_its_shares_of_variance():
    weights = {"a": 4.0, "b": 2.0, "c": 1.0}
    figures = {name: uniform(0, 1) for name in weights} | {"held": Figure("", 7, "x")}
    found = simulate.sensitivity(
        figures, lambda d: d["held"] + sum(w * d[name] for name, w in weights.items()), 512, seed=2
    ).set_index("input")
    assert list(found.index) == ["a", "b", "c"]
    for name, weight in weights.items():
        share = weight**2 / sum(w**2 for w in weights.values())
        assert found.loc[name, "first_order"] == pytest.approx(share, abs=0.02)
        assert found.loc[name, "total_effect"] == pytest.approx(share, abs=0.02)
        others = 7 + sum(w / 2 for other, w in weights.items() if other != name)
        assert found.loc[name, "low_usd"] == pytest.approx(others)
        assert found.loc[name, "high_usd"] == pytest.approx(others + weight)


def test_the_swings_go_to_the_stated_ends_and_their_base_is_the_outcome_at_the_medians():
    figures = {
        "a": Figure("", 2.0, "x", 1.0, 4.0, "loguniform"),
        "b": Figure("", 1.0, "x", 0.5, 2.0, "lognormal"),  # its ends are P10 and P90
        "c": Figure("", 1.0, "x", 0.0, 4.0, "triangular"),
    }

    def outcome(d):
        return 10 * d["a"] + d["b"] - d["c"]

    found = simulate.sensitivity(figures, outcome, 64, seed=1).set_index("input")
    c = 4 - np.sqrt(0.5 * 4 * 3)
    base = simulate.at_medians(figures, outcome)
    assert base == pytest.approx(20 + 1 - c)
    ends = {"a": (10, 40, 20), "b": (0.5, 2, 1), "c": (0, -4, -c)}
    for name, (low, high, middle) in ends.items():
        assert found.loc[name, "low_usd"] == pytest.approx(base - middle + low)
        assert found.loc[name, "high_usd"] == pytest.approx(base - middle + high)


def test_indices_of_the_ishigami_function_are_its_known_ones():
    # Ishigami & Homma (1990) with a = 7, b = 0.1: first order .314, .442, 0; total .558, .442, .244
    figures = {name: uniform(-np.pi, np.pi) for name in ("x1", "x2", "x3")}
    found = simulate.sensitivity(
        figures,
        lambda d: np.sin(d["x1"]) + 7 * np.sin(d["x2"]) ** 2 + 0.1 * d["x3"] ** 4 * np.sin(d["x1"]),
        1024,
        seed=3,
    ).set_index("input")
    assert found.loc[["x1", "x2", "x3"], "first_order"].tolist() == pytest.approx(
        [0.3139, 0.4424, 0.0], abs=0.03
    )
    assert found.loc[["x1", "x2", "x3"], "total_effect"].tolist() == pytest.approx(
        [0.5576, 0.4424, 0.2437], abs=0.03
    )
    assert found["total_effect"].is_monotonic_decreasing


def test_an_outcome_of_certain_figures_has_no_input_that_decides_it():
    held = simulate.sensitivity({"a": Figure("", 7, "x")}, lambda d: d["a"], 16, seed=1)
    drawn = simulate.sensitivity({"a": uniform(0, 1)}, lambda d: d["a"], 16, seed=1)
    assert held.empty
    assert list(held) == list(drawn)


def test_nothing_decides_an_outcome_that_does_not_vary():
    found = simulate.sensitivity(
        {"a": uniform(0, 1), "b": uniform(0, 1)}, lambda d: 0 * d["a"], 16, 1
    )
    assert set(found["input"]) == {"a", "b"}
    assert (found[["first_order", "total_effect", "total_effect_error"]] == 0).all(axis=None)
