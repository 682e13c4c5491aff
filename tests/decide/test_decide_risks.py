"""The merged register loses nothing, and an indicator says no more than its evidence bears."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy import paths
from llmstudy.decide import matrices as risks
from llmstudy.decide.facts import vendors
from llmstudy.decide.facts.log import minutes_failing
from llmstudy.decide.facts.volume import growth_factor
from llmstudy.decide.judge import Fact, state
from llmstudy.figure import GRADES

MEMO = "000_90e89beb627d0dd1.txt"
RISKS = pd.read_csv(paths.data("risks.csv"), keep_default_na=False)
WATCHED = risks.indicator_table()


def readings(**given):
    """A reading for every indicator: nothing known, but for those given as (value, grade)."""
    nothing = dict.fromkeys(WATCHED["name"], (None, "assumed"))
    return {
        name: Fact(value, "", grade, "somewhere", f"{name} reads {value}")
        for name, (value, grade) in (nothing | given).items()
    }


def found(**given):
    return risks.indicators(readings(**given), {"price_rise": 0.2, "format_failures": 0.02})


def risk(table, id_):
    return table.set_index("id").loc[id_]


# ---- the register


def test_every_row_of_every_voice_is_in_exactly_one_risk():
    merged = [id_ for ids in RISKS["source_ids"] for id_ in ids.split()]
    assert sorted(merged) == sorted(risks.risk_sources()["id"])
    assert len(merged) == len(set(merged))
    voices = pd.Series([re.sub(r"\d", "", id_) for id_ in merged]).value_counts().to_dict()
    # T8: two paths of seven, four common; five of the synthesis, six, six and three
    assert voices == {"api": 7, "own": 7, "common": 4, "syn": 5, "str": 6, "cha": 6, "arc": 3}


@pytest.mark.shared
def test_the_rows_are_the_memos_own_words_on_the_line_they_name(shared):
    lines = (shared / MEMO).read_text(encoding="utf-8").splitlines()
    for row in risks.risk_sources().to_dict("records"):
        at = int(re.search(r"line (\d+)", row["source"])[1])
        said = " ".join(lines[at - 1 : at + 1])  # a mitigation may stand on the next line
        assert row["risk"] in said, row["id"]
        assert row["mitigation"].replace("USD 50K", "$50K") in said, row["id"]
        for rating in filter(None, (row["likelihood"], row["impact"])):
            assert rating in said.lower(), row["id"]


def test_a_merged_risk_keeps_the_rating_every_remedy_and_every_voice():
    told = risks.risk_sources().set_index("id")
    for row in risks.register(found()).to_dict("records"):
        own = told.loc[row["source_ids"].split()]
        assert all(text.rstrip(".") in row["mitigation"] for text in own["mitigation"])
        assert set(row["advisors"].split(", ")) == set(own["advisor"])
        rated = [level for level in own["likelihood"] if level]
        assert row["likelihood"] in (rated or [""])
        assert all(risks.LEVELS.index(x) <= risks.LEVELS.index(row["likelihood"]) for x in rated)


def test_each_risk_has_an_owner_and_a_measure_in_a_few_words():
    assert (RISKS[["owner", "measure"]] != "").all(axis=None)
    assert (RISKS["measure"].str.split().str.len() <= 15).all()


def test_each_indicator_watches_a_risk_and_each_name_is_known():
    named = {name for names in RISKS["indicators"] for name in names.split()}
    assert named == set(WATCHED["name"])


def test_a_risk_that_nothing_watches_has_no_live_evidence():
    everything = {str(name): (1e6, "measured") for name in WATCHED["name"]}
    table = risks.register(found(**everything))
    unwatched = table[table["indicators"] == ""]
    assert len(unwatched) > 0
    assert set(unwatched["state"]) == {risks.NO_LIVE_EVIDENCE}
    assert set(unwatched["live"]) == {""}


def test_a_risk_is_as_bad_as_the_worst_that_watches_it():
    quiet, loud = (0.0, "measured"), (0.02, "measured")  # failed requests: 1 % is active
    both = risk(risks.register(found(retry_share=quiet, failed_share=loud)), "R03")
    assert both["state"] == "active"
    assert both["live"] == "retry_share reads 0.0; failed_share reads 0.02"
    half = risk(risks.register(found(retry_share=quiet)), "R03")
    assert (half["state"], half["live"]) == ("quiet", "retry_share reads 0.0")
    assert risk(risks.register(found()), "R03")["state"] == risks.NO_LIVE_EVIDENCE


# ---- what a reading means


@given(
    st.floats(-1e3, 1e3),
    st.sampled_from([">=", "<="]),
    st.floats(0, 10),
    st.floats(0, 10),
    st.sampled_from(GRADES),
)
def test_only_evidence_raises_an_alarm_or_calms_one(value, operator, warning, further, grade):
    sign = 1 if operator == ">=" else -1
    active = warning + sign * further  # beyond the warning, on the bad side
    found_ = state(Fact(value, "", grade, ""), operator, warning, active)
    beyond = sign * value >= sign * active
    near = sign * value >= sign * warning
    if grade in ("measured", "recorded", "published"):
        assert found_ == ("active" if beyond else "warning" if near else "quiet")
    else:
        assert found_ == ("warning" if near else "no evidence")


def test_what_is_not_known_is_no_evidence_of_quiet():
    assert {row["state"] for row in found().to_dict("records")} == {"no evidence"}


def test_the_study_draws_the_line_where_the_table_leaves_it_open():
    table = found(price_rise=(0.15, "published")).set_index("name").loc["price_rise"]
    assert (table["warning"], table["threshold"], table["state"]) == (0.1, 0.2, "warning")
    lower = risks.indicators(
        readings(price_rise=(0.15, "published")), {"price_rise": 0.1, "format_failures": 0.02}
    )
    assert lower.set_index("name").loc["price_rise", "state"] == "active"


def test_an_indicator_without_reading_or_line_is_an_error_that_names_it():
    some = readings()
    del some["engineers"]
    with pytest.raises(KeyError, match="engineers"):
        risks.indicators(some, {"price_rise": 0.2, "format_failures": 0.02})
    with pytest.raises(ValueError, match="format_failures has no threshold"):
        risks.indicators(readings(), {"price_rise": 0.2})


def test_a_warning_comes_before_the_alarm_in_the_bundled_lines():
    lines = WATCHED.dropna(subset="active")
    rising = lines["operator"] == ">="
    assert (lines.loc[rising, "warning"] <= lines.loc[rising, "active"]).all()
    assert (lines.loc[~rising, "warning"] >= lines.loc[~rising, "active"]).all()


# ---- what is read


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_outage_minutes_are_those_counted_one_by_one(seed):
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2026-11-02T09:00", tz="UTC")
    seconds = np.sort(rng.integers(0, 1200, 200))
    log = pd.DataFrame(
        {
            "ts_start": start + pd.to_timedelta(seconds, unit="s"),
            "ok": rng.random(200) < 0.6,
        }
    )
    judged = failed = 0
    for minute in range(20):
        oks = [ok for s, ok in zip(seconds, log["ok"], strict=True) if s // 60 == minute]
        if len(oks) >= 5:
            judged += 1
            failed += 2 * sum(not ok for ok in oks) >= len(oks)
    expected = None if not judged else pytest.approx(failed / judged * 730 * 60)
    assert minutes_failing(log) == expected


def test_a_log_too_thin_for_any_minute_tells_no_outage():
    times = pd.date_range("2026-11-02", periods=50, freq="1min", tz="UTC")
    assert minutes_failing(pd.DataFrame({"ts_start": times, "ok": False})) is None
    assert minutes_failing(pd.DataFrame({"ts_start": times[:0], "ok": []})) is None


def test_tokens_grow_month_by_month_as_each_workload_does():
    volume, tokens_in, tokens_out = [1e6, 3e5], [1000.0, 4000.0], [200.0, 50.0]
    growth, prompts, months = [0.05, -0.02], [0.01, 0.03], 18
    then = 0.0
    for n, a, b, g, p in zip(volume, tokens_in, tokens_out, growth, prompts, strict=True):
        for _ in range(months):
            n, a = n * (1 + g), a * (1 + p)
        then += n * (a + b)
    now = 1e6 * 1200 + 3e5 * 4050
    found_ = growth_factor(volume, tokens_in, tokens_out, growth, prompts, months)
    assert found_ == pytest.approx(then / now)
    assert growth_factor(volume, tokens_in, tokens_out, growth, prompts, 0) == 1


def test_the_spread_of_a_gpu_is_of_its_cheapest_offers_on_demand():
    table = pd.DataFrame(
        [
            ("h100", "a", "on_demand", 2.0),
            ("h100", "a", "on_demand", 9.0),  # another region of the same host
            ("h100", "b", "on_demand", 5.0),
            ("h100", "c", "spot", 0.5),
            ("l4", "a", "on_demand", 0.7),
        ],
        columns=["gpu", "provider", "commitment", "usd_per_gpu_hour"],
    )
    assert vendors.widest_spread(table) == ("h100", 2.5)
    assert vendors.widest_spread(table[table["gpu"] == "l4"]) is None
