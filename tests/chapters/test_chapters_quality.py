from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from llmstudy import paths
from llmstudy.chapters.quality import paired_items, quality_tables
from llmstudy.evidence import case as opened
from llmstudy.evidence.traffic import traffic_of
from llmstudy.measures.quality import (
    PairedCounts,
    benchmark,
    non_inferiority,
    non_inferiority_p,
    paired_difference,
    paired_table,
    score_test_size,
)
from llmstudy.simulate.quality import UNPAIRED_DISCORDANCE, counts_of
from llmstudy.study import Workload, load

OWN = """
          counts: [800, 5, 9, 100]
          source: scored by hand
          as_of: 2026-11-01
"""
MODEL = "model_open: Meta-Llama-3.1-70B-Instruct\n"

FIRST_LOOK = 0.05 / 2
"""A first look spends half of what a claim may; one that no other stands beside may spend all."""

OWN_RULE = "margin: 3 pp\n      lowest_grade: published"
"""Of classification alone."""

NEAR = ("task: chat", "task: reasoning")
"""GSM8K asks what a reasoning workload asks, and nothing of a chat."""


@pytest.fixture(scope="module")
def traffic():
    """Of the default study: nothing that is changed here changes its requests."""
    return traffic_of(load(paths.params("default.yaml")))


