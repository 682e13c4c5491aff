from datetime import date, timedelta
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy.measures.privacy import permission, privacy_matrix
from llmstudy.study import ArmName, Contract, DataClass

MATRIX = privacy_matrix()
CLASSES, ARMS = get_args(DataClass), get_args(ArmName)
KINDS = get_args(Contract.model_fields["kind"].annotation)
TODAY = date(2026, 11, 23)

third_party = st.sampled_from(["proprietary_api", "hosted_open"])
contracts_held = st.dictionaries(
    st.sampled_from(KINDS), st.dates(date(2020, 1, 1), date(2035, 1, 1))
)

few = settings(max_examples=30, deadline=None)


def asked(data_class, arm, contracts, on=TODAY):
    return permission(data_class, arm, contracts, on, MATRIX)


def test_the_matrix_answers_for_every_data_class_on_every_arm_once():
    pairs = list(zip(MATRIX["data_class"], MATRIX["arm"], strict=True))
    assert sorted(pairs) == sorted((c, a) for c in CLASSES for a in ARMS)
    assert set(MATRIX["permitted"]) == {"yes", "no"}
    assert (MATRIX["source"] != "").all()


@pytest.mark.parametrize("arm", ["proprietary_api", "hosted_open"])
@pytest.mark.parametrize(
    ("data_class", "contracts"),
    [  # T3 of the source memo: what a third party must have signed
        ("consumer", set()),
        ("enterprise", {"dpa"}),
        ("phi", {"baa"}),
        ("mnpi", {"dpa", "no_retention", "mnpi_approval"}),
        ("eu_strict", {"dpa", "eu_region"}),
    ],
)
def test_a_third_party_needs_the_contracts_that_the_source_memo_names(arm, data_class, contracts):
    forever = date(2099, 1, 1)
    assert set(asked(data_class, arm, {}).missing) == contracts
    assert asked(data_class, arm, dict.fromkeys(contracts, forever)).permitted
    for lacking in contracts:
        held = dict.fromkeys(contracts - {lacking}, forever)
        found = asked(data_class, arm, held)
        assert not found.permitted
        assert found.missing == (lacking,)


@few
@given(st.sampled_from(CLASSES), st.sampled_from(ARMS), contracts_held, st.sampled_from(KINDS))
def test_one_more_contract_never_takes_a_permission_away(data_class, arm, held, kind):
    more = {**held, kind: date(2099, 1, 1)}
    assert asked(data_class, arm, more).permitted >= asked(data_class, arm, held).permitted


@few
@given(third_party, contracts_held)
def test_health_data_never_reach_a_third_party_without_a_baa_in_force(arm, held):
    assert asked("phi", arm, held).permitted == (held.get("baa", date.min) >= TODAY)


@few
@given(third_party, contracts_held)
def test_government_data_never_reach_a_third_party_whatever_is_signed(arm, held):
    assert not asked("government", arm, held).permitted
    assert asked("government", "self_hosted", {}).permitted


@few
@given(contracts_held)
def test_data_that_nobody_classified_reach_a_host_under_contract_only(held):
    found = asked("unknown", "hosted_open", held)
    assert found.permitted == (held.get("dpa", date.min) >= TODAY)


@few
@given(st.dates(date(2020, 1, 1), date(2035, 1, 1)))
def test_a_contract_holds_through_its_last_day_and_not_the_day_after(last):
    held = {"baa": last}
    day = timedelta(days=1)
    assert asked("phi", "proprietary_api", held, last).contract == f"BAA until {last}"
    assert asked("phi", "proprietary_api", held, last - day).permitted
    lapsed = asked("phi", "proprietary_api", held, last + day)
    assert (lapsed.permitted, lapsed.contract, lapsed.missing) == (False, "", ("baa",))
    needed = f"phi data need BAA in force on {last + day}"
    assert lapsed.reason == f"{needed}; BAA ended on {last}"
    assert asked("phi", "proprietary_api", {}, last + day).reason == needed


def test_every_contract_that_a_permission_rests_on_is_told_with_its_end():
    ends = {"dpa": date(2027, 6, 30), "eu_region": date(2028, 1, 1), "soc2": date(2030, 1, 1)}
    told = asked("eu_strict", "hosted_open", ends).contract
    assert told == "DPA until 2027-06-30; eu region until 2028-01-01"
    assert asked("consumer", "hosted_open", ends).contract == "none needed"


def test_a_pair_that_the_matrix_lacks_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="no row for secret on self_hosted: add one"):
        asked("secret", "self_hosted", {})
