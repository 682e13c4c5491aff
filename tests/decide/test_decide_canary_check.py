"""The rule of a running canary against enumeration and simulation; who was sent where by hand."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from llmstudy import paths
from llmstudy.decide.canary import (
    FALSE_ALARM_SHARE,
    POWER,
    canary_plan,
    canary_requests,
    degradation,
    step_alpha,
)
from llmstudy.decide.canary_check import (
    Counts,
    chance_of_alarm,
    chances_by_step,
    evidence_so_far,
    metric_state,
    requests_needed,
    verdict_of,
)
from llmstudy.decide.canary_log import Parts, check, own_requests, routes_of, sent_of
from llmstudy.study import load

BASELINES = {"acceptance": 0.9, "errors": 0.05, "slow_first_token": 0.05}
WORSE = {"acceptance": "lower", "errors": "higher", "slow_first_token": "higher"}
ALPHA = step_alpha()


# ---- the rule


@pytest.mark.parametrize(("new", "old"), [(1, 6), (5, 3), (7, 7)])
@pytest.mark.parametrize(("p0", "p1"), [(0.05, 0.08), (0.9, 0.8)])
def test_the_mean_evidence_is_at_most_one_for_any_common_share_and_any_split(new, old, p0, p1):
    for p in (0.01, 0.05, 0.3, 0.9, 0.99):
        mean = sum(
            binom.pmf(y, new, p)
            * binom.pmf(x, old, p)
            * evidence_so_far(Counts([y], [new], [x], [old]), [(p0, p1)])
            for y, x in product(range(new + 1), range(old + 1))
        )
        assert mean <= 1 + 1e-9


def by_hand(yes, sent, stays_yes, stays, p0, p1):
    """The logarithm of the likelihood ratio, written out. Arrays of one shape."""
    mixed = (sent * p1 + stays * p0) / np.maximum(sent + stays, 1)
    one = yes * np.log(p1 / mixed) + (sent - yes) * np.log((1 - p1) / (1 - mixed))
    other = stays_yes * np.log(p0 / mixed) + (stays - stays_yes) * np.log((1 - p0) / (1 - mixed))
    return np.where((sent > 0) & (stays > 0), one + other, 0.0)


def test_days_are_compared_each_at_its_own_share():
    rng = np.random.default_rng(7)
    sent, stays = rng.integers(0, 300, (2, 6))
    yes, stays_yes = rng.binomial(sent, 0.1), rng.binomial(stays, 0.05)
    wanted = by_hand(yes, sent, stays_yes, stays, 0.05, 0.08).sum()
    seen = evidence_so_far(Counts(yes, sent, stays_yes, stays), [(0.05, 0.08)] * 6)
    assert np.log(seen) == pytest.approx(wanted)


def read_after_every_request(rng, n, share, p_new, p_old, pair, n_runs, before):
    """Whether the evidence ever reaches the limit while n requests come in over three days.

    before: requests of today's route with the outcome, and all, each (n_runs,), for full traffic.
    Returns: (n_runs,), and both of this step.
    """
    p0, p1 = pair
    outcome = rng.random((n_runs, n)) < p_new
    place = np.arange(n) % (n // 3)  # of a request in its day
    first = np.arange(n) - place

    def since(each):
        whole = each.cumsum(axis=1)
        return whole - np.where(first > 0, whole[:, np.maximum(first - 1, 0)], 0)

    if share == 1:
        old_yes, old = before
        seen = by_hand(
            outcome.cumsum(axis=1), np.arange(1, n + 1), old_yes[:, None], old[:, None], p0, p1
        )
        return (seen >= np.log(1 / ALPHA)).any(axis=1), old_yes, old
    stays = rng.negative_binomial(1, share, (n_runs, n))
    stays_yes = rng.binomial(stays, p_old)
    today = by_hand(since(outcome), place + 1, since(stays_yes), since(stays), p0, p1)
    ends = np.flatnonzero(place == n // 3 - 1)
    earlier = np.zeros((n_runs, n))
    for end in ends:
        earlier[:, end + 1 :] += today[:, [end]]
    hit = (earlier + today >= np.log(1 / ALPHA)).any(axis=1)
    return hit, stays_yes.sum(axis=1), stays.sum(axis=1)


def rolled_back(shares, n_runs=4_000):
    """How often a canary is rolled back if it is read after every request of all of its steps."""
    rng, margin = np.random.default_rng(7), 0.1
    plan = canary_plan(50_000, margin, BASELINES)
    ended = np.zeros(n_runs, dtype=bool)
    for metric, p_old in BASELINES.items():
        pair = degradation(p_old, margin, WORSE[metric])
        before = np.zeros((2, n_runs), dtype=int)
        for row in plan.to_dict("records"):
            n, share = 3 * -(-row["requests"] // 3), row["traffic_share"]
            hit, *old = read_after_every_request(
                rng, n, share, shares[metric], p_old, pair, n_runs, before
            )
            ended |= hit
            before = before + np.array(old)
    return ended.mean()


def test_an_equal_route_read_after_every_request_is_rolled_back_in_one_of_twenty_at_most():
    assert 0 < rolled_back(BASELINES) <= FALSE_ALARM_SHARE


def test_a_route_that_loses_the_margin_seldom_passes_all_steps():
    assert rolled_back(BASELINES | {"errors": 0.15}, 500) > 0.99


def test_a_baseline_that_is_learnt_from_a_hundred_requests_raises_no_more_false_alarms():
    rng, p, n_runs, days = np.random.default_rng(7), 0.1, 2_000, 5
    alarms = {p: 0, p + 0.1: 0}
    for canary_share in alarms:
        for _ in range(n_runs):
            new, old = rng.multinomial(300, [0.25, 0.75], days).T
            yes, old_yes = rng.binomial(new, canary_share), rng.binomial(old, p)
            counts = Counts(yes, new, old_yes, old)
            parts = Parts(Counts([], [], [rng.binomial(100, p)], [100]), counts)
            pairs = [(each, each + 0.1) for each in parts.baselines]
            alarms[canary_share] += any(
                evidence_so_far(Counts(*(c[:k] for c in counts)), pairs[:k]) >= 20
                for k in range(1, days + 1)
            )
    assert alarms[p] <= n_runs / 20
    assert alarms[p + 0.1] > 0.8 * n_runs


@pytest.mark.parametrize("before", [100, 1_000, 10_000])
def test_a_baseline_of_few_requests_raises_no_more_false_alarms_at_full_traffic(before):
    rng, p, n_runs = np.random.default_rng(7), 0.05, 20_000
    old = rng.binomial(before, p, n_runs)
    new = rng.binomial(2_000, p, n_runs)
    p0 = np.maximum(old / before, 1e-4)
    alarms = by_hand(new, 2_000, old, before, p0, p0 + 0.03) >= np.log(1 / ALPHA)
    assert alarms.mean() <= ALPHA
    # a baseline that is taken for known, as if no request were missing, is not so harmless
    wald = new * np.log(1 + 0.03 / p0) + (2_000 - new) * np.log(1 - 0.03 / (1 - p0))
    assert before > 1_000 or (wald >= np.log(1 / ALPHA)).mean() > 3 * ALPHA


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 1.0])
@pytest.mark.parametrize(("p0", "p1"), [(0.95, 0.92), (0.05, 0.08), (0.01, 0.04)])
def test_the_requests_needed_catch_a_loss_with_the_power_stated(share, p0, p1):
    rng, before = np.random.default_rng(7), 20_000
    n = requests_needed(p0, p1, share, ALPHA, before if share == 1 else None)
    stays = before if share == 1 else round(n * (1 - share) / share)
    for canary_share in (p1, (p0 + p1) / 2):
        sides = rng.binomial(n, canary_share, 3_000), rng.binomial(stays, p0, 3_000)
        caught = np.mean(by_hand(sides[0], n, sides[1], stays, p0, p1) >= np.log(1 / ALPHA))
        stated = chance_of_alarm([n], [stays], p0, p1, canary_share, ALPHA)
        assert stated == pytest.approx(caught, abs=0.04)
        assert canary_share != p1 or caught >= POWER - 0.04


def test_at_full_traffic_few_requests_of_today_are_never_enough():
    assert requests_needed(0.05, 0.08, 1.0, ALPHA, 100) is None
    few, many = (requests_needed(0.05, 0.08, 1.0, ALPHA, n) for n in (3_000, 10**7))
    assert few > many >= canary_requests(0.05, 0.08, 1.0, ALPHA)


def test_the_chance_to_catch_a_loss_by_each_step_is_that_of_simulated_canaries():
    margin, n_runs = 0.03, 4_000
    plan = canary_plan(80_000, margin, BASELINES)
    stated = chances_by_step(plan, BASELINES, margin)
    rng, p0 = np.random.default_rng(7), BASELINES["errors"]
    for drop in (0.015, 0.03):
        ended, before, caught = np.zeros(n_runs, dtype=bool), 0, []
        before_yes = np.zeros(n_runs, dtype=int)
        for row in plan.to_dict("records"):
            n, share = row["requests"], row["traffic_share"]
            stays = round(n * (1 - share) / share) if share < 1 else before
            stays_yes = rng.binomial(stays, p0, n_runs) if share < 1 else before_yes
            yes = rng.binomial(n, p0 + drop, n_runs)
            limit = np.log(1 / ALPHA)
            ended |= by_hand(yes, n, stays_yes, stays, p0, p0 + margin) >= limit
            before, before_yes = before + stays, before_yes + stays_yes
            caught.append(ended.mean())
        rows = stated[(stated["metric"] == "errors") & np.isclose(stated["drop_share"], drop)]
        assert rows["probability"].tolist() == pytest.approx(caught, abs=0.04)


def test_one_metric_ends_a_step_and_all_must_be_seen_to_go_on():
    well = Counts([100], [2_000], [1_000], [20_000])
    bad, few = well._replace(canary_yes=[200]), Counts([5], [100], [50], [1_000])
    states = {
        name: metric_state("errors", counts, [0.05], 0.03, 0.09, ALPHA)
        for name, counts in {"well": well, "bad": bad, "few": few}.items()
    }
    said = {
        ("well", "well"): "continue",
        ("well", "few"): "undecided",
        ("few", "bad"): "roll back",
    }
    for names, verdict in said.items():
        assert verdict_of([states[name] for name in names]) == verdict
    assert states["few"].left == states["few"].needed - 100


# ---- who was sent where


@pytest.fixture(scope="module")
def study():
    return load(paths.params("default.yaml"))


NAME, TODAY, NEW = "extraction", "openai-gpt-4o", "h200-gpt-oss-120b"
MODELS = {
    TODAY: ("openai", "openai/gpt-4o-2024-08-06"),
    NEW: ("hosted_vllm", f"hosted_vllm/{NEW}"),
    "novita-gpt-oss-120b": ("novita", "novita/openai/gpt-oss-120b"),
}


def log(n, share=0.5, failing=0.0, late=0.05, today_failing=0.01, start="2026-12-01", hours=48):
    """A log of n requests, a share of them sent to the new route; its failures fall back."""
    rng = np.random.default_rng(7)
    new = rng.random(n) < share
    failed = rng.random(n) < np.where(new, failing, today_failing)
    served = np.where(new & ~failed, NEW, TODAY)
    late_ = rng.random(n) < np.where(new, late, 0.05)
    return pd.DataFrame(
        {
            "ts_start": pd.Timestamp(start, tz="UTC")
            + pd.to_timedelta(np.linspace(0, hours, n, endpoint=False), "h"),
            "workload": "unknown",
            "model_requested": NAME,
            "provider": [MODELS[route][0] for route in served],
            "model_served": [MODELS[route][1] for route in served],
            "first_model": np.where(failed, np.where(new, MODELS[NEW][1], MODELS[TODAY][1]), None),
            "attempts": 1 + failed,
            "ok": True,
            "ttft_s": np.where(late_, 9.0, 0.1),
        }
    )


ASSUMED = {"acceptance": 0.9, "errors": 0.01, "slow_first_token": 0.05}


def test_routes_of_one_model_are_told_apart_by_their_provider(study):
    names = pd.DataFrame(MODELS.values(), columns=["provider", "model"])
    places = routes_of(names["model"], names["provider"], study, NAME)
    assert places.tolist() == list(MODELS)
    bare = pd.Series(["gpt-oss-120b", "gpt-4o", "nothing", None])
    assert routes_of(bare, None, study, NAME).tolist() == [None, TODAY, None, None]
    hosts = pd.Series(["novita", "openai", "openai", "openai"])
    assert routes_of(bare, hosts, study, NAME)[0] == "novita-gpt-oss-120b"


def test_a_request_that_another_route_answered_counts_for_the_one_that_failed(study):
    rows = log(2_000, failing=0.3)
    sent = sent_of(rows, study, NAME, NEW)
    first = rows["first_model"].fillna(rows["model_served"])
    assert (sent["to"] == NEW).tolist() == (first == MODELS[NEW][1]).tolist()
    assert sent.loc[sent["to"] == NEW, "errors"].mean() == pytest.approx(0.3, abs=0.04)
    # by who answered, the new route would not have failed at all
    assert rows.loc[rows["model_served"] == MODELS[NEW][1], "first_model"].isna().all()


def test_whoever_asks_for_the_new_model_and_gets_todays_has_seen_it_fail(study):
    rows = log(10).assign(
        model_requested=MODELS[NEW][1], model_served=MODELS[TODAY][1], provider="openai"
    )
    rows["first_model"], rows["attempts"] = None, 1
    sent = sent_of(rows, study, NAME, NEW)
    assert set(sent["to"]) == {NEW}
    assert sent["errors"].all()


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ({"failing": 0.01}, "continue"),
        ({"failing": 0.12}, "roll back"),
        ({"late": 0.2}, "roll back"),
    ],
)
def test_a_step_goes_on_or_back(study, more, verdict):
    seen = check(study, NAME, NEW, log(3_000, **more), ASSUMED)
    assert (seen.verdict, seen.step, seen.traffic_share) == (verdict, 4, 0.5)
    assert (seen.next_share, set(seen.not_judged)) == (1.0, {"acceptance"})
    assert f"{NAME}, 50 % to {NEW}" in seen.sentence


def test_a_step_with_too_few_requests_says_how_many_more(study):
    seen = check(study, NAME, NEW, log(200), ASSUMED)
    assert seen.verdict == "undecided"
    needed = {
        s.metric: canary_requests(s.baseline_share, s.baseline_share + 0.05, 0.5, ALPHA)
        for s in seen.states
    }
    assert seen.left == max(needed[s.metric] - s.requests for s in seen.states)
    assert f"{seen.left} more requests" in seen.sentence


def test_scores_judge_accepted_answers(study):
    scores = pd.DataFrame(
        {
            "route": [TODAY] * 1_000 + [NEW] * 1_000,
            "score": [i % 100 >= lost for lost in (10, 20) for i in range(1_000)],
        }
    )
    seen = check(study, NAME, NEW, log(3_000), ASSUMED, scores=scores)
    assert (seen.verdict, seen.not_judged) == ("roll back", {})
    assert "accepted answers 80 % against 90 %" in seen.sentence


def test_a_weight_that_changed_is_not_judged_as_one_step_unless_it_is_bad(study):
    two = [log(4_000, 0.05), log(3_000, 0.5, start="2026-12-03")]
    with pytest.raises(ValueError, match=r"from 4.* to 50 %.*--since 2026-12-03"):
        check(study, NAME, NEW, pd.concat(two, ignore_index=True), ASSUMED)
    since = pd.Timestamp("2026-12-03", tz="UTC")
    seen = check(study, NAME, NEW, pd.concat(two, ignore_index=True), ASSUMED, since=since)
    assert (seen.verdict, seen.traffic_share) == ("continue", 0.5)
    two[0] = log(4_000, 0.05, failing=0.5)
    bad = check(study, NAME, NEW, pd.concat(two, ignore_index=True), ASSUMED)
    assert bad.verdict == "roll back"


def test_a_bad_week_of_both_routes_is_no_evidence_although_the_weight_grew_with_it(study):
    calm = log(20_000, 0.05, failing=0.01, today_failing=0.01)
    storm = log(6_000, 0.5, failing=0.12, today_failing=0.12, start="2026-12-03")
    rows = pd.concat([calm, storm], ignore_index=True)
    with pytest.raises(ValueError, match="--since"):
        check(study, NAME, NEW, rows, ASSUMED)
    sent = sent_of(rows, study, NAME, NEW)
    pooled = sent.groupby("to")["errors"].agg(["sum", "count"]).astype(int)
    (yes, n), (old_yes, old) = pooled.loc[NEW], pooled.loc[TODAY]
    # what a comparison over both weeks would have said
    assert evidence_so_far(Counts([yes], [n], [old_yes], [old]), [(0.02, 0.07)]) > 1 / ALPHA


def test_at_full_traffic_the_requests_before_are_the_comparison(study):
    before, full = log(3_000, 0.0), log(3_000, 1.0, failing=0.01, start="2026-12-03")
    seen = check(study, NAME, NEW, pd.concat([before, full], ignore_index=True), ASSUMED)
    assert (seen.verdict, seen.traffic_share, seen.next_share) == ("continue", 1.0, None)
    assert "the canary is over" in seen.sentence
    bad = log(3_000, 1.0, failing=0.2, start="2026-12-03")
    seen = check(study, NAME, NEW, pd.concat([before, bad], ignore_index=True), ASSUMED)
    assert seen.verdict == "roll back"
    with pytest.raises(ValueError, match="100 requests of today's route from before the step"):
        check(study, NAME, NEW, full, ASSUMED)


def test_the_requests_that_give_the_baseline_are_no_evidence(study):
    # a failure of both routes at the rate that was never assumed
    seen = check(study, NAME, NEW, log(12_000, failing=0.3, today_failing=0.3), ASSUMED)
    [errors] = [state for state in seen.states if state.metric == "errors"]
    assert (seen.verdict, errors.baseline_share) == ("continue", pytest.approx(0.3, abs=0.03))
    assert 11_750 < errors.requests + errors.stays_requests < 11_850
    bad = check(study, NAME, NEW, log(6_000, failing=0.42, today_failing=0.3), ASSUMED)
    assert bad.verdict == "roll back"


def test_what_a_log_cannot_show_is_said(study):
    shadow = log(400).assign(model_requested=f"{NAME}.{NEW}")
    lost = log(50, start="2026-12-02").assign(model_served="something", first_model=None, ok=False)
    none_failed = log(3_000, today_failing=0.0)
    rows = pd.concat([none_failed, shadow], ignore_index=True)
    notes = " ".join(check(study, NAME, NEW, rows, ASSUMED).notes)
    assert f"400 asked for {NEW} by name" in notes
    assert "No request failed on either side" in notes
    rows = pd.concat([log(3_000), lost], ignore_index=True)
    notes = " ".join(check(study, NAME, NEW, rows, ASSUMED).notes)
    assert "50 requests, 50 of them failed, name no route" in notes
    seen = check(study, NAME, NEW, log(3_000), ASSUMED, unknown=("ok",), set_aside=3)
    assert "does not tell ok" in seen.not_judged["errors"]
    assert any("3 rows of the log cannot be read" in note for note in seen.notes)
    seen = check(study, NAME, NEW, log(3_000, 0.12), ASSUMED)
    assert any("no planned step" in note for note in seen.notes)


def test_data_that_may_not_go_back_stop_instead(study):
    before, bad = log(3_000, 0.0), log(3_000, 1.0, failing=0.2, start="2026-12-03")
    rows = pd.concat([before, bad], ignore_index=True)
    seen = check(study, NAME, NEW, rows, ASSUMED, may_return=False)
    assert seen.sentence.startswith("Stop the workload: ")


def test_a_log_without_the_workload_or_the_route_is_refused(study):
    with pytest.raises(ValueError, match=r"no request of extraction.*columns\.workload"):
        own_requests(log(10).assign(model_requested="chat"), study, NAME)
    with pytest.raises(ValueError, match=f"sent to {NEW}"):
        check(study, NAME, NEW, log(100, 0.0), ASSUMED)
    with pytest.raises(ValueError, match="nothing of the canary can be judged"):
        check(study, NAME, NEW, log(100), ASSUMED, unknown=("ok", "ttft_s"))
