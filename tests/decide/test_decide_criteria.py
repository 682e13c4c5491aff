"""One scale, and a rule for each criterion that follows its evidence."""

from datetime import date, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy.decide import criteria, team
from llmstudy.decide.matrices import criteria_claims
from llmstudy.study.lines import Lines

UNTIL = date(2028, 11, 23)


# ---- C1


@pytest.mark.parametrize(
    ("verdict", "grade", "ends", "score"),
    [
        ("meets", "measured", (0.2, 0.5), 4),
        ("meets", "measured", (0.2, 0.51), 3),
        ("undecided", "measured", (0.8, 1.3), 2),
        ("misses", "measured", (1.1, 1.9), 1),
        ("misses", "measured", (2.1, 2.5), 0),
        ("misses", "published", (None, None), 0),
        ("undecided", "published", (0.1, None), None),
        ("undecided", "assumed", (0.1, 0.2), None),
        ("undecided", "secondary", (5.0, 9.0), None),
    ],
)
def test_a_first_token_scores_by_its_interval_and_a_claim_scores_nothing(
    verdict, grade, ends, score
):
    assert criteria.latency(verdict, grade, ends, 1.0).score == score


def test_what_is_only_bounded_says_so():
    said = criteria.latency("undecided", "published", (0.1, None), 1.0).verdict
    assert "at least 100 ms against 1,000 ms" in said
    assert said.startswith("not measured")


# ---- C2


def cost(p_cheaper, saving_usd, equals=None, probability=0.8, line_usd=50e3, **other):
    """equals: chance and saving against a buyer who moves on; by default no price falls."""
    savings = {"p_cheaper": p_cheaper, "saving_p50_usd": saving_usd}
    p, usd = equals or (p_cheaper, saving_usd)
    savings |= {"p_cheaper_same_quality": p, "saving_same_quality_usd": usd}
    lines = Lines(probability, line_usd)
    return criteria.cost(savings=savings, lines=lines, **{"current": False, "sized": True, **other})


@pytest.mark.parametrize(
    ("p", "saving", "score"),
    [
        (0.95, 60e3, 4),
        (0.95, 40e3, 3),
        (0.8, 50e3, 4),
        (0.79, 60e3, 2),
        (0.21, -60e3, 2),
        (0.05, -40e3, 1),
        (0.05, -60e3, 0),
    ],
)
def test_cost_scores_by_the_studys_own_two_lines(p, saving, score):
    assert cost(p, saving).score == score


def test_a_saving_against_standing_still_alone_is_no_room_to_spare():
    score = cost(0.95, 60e3, equals=(0.68, 34e3))
    assert score.score == 3
    assert "less sure against a buyer who takes" in score.verdict
    assert "cheaper in 68 % of simulated futures, saving USD 34k" in score.verdict


@given(st.floats(0, 1), st.floats(-1e6, 1e6), st.floats(0.5, 0.99), st.floats(1, 1e6))
def test_a_surer_or_larger_saving_never_scores_less_and_a_loss_mirrors_a_saving(
    p, usd, line, floor
):
    lines = {"probability": line, "line_usd": floor}
    score = cost(p, usd, **lines).score
    assert cost(min(1.0, p + 0.1), usd + abs(usd), **lines).score >= score
    if usd and p not in (line, 1 - line) and abs(1 - p - line) > 1e-9 and abs(p - line) > 1e-9:
        assert cost(1 - p, -usd, **lines).score == 4 - score


def test_todays_bill_is_even_and_what_cannot_be_sized_has_no_score():
    assert cost(0.0, 0.0, current=True).score == 2
    assert cost(0.0, 0.0, sized=False).score is None
    assert cost(0.0, 0.0, sized=False, current=True).score is None


# ---- C3


def custom(quality, difference=None, insufficient="no", tuning="yes"):
    return criteria.customisation(
        benchmark="GSM8K (ZeroEval)",
        quality=quality,
        items=1319,
        difference=difference,
        margin=0.03,
        insufficient=insufficient,
        tuning=tuning,
        claimed_gain=0.05,
    ).score


def test_todays_route_stands_on_whether_prompting_suffices():
    assert custom("baseline") == 3
    assert custom("baseline", insufficient="unknown") is None
    assert custom("baseline", insufficient="yes", tuning="at the provider") == 1
    assert custom("baseline", insufficient="yes") == 2


def test_a_candidate_stands_on_paired_items():
    assert custom("none") is None
    assert custom("undecided", -0.02) == 2
    assert custom("non-inferior", -0.01) == 3
    assert custom("non-inferior", -0.01, insufficient="yes") == 4
    assert custom("non-inferior", -0.01, insufficient="yes", tuning="at the provider") == 3