@pytest.fixture
def table(variant, traffic):
    """The quality table of the default study with some of its text replaced."""

    def of(*changes):
        study = load(variant("default", *changes))
        return quality_tables(opened.Case(study, traffic))["quality"].set_index(
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
    assert found["n_needed"] == score_test_size(UNPAIRED_DISCORDANCE, 0.03, FIRST_LOOK)
    assert f"{UNPAIRED_DISCORDANCE:.0%}" in found["source"]


def test_the_items_of_each_pair_plan_the_golden_set_that_its_verdict_asks_for(table):
    pairs = paired_items(load(paths.params("default.yaml"))).set_index(["workload", "route"])
    verdicts = table()
    assert set(pairs.index) == set(verdicts.index[verdicts["n"] > 0])
    cells = pairs[["both", "only_proprietary", "only_open", "neither"]].sum(axis=1)
    assert (cells == pairs["n"]).all()
    assert (pairs["difference"] == verdicts.loc[pairs.index, "difference"]).all()
    route = ("classification", "groq-llama-3.1-8b")  # planned for no true difference
    pair = pairs.loc[route]
    size = score_test_size(pair["discordance_share"], pair["margin"], pair["next_alpha"])
    assert size == verdicts.loc[route, "n_needed"]


def test_a_study_that_scored_nothing_has_tables_without_rows(variant):
    text = paths.params("source_memo.yaml").read_text(encoding="utf-8")
    scored = text[text.index("      evidence:\n") : text.index("*llama70b\n") + len("*llama70b\n")]
    pairs = paired_items(load(variant("source_memo", (scored, ""))))
    assert pairs.empty
    assert "discordance_share" in pairs


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
    tested = paired_difference(counts_of(pair["novita-llama-3.1-70b"]), 1 - 2 * FIRST_LOOK)
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
        discordance, 0.03, FIRST_LOOK, true_difference=found["difference"]
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
    assert found["n_needed"] == score_test_size(
        discordance, float(margin.split()[0]) / 100, FIRST_LOOK
    )
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
    key = ("support-chat", "novita-llama-3.1-70b")
    narrow, wide = table(NEAR).loc[key], table(NEAR, ("margin: 3 pp", "margin: 5 pp")).loc[key]
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


# ---- looking again, and looking at several


def scored(*counts, looks):
    """Own counts of support-chat on the open model, judged before."""
    text = f"          counts: {list(counts)}\n          looks: {looks}\n"
    return (MODEL, MODEL + text + "          source: by hand\n          as_of: 2026-11-01\n")


def test_the_same_counts_prove_less_the_more_often_they_were_judged(table):
    key, counts = ("support-chat", "novita-llama-3.1-70b"), (860, 12, 12, 30)
    rows = [table(scored(*counts, looks=looks)).loc[key] for looks in range(4)]
    assert [row["looks"] for row in rows] == [0, 1, 2, 3]
    levels = np.array([row["alpha"] for row in rows])
    assert levels / levels[0] == pytest.approx([1, 1 / 3, 1 / 6, 1 / 10])
    assert all(np.diff([row["low"] for row in rows]) < 0)
    assert [row["next_alpha"] for row in rows[:-1]] == pytest.approx(levels[1:])
    settled = [table(scored(800, 28, 24, 62, looks=looks)).loc[key] for looks in (0, 9)]
    assert [row["verdict"] for row in settled] == ["non-inferior", "undecided"]


def own(*counts):
    """Own counts of the open model, wherever the default study names the pair."""
    text = f"          counts: {list(counts)}\n          source: by hand\n"
    return (MODEL, MODEL + text + "          as_of: 2026-11-01\n")


def test_what_is_scored_shares_one_level_as_holm_has_it(table):
    """Three claims: the items of one model on two workloads, and a public pair that may do."""
    near = ("task: classification", "task: reasoning")
    found, counts = table(own(860, 16, 12, 30), near).reset_index(), PairedCounts(860, 16, 12, 30)
    pair = load(paths.params("default.yaml")).workloads["classification"].quality.evidence
    public = counts_of(pair["groq-llama-3.1-8b"])
    given = {("support-chat", 0.03): counts, ("classification", 0.03): public}
    given[("extraction", 0.05)] = counts
    # the share of a first look is a half
    p = [min(2 * non_inferiority_p(c, margin), 1.0) for (_, margin), c in given.items()]
    passes = dict(zip([name for name, _ in given], multipletests(p, 0.05, "holm")[0], strict=True))
    assert sorted(passes.values()) == [False, True, True]
    scored = found[found["n"] > 0]
    assert set(scored["workload"]) == set(passes)
    for row in scored.to_dict("records"):
        assert passes[row["workload"]] == (row["verdict"] == "non-inferior")
    # one that passes leaves its part to those that do not
    levels = scored.groupby("workload")["alpha"].agg(["min", "max"])
    assert (levels["min"] == levels["max"]).all()
    assert levels["min"].sort_values().tolist() == pytest.approx(
        [FIRST_LOOK / 3, FIRST_LOOK / 2, FIRST_LOOK]
    )


def test_what_nobody_has_scored_takes_no_part_of_the_level(table):
    """Nor does a public pair that is far from the task, or where a move must rest on own items."""
    key = ("classification", "groq-llama-3.1-8b")
    proxy, planned = (
        ("support-chat", route) for route in ("h200-llama-3.1-70b", "openai-gpt-6-luna")
    )
    for far in (key, proxy):
        assert table().loc[far, "alpha"] == table().loc[far, "next_alpha"] == FIRST_LOOK
    assert table().loc[planned, "next_alpha"] == FIRST_LOOK
    # where the pair may bear a move it is a claim, and takes its part
    bears = table(("task: classification", "task: reasoning"))
    assert bears.loc[key, "alpha"] == FIRST_LOOK
    assert bears.loc[planned, "next_alpha"] == bears.loc[proxy, "next_alpha"] == FIRST_LOOK / 2


@pytest.mark.parametrize("margin", ["3 pp", "15 pp"])
def test_a_benchmark_far_from_the_task_decides_nothing_whatever_it_shows(table, margin):
    """GSM8K with Llama 3.1 8B ten points behind: inferior at 3, not inferior at 15."""
    key, changes = (
        ("classification", "groq-llama-3.1-8b"),
        [(OWN_RULE, OWN_RULE.replace("3 pp", margin))],
    )
    far = table(*changes).loc[key]
    near = table(("task: classification", "task: reasoning"), *changes).loc[key]
    assert (far["closeness"], near["closeness"]) == ("far", "near")
    assert far["benchmark"] == near["benchmark"] == "GSM8K (ZeroEval)"
    assert far["difference"] == near["difference"]
    assert near["verdict"] == {"3 pp": "inferior", "15 pp": "non-inferior"}[margin]
    assert far["verdict"] == "undecided"
    assert far["n_needed"] > 0


def test_own_items_are_close_to_their_workload_and_named_as_own(table):
    found = table((MODEL, MODEL.rstrip() + OWN)).loc[("support-chat", "novita-llama-3.1-70b")]
    assert (found["closeness"], found["benchmark"]) == ("own", "our own (zeroeval_gsm)")


def test_every_bundled_benchmark_is_placed_near_or_far_for_every_task():
    tasks = get_args(Workload.model_fields["task"].annotation)
    for key in paired_table()["benchmark"].unique():
        placed = [benchmark(key, task) for task in tasks]
        assert all(each.name and each.asks and each.reason for each in placed)
    with pytest.raises(ValueError, match="lacks the benchmark 'nope'"):
        benchmark("nope", "chat")


def test_a_study_of_one_workload_tests_it_at_the_whole_of_a_first_look():
    case = opened.open_case(load(paths.params("source_memo.yaml")))
    [row] = quality_tables(case)["quality"].to_dict("records")
    assert row["alpha"] == row["next_alpha"] == 0.025


def test_the_pass_mark_is_where_the_items_asked_for_begin_to_pass(table):
    for row in table().to_dict("records"):
        n, mark = row["n_needed"], row["pass_mark"]
        discordant = round(n * UNPAIRED_DISCORDANCE)
        if row["n"]:
            continue  # with a discordance of its own
        for gained, passes in ((mark + 2 / n, True), (mark - 2 / n, False)):
            only_b = round((discordant + gained * n) / 2)
            counts = PairedCounts(n - discordant, discordant - only_b, only_b, 0)
            verdict = non_inferiority(counts, row["margin"], row["next_alpha"]).verdict
            assert (verdict == "non-inferior") == passes
        assert -row["margin"] < mark < 0


def test_looks_at_a_public_pair_are_refused(variant):
    with pytest.raises(ValueError, match="a public pair is judged once"):
        load(variant("default", (MODEL, MODEL + "          looks: 1\n")))
