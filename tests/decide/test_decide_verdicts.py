from datetime import date, timedelta
from itertools import product

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmstudy.decide.matrices import five_questions_verdict
from llmstudy.decide.plan import phases
from llmstudy.decide.verdicts import ROUTE_COLUMNS, Verdict, overall, verdict
from llmstudy.study.lines import Lines

LINES = Lines(probability=0.8, saving_usd=50_000)
USD_PER_ITEM = 6
RANK = {"measured": 0, "recorded": 1, "published": 2, "assumed": 3}


def route(name="open", **given_):
    """A candidate that may move, unless told otherwise; no price falls at equal quality."""
    made = {
        "workload": "chat",
        "route": name,
        "arm": "hosted_open",
        "current": False,
        "same_model": False,
        "permitted": True,
        "permission_reason": "PERMISSION",
        "missing": (),
        "contract": "DPA until 2027-12-31",
        "self_hosting": True,
        "fits_context": True,
        "sized": True,
        "ends": None,
        "quality": "non-inferior",
        "quality_grade": "measured",
        "lowest_grade": "measured",
        "benchmark": "our own (golden set)",
        "closeness": "own",
        "items": 1_319,
        "items_needed": 405,
        "looks": 0,
        "latency": "meets",
        "target_s": 1.0,
        "first_answer_s": None,
        "saving_p10_usd": 10_000,
        "saving_p50_usd": 200_000,
        "saving_p90_usd": 400_000,
        "p_cheaper": 0.95,
        **given_,
    }
    equal = {"p_cheaper_same_quality": made["p_cheaper"]}
    equal["saving_same_quality_usd"] = made["saving_p50_usd"]
    return {**equal, **made}


def today(**given_):
    nothing = dict.fromkeys(("saving_p10_usd", "saving_p50_usd", "saving_p90_usd", "p_cheaper"), 0)
    baseline = {"arm": "proprietary_api", "current": True, "quality": "baseline", "items": 0}
    return route("gpt", **{**baseline, "items_needed": 0, **nothing, **given_})


def decided(*routes, lines=LINES):
    return verdict(pd.DataFrame(routes).to_dict("records"), lines, USD_PER_ITEM)


bools = st.booleans()
arms = st.sampled_from(["proprietary_api", "hosted_open", "self_hosted"])


def mostly(good, *others):
    """The good value about four times in five, so that a draw of many facts often can move."""
    return st.sampled_from([good] * 4 * max(1, len(others)) + list(others))


@st.composite
def candidates(draw, min_size=0):
    savings = draw(st.lists(st.integers(-50, 300), unique=True, min_size=min_size, max_size=4))
    return [
        route(
            f"route{i}",
            arm=draw(arms),
            permitted=draw(mostly(True, False)),
            fits_context=draw(mostly(True, False)),
            quality=draw(mostly("non-inferior", "inferior", "undecided", "none")),
            quality_grade=draw(mostly("measured", "recorded", "published", "assumed")),
            lowest_grade=draw(st.sampled_from(["measured", "published"])),
            items_needed=draw(st.integers(1, 2_000)),
            latency=draw(mostly("meets", "misses", "undecided")),
            saving_p50_usd=saving * 1_000,
            p_cheaper=draw(mostly(0.8, 0.0, 0.3, 0.5, 0.79, 1.0)),
            p_cheaper_same_quality=draw(mostly(0.8, 0.0, 0.79)),
        )
        for i, saving in enumerate(savings)
    ]


often = settings(max_examples=25, deadline=None)


def able(row):
    return row["permitted"] and row["fits_context"] and row["latency"] != "misses"


def proven(row):
    enough = RANK[row["quality_grade"]] <= RANK[row["lowest_grade"]]
    return row["quality"] == "non-inferior" and enough


def pays(row):
    savings = row["saving_p50_usd"], row["saving_same_quality_usd"]
    chances = row["p_cheaper"], row["p_cheaper_same_quality"]
    return min(savings) >= LINES.saving_usd and min(chances) >= LINES.probability


# ---- who may move where


@often
@given(candidates())
def test_a_free_move_goes_to_the_best_route_that_is_able_proven_and_pays(others):
    found = decided(today(), *others)
    fit = [row for row in others if able(row) and proven(row) and pays(row)]
    assert (found.decision == "move") == bool(fit)
    if fit:
        best = max(fit, key=lambda row: row["saving_p50_usd"])
        assert (found.route, found.target, found.arm) == (best["route"], best["route"], best["arm"])
        assert found.contract == best["contract"]
    else:
        assert found.route == "gpt"