@pytest.mark.parametrize(
    ("gap", "tuning", "score"),
    [(-0.07, "yes", 1), (-0.09, "yes", 0), (-0.07, "at the provider", 0)],
)
def test_an_inferior_candidate_can_be_mended_only_if_the_claimed_gain_closes_its_gap(
    gap, tuning, score
):
    assert custom("inferior", gap, tuning=tuning) == score


# ---- C4


@given(st.floats(0, 100), st.floats(0, 100))
def test_lock_in_scores_within_its_range_or_not_at_all(a, b):
    low, high = sorted((a, b))
    score = criteria.lock_in(low, high).score
    if score is None:
        assert high - low > 20
    else:
        assert min(4, low // 20) <= score <= min(4, high // 20)
        assert high - low < 40 or high == 100


@pytest.mark.parametrize(
    ("low", "high", "score"),
    [(100, 100, 4), (0, 0, 0), (66, 76, 3), (26, 51, 1), (10, 85, None), (50, 81, None)],
)
def test_bands_of_lock_in(low, high, score):
    assert criteria.lock_in(low, high).score == score


# ---- C5


def privacy(**other):
    given = {
        "data_class": "phi",
        "permitted": True,
        "signable": False,
        "reason": "because",
        "ends": None,
        "until": UNTIL,
    }
    return criteria.privacy(**(given | other))


def test_privacy_scores_by_permission_and_by_how_long_its_contracts_hold():
    assert privacy().score == 4
    assert privacy(ends=UNTIL).score == 4
    assert privacy(ends=UNTIL - timedelta(days=1)).score == 3
    assert privacy(permitted=False, signable=True).score == 1
    assert privacy(permitted=False).score == 0
    assert privacy(data_class="unknown").score is None
    # a host without any contract is barred whatever the data are
    assert privacy(data_class="unknown", permitted=False, signable=True).score == 1


# ---- C6


@pytest.mark.parametrize(
    ("engineers", "score"), [(0, 0), (1, 0), (1.25, 1), (2.4, 1), (2.5, 2), (4.9, 2), (5, 4)]
)
def test_the_team_scores_by_its_gate(engineers, score):
    assert criteria.team(True, team.readiness(engineers, (1, 2.5), (2.5, 5))).score == score


def test_an_arm_that_takes_no_engineers_lacks_none():
    assert criteria.team(False, team.readiness(0, (1, 2.5), (2.5, 5))).score == 4


# ---- the route that stands for an arm


def routes(*rows):
    columns = [
        "route",
        "permitted",
        "fits_context",
        "sized",
        "latency",
        "quality",
        "saving_p50_usd",
    ]
    return pd.DataFrame(rows, columns=columns)


NOW = ("now", True, True, True, "undecided", "baseline", 0.0)
UNSCORED = ("unscored", True, True, True, "undecided", "none", 9e5)
PROVEN = ("proven", True, True, True, "undecided", "non-inferior", 1e5)
WORSE = ("worse", True, True, True, "undecided", "inferior", 9e6)
LATE = ("late", True, True, True, "misses", "non-inferior", 9e6)
SHORT = ("short", True, False, False, "undecided", "non-inferior", 9e6)
BARRED = ("barred", False, True, True, "meets", "non-inferior", 9e6)


@pytest.mark.parametrize(
    ("given", "best"),
    [
        ((BARRED, WORSE), "worse"),
        ((SHORT, LATE, WORSE), "worse"),
        ((WORSE, UNSCORED), "unscored"),
        ((UNSCORED, NOW), "now"),
        ((NOW, PROVEN, UNSCORED, BARRED), "proven"),
    ],
)
def test_evidence_picks_the_route_of_an_arm(given, best):
    for order in (given, given[::-1]):
        assert criteria.best_route(routes(*order))["route"] == best


def test_no_permitted_route_is_none():
    assert criteria.best_route(routes(BARRED)) is None
    assert criteria.best_route(routes()) is None


# ---- claims


def test_every_criterion_has_claims_and_the_memos_ranges_run_forwards():
    table = criteria_claims()
    assert set(table["criterion"]) == set(criteria.CRITERIA)
    assert table["id"].is_unique
    numbers = table.dropna(subset=["low", "high"])
    assert len(numbers) >= 15
    assert (numbers["low"] <= numbers["high"]).all()
    assert numbers["unit"].notna().all()


def test_all_arms_have_their_facts():
    facts = criteria.arm_facts()
    assert list(facts.index) == ["proprietary_api", "hosted_open", "self_hosted"]
    assert set(facts["needs_ml_engineers"]) <= {"yes", "no"}
