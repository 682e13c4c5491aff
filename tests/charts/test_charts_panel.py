"""The chart of the panel: every answer in words, regrets to scale, nothing told by colour alone."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from llmstudy import charts
from llmstudy.charts import Chart
from tests.charts.shared import ChartTests, drawer

NOTE = "simulated: 4,000 futures of 36 months, priors as graded"
NAN = np.nan
LENSES = pd.DataFrame(
    [
        ("Strategist", 23.0, 0.24, 117e3, 113e3, 122e3),
        ("Challenger low", NAN, 1.0, 523e3, 487e3, 560e3),
        ("Analyst low", 0.0, 0.0, 621e3, 605e3, 637e3),
    ],
    columns=[
        "lens",
        "switch_month_p50",
        "p_never",
        "regret_usd",
        "regret_low_usd",
        "regret_high_usd",
    ],
)


def answers(workloads, **changed):
    rows = [
        (lens, workload, changed.get(lens.split()[0], "no"))
        for lens in (*LENSES["lens"], "This memo")
        for workload in ("all", *workloads)
    ]
    return pd.DataFrame(rows, columns=["lens", "workload", "decides"])


def panel(lenses, table, note):
    """The chart, from all its answers in one table."""
    memo, whole = table["lens"] == "This memo", table["workload"] == "all"
    decides = dict(table.loc[whole, ["lens", "decides"]].to_numpy())
    agreement = table[memo].rename(columns={"decides": "this_memo"})
    together = lenses.assign(decides=[decides[lens] for lens in lenses["lens"]])
    return charts.panel(together, table[~memo & ~whole], agreement, note)


FOUR = ("support-chat", "classification", "extraction", "long-context-reasoning")
SOME = answers(FOUR, Strategist="unknown", Analyst="now", Challenger="later")
UNTRIED = LENSES.assign(**dict.fromkeys(LENSES.columns[1:], NAN))

CHARTS: dict[str, Callable[[], Chart]] = {
    "four": lambda: panel(LENSES, SOME, NOTE),
    "one": lambda: panel(LENSES, answers(("product",)), NOTE),
    "nine": lambda: panel(LENSES, answers([f"workload-{i}" for i in range(9)]), NOTE),
    "untried": lambda: panel(UNTRIED, SOME, "no fleet may serve"),
    "free": lambda: panel(
        LENSES.assign(p_never=1.0, regret_usd=0.0, regret_low_usd=0.0, regret_high_usd=0.0),
        SOME,
        NOTE,
    ),
}


drawn = drawer(CHARTS)


def title(name: str) -> str:
    return " ".join(drawn(name).figure.get_suptitle().split())


class TestCharts(ChartTests):
    charts = CHARTS
    drawn = drawn


def test_the_title_counts_the_lenses_on_trial_and_names_the_one_that_loses_least():
    assert title("four") == (
        "1 of 3 advisors' rules would move now, 1 cannot tell; Strategist loses least against "
        "hindsight, USD 117k"
    )
    assert title("one").startswith("None of 3 advisors' rules would move now; Strategist")
    assert title("untried") == "1 of 4 advisors' rules would move now, 1 cannot tell"


def test_the_alt_text_tells_every_answer_regret_and_month():
    alt = drawn("four").alt
    assert "Strategist: all unknown, support-chat unknown" in alt
    assert "regret USD 117k [USD 113k to 122k], month 23; never in 24 %" in alt
    assert "Analyst low: all now" in alt
    assert "at once; never in 0 %" in alt
    assert "Challenger low: all later" in alt
    assert "never in 100 %" in alt
    assert alt.endswith(NOTE)


def test_bars_stand_at_their_regrets_in_the_order_given():
    ax = drawn("four").figure.axes[1]
    bars = [patch.get_width() for patch in ax.patches]
    assert bars == LENSES["regret_usd"].dropna().tolist()
    intervals = [tuple(line.get_xdata()) for line in ax.lines if line.get_marker() == "|"]
    known = LENSES.dropna()[["regret_low_usd", "regret_high_usd"]]
    tried = LENSES.dropna(subset="regret_usd")[["regret_low_usd", "regret_high_usd"]]
    assert len(known) < len(tried)  # a rule that never switches has no month, but a regret
    assert intervals == [tuple(row) for row in tried.to_numpy()]


def test_each_answer_has_a_mark_of_its_own_that_grey_print_keeps():
    said = [text.get_text() for text in drawn("four").figure.axes[0].texts]
    assert {word[0] for word in said} == {"●", "◐", "○", "?"}
    marks = [text.get_text() for text in drawn("nine").figure.axes[0].texts]
    assert set(marks) == {"○"}  # of more columns than have room for words


def test_where_nothing_is_on_trial_there_are_answers_and_no_bars():
    assert len(drawn("untried").figure.axes) == 1


def test_an_answer_that_is_none_is_refused():
    with pytest.raises(ValueError, match='"perhaps" is not an answer'):
        panel(LENSES, answers((), Strategist="perhaps"), NOTE)
    with pytest.raises(ValueError, match="lenses lacks p_never"):
        panel(LENSES.drop(columns="p_never"), SOME, NOTE)