@often
@given(candidates())
def test_a_forced_move_never_goes_to_a_route_that_is_barred_slow_short_or_inferior(others):
    found = decided(today(permitted=False), *others)
    fit = [row for row in others if able(row) and row["quality"] != "inferior"]
    assert found.decision == ("move" if fit else "undecided")
    assert found.reasons[0].code == "privacy"
    assert found.reasons[0].route == "gpt"
    if fit:
        chosen = next(row for row in fit if row["route"] == found.route)
        if any(row["arm"] == "proprietary_api" for row in fit):
            assert chosen["arm"] == "proprietary_api"
    else:
        assert found.route is None
        assert [item.what for item in found.collect] == ["contract"]


@often
@given(candidates(min_size=1), bools)
def test_privacy_overrides_any_saving(others, current_permitted):
    barred = [
        {**row, "permitted": False, "saving_p50_usd": 1e12, "p_cheaper": 1.0} for row in others
    ]
    found = decided(today(permitted=current_permitted), *barred)
    assert found.decision == ("stay" if current_permitted else "undecided")
    assert found.target is None
    assert {reason.code for reason in found.reasons} == {"privacy"}


@often
@given(candidates(min_size=1), st.data())
def test_a_worse_candidate_never_turns_a_stay_into_a_move(others, data):
    others = [row for row in others if not (able(row) and proven(row) and pays(row))]
    assume(others)
    before = decided(today(), *others)
    model = data.draw(st.sampled_from(others))
    worse = {
        **model,
        "route": "worse",
        "saving_p50_usd": model["saving_p50_usd"] - data.draw(st.integers(1, 10**6)),
        "p_cheaper": model["p_cheaper"] * data.draw(st.floats(0, 1)),
    }
    after = decided(today(), *others, worse)
    assert after.decision == before.decision
    assert after.route == before.route


@often
@given(candidates(), st.randoms())
def test_the_order_of_the_rows_decides_nothing(others, random):
    rows = [today(), *others]
    straight = decided(*rows)
    random.shuffle(rows)
    shuffled = decided(*rows)
    assert (shuffled.decision, shuffled.route) == (straight.decision, straight.route)


@often
@given(candidates())
def test_a_workload_stays_only_when_no_able_route_could_still_win(others):
    found = decided(today(), *others)
    could = [
        row
        for row in others
        if able(row)
        and row["quality"] != "inferior"
        and row["saving_p50_usd"] >= LINES.saving_usd
        and row["p_cheaper"] >= 0.5
    ]
    assert (found.decision == "stay") == (not could)


@pytest.mark.parametrize("forced", [False, True])
def test_a_forced_move_prefers_the_same_arm_then_the_proven_route_then_the_saving(forced):
    now = today(permitted=not forced)
    same_arm = route("other-api", arm="proprietary_api", quality="none", saving_p50_usd=-90_000)
    unproven = route("hosted", quality="undecided", saving_p50_usd=900_000)
    sure = route("own", arm="self_hosted", saving_p50_usd=100_000)
    assert decided(now, sure, unproven, same_arm).route == ("other-api" if forced else "own")
    assert decided(now, sure, unproven).route == "own"


def test_data_that_must_leave_go_to_todays_own_model_where_a_contract_covers_it():
    now = today(permitted=False)
    same = route(
        "azure-gpt", arm="proprietary_api", same_model=True, quality="none", saving_p50_usd=-5_000
    )
    cheaper = route("other-api", arm="proprietary_api", saving_p50_usd=90_000)
    assert decided(now, same, cheaper).route == "azure-gpt"


def test_a_route_that_answers_late_by_what_is_stated_says_so_where_its_probe_is_asked_for():
    said = {
        begins: decided(today(), route(latency="undecided", quality="none", first_answer_s=begins))
        .collect[-1]
        .sentence
        for begins in (None, 0.9, 31.0)
    }
    assert said[None] == said[0.9] == "open: probe its first token at your load"
    assert said[31.0] == f"{said[None]}; as stated, its answer begins after 31 s, 1 s asked"


@pytest.mark.parametrize(
    ("change", "decision"),
    [
        ({}, "move"),
        ({"permitted": False}, "stay"),
        ({"fits_context": False}, "stay"),
        ({"latency": "misses"}, "stay"),
        ({"latency": "undecided"}, "move"),
        ({"quality": "inferior"}, "stay"),
        ({"quality": "undecided"}, "undecided"),
        ({"quality": "none", "quality_grade": "assumed"}, "undecided"),
        ({"quality_grade": "published"}, "undecided"),
        ({"quality_grade": "published", "lowest_grade": "published"}, "move"),
        ({"p_cheaper": 0.8}, "move"),
        ({"p_cheaper": 0.79}, "undecided"),
        ({"p_cheaper": 0.49}, "stay"),
        ({"saving_p50_usd": 50_000}, "move"),
        ({"saving_p50_usd": 49_999}, "stay"),
        ({"p_cheaper_same_quality": 0.8}, "move"),
        ({"p_cheaper_same_quality": 0.68}, "undecided"),
        ({"saving_same_quality_usd": 49_999}, "undecided"),
        ({"p_cheaper_same_quality": 0.0, "saving_same_quality_usd": -1e6}, "undecided"),
    ],
)
def test_one_fact_about_the_only_candidate_decides(change, decision):
    assert decided(today(), route(**change)).decision == decision


