"""The readiness gate: sure only outside the range of what is needed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy.decide import team

amount = st.floats(0, 20, allow_nan=False)
span_ = st.tuples(amount, amount).map(lambda ends: (min(ends), max(ends)))


def test_the_roles_add_up_to_the_source_memos_total():
    assert team.headcount(team.roles()) == (2.5, 5)


@pytest.mark.parametrize(
    ("engineers", "verdict", "short"),
    [(0, "short", (3, 6)), (2, "short", (1, 4)), (3, "unknown", (0, 3)), (6, "ready", (0, 0))],
)
def test_the_larger_need_counts(engineers, verdict, short):
    found = team.readiness(engineers, (3, 6), (2.5, 5))
    assert (found.need_low, found.need_high) == (3, 6)
    assert (found.verdict, (found.short_low, found.short_high)) == (verdict, short)
    assert verdict in found.sentence


@given(amount, span_, span_)
def test_ready_means_enough_at_any_need_in_the_range_and_short_enough_at_none(n, staffing, heads):
    found = team.readiness(n, staffing, heads)
    needs = [max(a, b) for a in staffing for b in heads]
    enough = [n >= need for need in needs]
    if found.verdict == "ready":
        assert all(enough)
    elif found.verdict == "short":
        assert not any(enough)
        assert found.short_low > 0
    else:
        assert found.short_low == 0 < found.short_high


def test_a_lack_is_told_with_its_range():
    said = team.readiness(1, (1, 2.5), (2.5, 5)).sentence
    assert said == "short by 1.5 to 4: 1 experienced engineer, 2.5 to 5 needed"


def test_the_source_memos_heads_at_its_own_salaries_come_near_its_own_total():
    low, high = team.yearly_usd(team.headcount(team.roles()), (150e3, 250e3))
    assert (low, high) == pytest.approx((400e3, 1.2e6), rel=0.07)
