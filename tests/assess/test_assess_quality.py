from dataclasses import replace

import pytest

from llmstudy import paths
from llmstudy.assess import case as opened
from llmstudy.assess.quality import UNPAIRED_DISCORDANCE, counts_of, quality_tables
from llmstudy.quality import paired_difference, paired_table, score_test_size
from llmstudy.study import load

OWN = """
          counts: [800, 5, 9, 100]
          source: scored by hand
          as_of: 2026-11-01
"""
MODEL = "model_open: Meta-Llama-3.1-70B-Instruct\n"


@pytest.fixture
def table(variant):
    """The quality table of the default study with some of its text replaced."""

    def of(*changes):
        study = load(variant("default", *changes))
        return quality_tables(opened.Case(study, traffic=None))["quality"].set_index(
            ["workload", "route"]
        )

    return of


def test_the_discordance_assumed_without_a_pair_is_the_median_of_the_bundled_pairs():
    pairs = paired_table()
    discordance = (pairs["only_proprietary"] + pairs["only_open"]) / pairs["n"]
    assert pytest.approx(discordance.median(), abs=0.02) == UNPAIRED_DISCORDANCE


def test_a_route_without_a_pair_says_how_many_items_would_do(table):
    found = table().loc[("support-chat", "openai-gpt-6-luna")]
    assert (found["verdict"], found["grade"], found["n"]) == ("none", "assumed", 0)
    assert found["n_needed"] == score_test_size(UNPAIRED_DISCORDANCE, 0.03)
    assert f"{UNPAIRED_DISCORDANCE:.0%}" in found["source"]


def test_a_published_pair_is_reported_as_counted(table):
    found = table().loc[("support-chat", "novita-llama-3.1-70b")]
    pair = paired_table().query(
        "benchmark == 'zeroeval_gsm' and model_proprietary == 'gpt-4o-2024-08-06' "
        "and model_open == 'Meta-Llama-3.1-70B-Instruct'"
    )
    [row] = pair.to_dict("records")
    assert found["n"] == row["n"] == 1319
    assert found["difference"] == pytest.approx((row["only_open"] - row["only_proprietary"]) / 1319)
    assert found["acceptance_current"] == pytest.approx(
        (row["both"] + row["only_proprietary"]) / 1319
    )
    assert found["acceptance_route"] == pytest.approx((row["both"] + row["only_open"]) / 1319)
    assert found["low"] < found["difference"] < found["high"]
    assert found["grade"] == "published"


def test_the_interval_shown_is_the_one_that_the_verdict_rests_on(table):
    found = table().loc[("support-chat", "novita-llama-3.1-70b")]
    pair = load(paths.params("default.yaml")).workloads["support-chat"].quality.evidence
    tested = paired_difference(counts_of(pair["novita-llama-3.1-70b"]), 0.90)
    assert (found["low"], found["high"]) == (tested.low, tested.high)


def test_items_are_planned_for_a_public_difference_that_is_clear_of_the_margin(table):
    # -2.0 points: a third of the margin of 3 is left
    found = table().loc[("support-chat", "novita-llama-3.1-70b")]
    pair = paired_table().query(
        "benchmark == 'zeroeval_gsm' and model_proprietary == 'gpt-4o-2024-08-06' "
        "and model_open == 'Meta-Llama-3.1-70B-Instruct'"
    )
    discordance = (pair["only_proprietary"] + pair["only_open"]).item() / 1319
    assert found["n_needed"] == score_test_size(
        discordance, 0.03, true_difference=found["difference"]
    )
    assert found["plan"] == "planned for the public pair's -2.0 points"


@pytest.mark.parametrize(
    ("margin", "said"), [("2.5 pp", "close to the margin"), ("2 pp", "suggest that it will fail")]
)
def test_items_are_planned_for_no_difference_when_the_public_one_is_at_the_margin(
    table, margin, said
):
    found = table(("margin: 3 pp", f"margin: {margin}")).loc[
        ("support-chat", "novita-llama-3.1-70b")
    ]
    pair = paired_table().query(
        "benchmark == 'zeroeval_gsm' and model_proprietary == 'gpt-4o-2024-08-06' "
        "and model_open == 'Meta-Llama-3.1-70B-Instruct'"
    )
    discordance = (pair["only_proprietary"] + pair["only_open"]).item() / 1319
    assert found["n_needed"] == score_test_size(discordance, float(margin.split()[0]) / 100)
    assert found["plan"].startswith("planned for no true difference")
    assert said in found["plan"]


def test_every_row_says_what_its_number_of_items_is_planned_for(table):
    own = table((MODEL, MODEL.rstrip() + OWN))
    assert own["plan"].str.contains("planned for").all()
    assert "settled" in own.loc[("support-chat", "novita-llama-3.1-70b"), "plan"]


def test_own_counts_are_a_measurement_and_keep_their_source(table):
    found = table((MODEL, MODEL.rstrip() + OWN)).loc[("support-chat", "novita-llama-3.1-70b")]
    assert (found["grade"], found["n"], found["verdict"]) == ("measured", 914, "non-inferior")
    assert found["difference"] == pytest.approx((9 - 5) / 914)
    assert found["source"] == "scored by hand"


def test_a_wider_margin_turns_undecided_into_non_inferior_and_needs_fewer_items(table):
    narrow = table().loc[("support-chat", "novita-llama-3.1-70b")]
    wide = table(("margin: 3 pp", "margin: 5 pp")).loc[("support-chat", "novita-llama-3.1-70b")]
    assert (narrow["verdict"], wide["verdict"]) == ("undecided", "non-inferior")
    assert wide["n_needed"] < narrow["n_needed"]


def test_counts_of_a_study_carry_the_names_of_its_models():
    study = load(paths.params("default.yaml"))
    given = study.workloads["support-chat"].quality.evidence["novita-llama-3.1-70b"]
    bundled = counts_of(given)
    own = counts_of(given.model_copy(update={"counts": (1, 2, 3, 4)}))
    assert (own.model_a, own.model_b) == (given.model_proprietary, given.model_open)
    assert (own.both, own.only_a, own.only_b, own.neither) == (1, 2, 3, 4)
    assert replace(bundled, both=1).n != bundled.n