def test_a_move_that_pays_against_standing_still_alone_is_open_and_says_so():
    only = route(p_cheaper_same_quality=0.68, saving_same_quality_usd=34_000)
    found = decided(today(), only)
    assert (found.decision, found.route, found.target) == ("undecided", "gpt", "open")
    said = next(reason.sentence for reason in found.reasons if reason.code == "cost")
    assert "less sure against a buyer who takes each cheaper model" in said
    assert "cheaper in 68 % of simulated futures, saving USD 34k" in said
    assert "cost" in [item.what for item in found.collect]


@pytest.mark.parametrize(
    ("evidence", "decision"), [({}, "move"), ({"quality_grade": "published"}, "undecided")]
)
def test_a_route_that_answers_late_as_stated_comes_after_one_that_does_not(evidence, decision):
    late = {"latency": "undecided", "target_s": 1.0, "first_answer_s": 16.0}
    best = route("reasons-first", saving_p50_usd=290_000, **late, **evidence)
    prompt = route("prompt", **evidence)
    found = decided(today(), best, prompt)
    assert (found.decision, found.target) == (decision, "prompt")
    assert decided(today(), best).target == "reasons-first"  # it is the only one
    measured = {**best, "latency": "meets"}
    assert decided(today(), measured, prompt).target == "reasons-first"


def test_a_missing_signature_is_asked_for_and_moves_nothing_to_another_arm():
    unsigned = today(permitted=False, missing=("baa",))
    found = decided(unsigned, route("own", arm="self_hosted"))
    assert (found.decision, found.arm, found.route) == ("undecided", "proprietary_api", None)
    assert [item.sentence for item in found.collect] == [
        "gpt: sign BAA",
        "own: self-host it; it may see these data",
    ]
    signed = route("other-api", arm="proprietary_api", quality="none")
    assert decided(unsigned, signed).route == "other-api"


@pytest.mark.parametrize(
    ("own_fleet", "cure"),
    [
        (True, "gpt: name a self-hosted route that can serve it; it may see these data"),
        (False, "gpt: name a route that may see these data; none here may"),
    ],
)
def test_data_that_no_route_may_see_are_offered_a_fleet_where_that_is_permitted(own_fleet, cure):
    barred = {"permitted": False, "self_hosting": own_fleet}
    found = decided(today(**barred), route(**barred))
    assert [item.sentence for item in found.collect] == [cure]


def test_one_signature_that_opens_several_routes_is_listed_once():
    unsigned = {"permitted": False, "missing": ("baa", "dpa"), "self_hosting": False}
    found = decided(today(**unsigned), route("hosted", **unsigned), route("other", **unsigned))
    asked = [item.sentence for item in found.collect]
    assert asked == ["gpt or hosted or other: sign BAA, DPA"]


def test_data_that_an_arm_may_never_see_go_to_one_that_may():
    barred = today(permitted=False)
    assert decided(barred, route("own", arm="self_hosted")).arm == "self_hosted"


@pytest.mark.parametrize(
    ("fact", "what"),
    [
        ({"ends": "2026-11-30"}, "successor"),
        ({"sized": False}, "probe"),
        ({"latency": "misses"}, "latency"),
    ],
)
def test_staying_is_not_open_where_the_model_retires_or_the_fleet_cannot_carry_it(fact, what):
    found = decided(today(**fact), route(quality="inferior"))
    assert found.decision == "undecided"
    assert found.collect[0].what == what


def test_a_route_that_cannot_be_sized_is_no_candidate():
    found = decided(today(), route(sized=False))
    assert found.decision == "stay"
    assert [reason.code for reason in found.reasons] == ["capacity"]


@pytest.mark.parametrize("count", [0, 2])
def test_a_workload_has_exactly_one_current_route(count):
    with pytest.raises(ValueError, match=f"{count} current routes"):
        decided(route(), *[today(), today()][:count])


# ---- what it says


