"""The checklist of contracts, held to the privacy matrix and to the days of the calendar."""

from datetime import date, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy.decide.contracts import ITEMS, checklist, needs
from llmstudy.measures.privacy import permission, privacy_matrix
from llmstudy.study import Contract, DataClass

TODAY = date(2026, 11, 23)
MATRIX = privacy_matrix()


def state(kind, **given):
    asked = {"valid_until": {}, "needed_by": {}, "unclassified": False, "on": TODAY} | given
    return next(item for item in checklist(**asked) if item.kind == kind)


def test_every_kind_that_a_study_can_state_is_an_item_of_the_checklist():
    assert set(ITEMS) == set(get_args(Contract.model_fields["kind"].annotation))


def test_every_need_of_the_privacy_matrix_is_an_item_of_the_checklist():
    assert {kind for row in MATRIX["needs"] for kind in row.split()} <= set(ITEMS)


@pytest.mark.parametrize(
    ("until", "said", "left"),
    [
        (TODAY + timedelta(days=1), "in force", 1),
        (TODAY, "in force", 0),
        (TODAY - timedelta(days=1), "expired", -1),
    ],
)
def test_a_contract_holds_to_the_end_of_its_last_day(until, said, left):
    item = state("baa", valid_until={"baa": until}, needed_by={"baa": ["chat"]})
    assert (item.state, item.days_left, item.valid_until) == (said, left, until)


def test_what_is_not_held_is_missing_only_where_a_workload_needs_it():
    assert state("dpa", needed_by={"dpa": ["chat", "search"]}).state == "missing"
    assert state("dpa", needed_by={"dpa": ["chat", "search"]}).needed_by == ("chat", "search")
    assert state("dpa").state == "not required"
    assert state("dpa").days_left is None


def test_for_unclassified_data_nobody_can_say_what_is_required():
    assert state("baa", unclassified=True).state == "unknown"
    assert state("dpa", unclassified=True, needed_by={"dpa": ["chat"]}).state == "missing"
    assert state("dpa", unclassified=True, valid_until={"dpa": TODAY}).state == "in force"


@given(
    st.sampled_from([c for c in get_args(DataClass) if c not in ("unknown", "government")]),
    st.sampled_from(["proprietary_api", "hosted_open", "self_hosted"]),
    st.dictionaries(st.sampled_from(list(ITEMS)), st.integers(-9, 9)),
)
def test_a_route_is_permitted_exactly_when_no_needed_item_is_missing_or_expired(
    data_class, arm, held
):
    held = {kind: TODAY + timedelta(days=days) for kind, days in held.items()}
    wanted = {kind: ["chat"] for kind in needs(data_class, arm, MATRIX)}
    open_ = [
        item.kind
        for item in checklist(held, wanted, False, TODAY)
        if item.needed_by and item.state != "in force"
    ]
    found = permission(data_class, arm, held, TODAY, MATRIX)
    assert found.permitted == (not open_)
    assert sorted(found.missing) == sorted(open_)


def test_a_pair_that_the_matrix_lacks_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="no row for secret on hosted_open"):
        needs("secret", "hosted_open", MATRIX)
