import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy.decide.judge import FIRING_GRADES, status
from llmstudy.decide.triggers.rules import trigger_table
from llmstudy.figure import GRADES
from llmstudy.measures.cost import break_even_utilisation, replica_month_usd

MONTH_S = 730 * 3600

facts = st.floats(0, 1) | st.none()
grades = st.sampled_from(GRADES)


@pytest.mark.parametrize(
    ("value", "threshold", "grade", "inclusive", "expected"),
    [
        (0.35, 0.30, "measured", True, "fired"),
        (0.35, 0.30, "recorded", True, "fired"),
        (0.35, 0.30, "published", True, "fired"),
        (0.35, 0.30, "secondary", True, "pending"),
        (0.35, 0.30, "assumed", True, "pending"),
        (0.35, 0.30, "simulated", True, "pending"),
        (0.25, 0.30, "measured", True, "armed"),
        (0.30, 0.30, "measured", True, "fired"),
        (0.30, 0.30, "measured", False, "armed"),
        (0.31, 0.30, "measured", False, "fired"),
        (None, 0.30, "measured", True, "unknown"),
        (0.35, None, "measured", True, "unknown"),
        (0.0, 0.0, "measured", False, "armed"),
    ],
)
def test_a_trigger_is_fired_by_evidence_at_its_threshold_only(
    value, threshold, grade, inclusive, expected
):
    assert status(value, threshold, grade, ">=" if inclusive else ">") == expected


@given(facts, facts, grades)
def test_an_assumption_never_fires_a_trigger(value, threshold, grade):
    if status(value, threshold, grade) == "fired":
        assert grade in ("measured", "recorded", "published")
    assert not {"secondary", "assumed", "simulated"} & set(FIRING_GRADES)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), grades)
def test_a_worse_fact_never_calms_a_trigger(value, more, threshold, grade):
    if status(value, threshold, grade) == "fired":
        assert status(value + more, threshold, grade) == "fired"


@given(
    st.integers(1, 50),
    st.floats(1, 10),
    st.integers(1, 8),
    st.floats(0.1, 100),
    st.floats(0, 1e5),
    st.floats(1e-6, 1),
)
def test_at_the_break_even_utilisation_fleet_and_api_cost_the_same_a_month(
    replicas, rent, gpus, requests_per_s, staff, api_usd
):
    fleet = replicas * replica_month_usd(rent, gpus, 0.25) + staff
    full = replicas * requests_per_s * MONTH_S
    utilisation = break_even_utilisation(fleet, full, api_usd)
    assert utilisation * full * api_usd == pytest.approx(fleet)
    # above it the fleet is the cheaper of the two, for it costs the same busy or idle
    assert 1.01 * utilisation * full * api_usd > fleet


@pytest.mark.parametrize(
    ("rent", "requests_per_s", "api_usd_per_1k", "published"),
    [  # cost.md 4.4, staff excluded
        (2.29, 22.7, 0.300, 0.09),
        (2.29, 22.7, 0.221, 0.13),
        (2.29, 22.7, 0.075, 0.38),
        (6.88, 22.7, 0.300, 0.28),
        (6.88, 22.7, 0.221, 0.38),
        (1.861, 6.5, 0.300, 0.27),
        (3.39, 4.2, 0.300, 0.75),
        (3.39, 4.2, 0.848, 0.27),
        (3.39, 4.2, 0.240, 0.94),
        (3.39, 2.1, 0.848, 0.52),
    ],
)
def test_one_gpu_breaks_even_at_the_utilisation_that_was_published(
    rent, requests_per_s, api_usd_per_1k, published
):
    month = replica_month_usd(rent, 1, 0.0)
    found = break_even_utilisation(month, requests_per_s * MONTH_S, api_usd_per_1k / 1000)
    assert found == pytest.approx(published, abs=0.01)


def test_there_are_six_triggers_each_with_an_owner_and_a_source():
    table = trigger_table()
    assert table["id"].tolist() == ["G1", "G2", "G3", "G4", "G5", "G6"]
    assert table[["asks", "unit", "owner", "moves_to", "source"]].notna().all().all()
    assert table["asks"].str.endswith("?").all()