@often
@given(candidates())
def test_an_undecided_workload_lists_what_to_collect_with_number_and_price(others):
    others = [*others, route("maybe", quality="undecided")]
    found = decided(today(), *others)
    assume(found.decision == "undecided")
    target = next(row for row in others if row["route"] == found.target)
    about = [item for item in found.collect if item.sentence.startswith(f"{found.target}: ")]
    assert about
    golden = [item for item in about if item.what == "golden items"]
    assert bool(golden) == (not proven(target))
    for item in golden:
        assert item.n == target["items_needed"]
        assert item.usd == item.n * USD_PER_ITEM
        assert f"{item.n:,}" in item.sentence
    assert any(item.what == "cost" for item in about) == (not pays(target))
    assert any(item.what == "probe" for item in about) == (target["latency"] == "undecided")


@often
@given(candidates())
def test_every_candidate_has_a_reason_and_a_barred_one_only_its_bar(others):
    found = decided(today(), *others)
    for row in others:
        codes = [reason.code for reason in found.reasons if reason.route == row["route"]]
        if not row["permitted"]:
            assert codes == ["privacy"]
        elif not row["fits_context"]:
            assert codes == ["context"]
        elif row["latency"] == "misses":
            assert codes == ["latency"]
        else:
            assert codes == ["cost", "quality"]


def test_reasons_say_the_numbers_that_they_rest_on():
    found = decided(today(), route(quality_grade="published", p_cheaper=0.7))
    assert [reason.sentence for reason in found.reasons] == [
        "open: cheaper in 70 % of simulated futures, below the 80 % required",
        "open: not inferior on 1,319 published paired items of our own (golden set); "
        "a move must rest on measured ones",
    ]
    dear = decided(today(), route(p_cheaper=0.2, quality="none"))
    assert [reason.sentence for reason in dear.reasons] == [
        "open: dearer in 80 % of simulated futures",
        "open: no paired items yet",
    ]


def test_a_verdict_reads_no_other_columns_than_it_says():
    rows = pd.DataFrame([today(), route()])[list(ROUTE_COLUMNS)].to_dict("records")
    found = verdict(rows, LINES, USD_PER_ITEM)
    assert found == decided(today(), route(surprise=1))
    assert Verdict(**found.row()).route == "open"


# ---- over all workloads


@pytest.mark.parametrize(
    ("arms_", "expected"),
    [
        (["proprietary_api"], "api_first"),
        (["proprietary_api", "proprietary_api"], "api_first"),
        (["proprietary_api", "hosted_open"], "hybrid"),
        (["self_hosted", "proprietary_api"], "hybrid"),
        (["self_hosted", "hosted_open"], "off_api"),
        (["hosted_open"], "off_api"),
    ],
)
def test_the_verdict_over_all_workloads_counts_where_they_run(arms_, expected):
    verdicts = {str(i): Verdict(arm, "stay", "x", "", None) for i, arm in enumerate(arms_)}
    assert overall(verdicts) == expected


def test_three_noes_mean_api_whatever_the_unknown_answers_turn_out_to_be():
    for answers in product(["yes", "no", "unknown"], repeat=5):
        could_be = [["yes", "no"] if a == "unknown" else [a] for a in answers]
        verdicts = {truth.count("no") >= 3 for truth in product(*could_be)}
        expected = {(True,): "api", (False,): "consider self-hosting"}.get(
            tuple(verdicts), "undecided"
        )
        assert five_questions_verdict(answers) == expected, answers


@settings(max_examples=20, deadline=None)
@given(st.dates(date(2020, 1, 1), date(2040, 1, 1)))
def test_phases_follow_one_another_from_the_day_of_the_decision(start):
    plan = phases(start, ["chat"], ["extraction"])
    assert plan["phase"].tolist() == [1, 2, 3]
    assert plan["start"].iloc[0] == start
    assert (plan["start"] < plan["end"]).all()
    assert (plan["start"].iloc[1:].to_numpy() >= plan["end"].iloc[:-1].to_numpy()).all()
    # V2: weeks 1-4, months 2-4, months 4-8
    assert plan["end"].iloc[0] == start + timedelta(weeks=4)
    months = [(end - start).days / 30.44 for end in plan["end"]]
    assert months[1] == pytest.approx(4, abs=0.5)
    assert months[2] == pytest.approx(8, abs=0.5)


def test_phases_say_what_they_are_about():
    assert phases(date(2026, 12, 18), ["a", "b"], ["c"])["scope"].tolist() == [
        "all workloads",
        "c",
        "a; b",
    ]
    nothing = phases(date(2026, 12, 18), [], [])["scope"].tolist()
    assert nothing == ["all workloads", "all workloads", "none yet: a trigger must fire first"]
    gates = phases(date(2026, 12, 18), [], [])[["entry_gate", "exit_gate", "work_items", "owner"]]
    assert gates.notna().all().all()
