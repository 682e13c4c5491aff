"""The audit of an evaluation: known artefacts of published runs are caught, sound runs are not."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.stats import poisson_binom

from llmstudy.evals.audit import agreement_chance, audit, family, mean_interval, noise
from llmstudy.evals.importers import read_evaluation
from llmstudy.evals.table import conform
from llmstudy.measures.quality import paired_table, same_weights_hosts


def kinds(evaluation, **options):
    return sorted(set(audit(conform(pd.DataFrame(evaluation)), **options).findings["kind"]))


def findings(evaluation, kind, **options):
    table = audit(conform(pd.DataFrame(evaluation)), **options).findings
    return table[table["kind"] == kind].to_dict("records")


def of_counts(counts, **columns):
    """The rows of both models of published paired counts."""
    cells = [(1, 1, counts["both"]), (1, 0, counts["only_proprietary"])]
    cells += [(0, 1, counts["only_open"]), (0, 0, counts["neither"])]
    scores = np.array([(a, b) for a, b, n in cells for _ in range(int(n))])
    items = [f"{counts['subject']}-{number}" for number in range(len(scores))]
    return [
        {"item_id": item, "route": route, "score": score, "slice": counts["subject"], **columns}
        for side, route in enumerate((counts["model_proprietary"], counts["model_open"]))
        for item, score in zip(items, scores[:, side], strict=True)
    ]


def published(benchmark, scorer="as published"):
    table = paired_table()
    return table[(table["benchmark"] == benchmark) & (table["scorer"] == scorer)]


# ---- what is known to be wrong ------------------------------------------------------------------


def test_gpt_4_below_guessing_in_high_school_mathematics_is_caught(tmp_path):
    subjects = published("mmlu")
    file = tmp_path / "mmlu.csv"
    rows = [row for _, each in subjects.iterrows() for row in of_counts(each, chance=0.25)]
    pd.DataFrame(rows).to_csv(file, index=False)
    table = audit(read_evaluation(file)).findings
    below = table[table["kind"] == "below_chance"]
    assert below[["route", "slice", "n"]].to_numpy().tolist() == [
        ["gpt-4-1106-preview", "high_school_mathematics", 270]
    ]
    assert below["figure"].iloc[0] == pytest.approx(8 / 270)
    assert "answers 8 of 270 items" in below["sentence"].iloc[0]


def rescored():
    """GSM8K as RouteLLM recorded it and as re-scored: some answers of GPT-4 turn right and none
    wrong; of Mixtral's, six turn right and six wrong.
    """
    (counts,), (again,) = (
        published("gsm8k", scorer).to_dict("records") for scorer in ("as published", "re-scored")
    )
    turned = [each["both"] + each["only_proprietary"] for each in (counts, again)]
    rows = pd.DataFrame(of_counts(counts)).assign(slice=None)
    rows["score_2"] = rows["score"]
    for name, to_right, to_wrong in (("proprietary", turned[1] - turned[0], 0), ("open", 6, 6)):
        own = rows["route"] == counts[f"model_{name}"]
        wrong, right = (rows.index[own & (rows["score"] == score)] for score in (0, 1))
        rows.loc[wrong[:to_right], "score_2"] = 1
        rows.loc[right[:to_wrong], "score_2"] = 0
    return rows


def test_the_gap_that_a_scorer_of_gsm8k_shortens_is_caught(tmp_path):
    file = tmp_path / "gsm8k.csv"
    rescored().to_csv(file, index=False)
    result = audit(read_evaluation(file))
    table = result.findings[result.findings["kind"] == "scorer_disagreement"]
    (route, gap) = table.to_dict("records")
    assert (route["route"], route["n"]) == ("gpt-4-1106-preview", 1319)
    assert route["figure"] == pytest.approx(42 / 1319)
    assert gap["other"] == "mistralai/Mixtral-8x7B-Instruct-v0.1"
    assert gap["figure"] == pytest.approx(42 / 1319)
    assert gap["low"] > 0.02
    assert "is +21.8 points by one scorer and +25.0 by the other" in gap["sentence"]
    assert set(result.findings["kind"]) == {"scorer_disagreement"}


def test_two_submissions_with_the_same_figures_to_every_digit_are_caught():
    figures = [0.958333, 0.919591, 0.883772, 0.850877]  # telecom pass^1..4 of two tau2 models
    rows = [
        {"item_id": f"pass^{k}", "route": route, "score": figure}
        for route in ("qwen3-max", "gpt-5")
        for k, figure in enumerate(figures, 1)
    ]
    (copy,) = findings(rows, "duplicate_scores")
    assert (copy["route"], copy["other"], copy["n"]) == ("qwen3-max", "gpt-5", 4)


# ---- what is right ------------------------------------------------------------------------------


def sound(rng, n=200, columns=True):
    """Two routes and a repeat of one, with all columns that are checked and no fault."""
    hard = rng.normal(size=n)
    rows = []
    for route, skill, model in (
        ("api", 1.4, "claude-x"),
        ("open", 1.1, "llama-x"),
        ("open-fp8", 1.1, "llama-x"),
    ):
        score = (skill + hard + 0.7 * rng.normal(size=n) > 0).astype(int)
        flips = rng.random(n) < 0.005
        rows.append(
            pd.DataFrame(
                {
                    "item_id": range(n),
                    "route": route,
                    "served_model": model,
                    "score": score,
                    "score_2": np.where(flips, 1 - score, score),
                    "slice": np.arange(n) % 4,
                    "chance": 0.25,
                    "extracted": rng.random(n) > 0.01,
                    "item_hash": range(n),
                    "judge": "gpt-judge",
                }
            )
        )
    return conform(pd.concat(rows))


def test_a_sound_evaluation_rarely_has_a_finding():
    """Of 500, one had one; here a few, since each takes a tenth of a second."""
    rng = np.random.default_rng(17)
    alarms = [len(audit(sound(rng, n)).findings) > 0 for n in (50, 200, 500) for _ in range(10)]
    assert sum(alarms) <= 2


def test_a_sound_evaluation_has_every_check_made():
    result = audit(sound(np.random.default_rng(1)))
    assert result.not_checked == {}
    assert result.noise[["served_model", "route", "other", "n"]].to_numpy().tolist() == [
        ["llama-x", "open", "open-fp8", 200]
    ]


def test_what_lacks_its_column_is_not_checked_and_says_why():
    rows = pd.DataFrame({"item_id": [1, 2], "route": "x", "score": [1, 0]})
    result = audit(conform(rows))
    assert result.findings.empty
    assert set(result.not_checked) == {
        "below_chance",
        "extraction_failure",
        "duplicate_items",
        "duplicate_scores",
        "scorer_disagreement",
        "self_preference",
        "noise_floor",
    }
    assert "chance" in result.not_checked["below_chance"]


def test_a_route_without_the_column_of_a_check_is_named():
    rows = two_routes(20, chance=[0.25] * 20 + [None] * 20)
    result = audit(conform(rows))
    assert result.not_checked["below_chance"] == (
        "no column chance of open, the score that guessing has"
    )


def test_an_evaluation_with_no_scored_answer_is_audited():
    rows = two_routes(40, scored=False, chance=0.25, extracted=True, score_2=1, judge="gpt")
    assert kinds(rows) == ["unscored"]


# ---- each check ---------------------------------------------------------------------------------


def test_items_of_unlike_chance_are_tested_on_the_safe_side():
    chances = np.repeat([0.1, 0.25, 0.5], 60)
    exact = poisson_binom(chances)
    for right in range(15, 51):
        rows = {"item_id": range(180), "route": "x", "chance": chances}
        flagged = "below_chance" in kinds(rows | {"score": np.arange(180) < right})
        assert not flagged or exact.cdf(right) < 0.001
    assert flagged is False
    assert kinds(rows | {"score": np.arange(180) < 20}) == ["below_chance"]


def two_routes(n, **columns):
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "item_id": [*range(n)] * 2,
            "route": ["api"] * n + ["open"] * n,
            "score": (rng.random(2 * n) < 0.7).astype(int),
            **columns,
        }
    )


def test_failed_extraction_is_seen_of_a_route_and_between_routes():
    # MMLU-Pro: 8.2 % of Qwen1.5-72B, 0.07 % of Gemini 1.5 Pro
    fails = np.concatenate([np.arange(2000) < 2, np.arange(2000) < 164])
    one, two = findings(two_routes(2000, extracted=~fails), "extraction_failure")
    assert (one["route"], one["figure"]) == ("open", pytest.approx(0.082))
    assert (two["route"], two["other"]) == ("open", "api")
    assert two["figure"] == pytest.approx(0.081)
    assert (
        findings(two_routes(2000, extracted=~fails), "extraction_failure", margin_share=0.2) == []
    )


def test_answers_that_one_route_lacks_a_score_for_are_seen():
    rows = two_routes(300, scored=np.arange(600) % 300 >= np.repeat([0, 30], 300))
    assert [row["route"] for row in findings(rows, "unscored")] == ["open", "open"]


def test_copied_items_are_counted():
    (row,) = findings(
        two_routes(10, item_hash=[0, 0, 1, 2, 3, 4, 5, 5, 5, 6] * 2), "duplicate_items"
    )
    assert (row["n"], row["figure"]) == (3, 0.3)
    assert "first: 0 and 1" in row["sentence"]


def test_a_copied_route_is_caught_and_two_perfect_ones_are_not():
    score = np.tile(np.random.default_rng(5).random(200) < 0.8, 2).astype(int)
    assert kinds(two_routes(200, score=score)) == ["duplicate_scores"]
    assert kinds(two_routes(200, score=1)) == []


def test_the_same_weights_on_two_hosts_are_never_taken_for_a_copy():
    """The chance that a copy is tested against is above that of the bundled pairs of hosts."""
    for row in same_weights_hosts().to_dict("records"):
        ones = row["both"] + row["only_a"]
        scores = [1] * ones + [0] * (row["n"] - ones)
        agree = (1 - (row["only_a"] + row["only_b"]) / row["n"]) ** row["n"]
        assert agreement_chance(scores) >= agree * 0.5


def test_two_runs_of_one_model_give_the_noise_floor_of_the_published_hosts():
    (row,) = [r for r in same_weights_hosts().to_dict("records") if r["n"] == 706]
    counts = row | {"only_proprietary": row["only_a"], "only_open": row["only_b"], "subject": "s"}
    rows = of_counts(counts | {"model_proprietary": "a", "model_open": "b"}, served_model="llama")
    (floor,) = noise(conform(pd.DataFrame(rows))).to_dict("records")
    assert floor["discordance_share"] == pytest.approx(132 / 706)
    assert floor["high"] - floor["difference"] == pytest.approx(0.032, abs=5e-4)  # 3.2 points
    assert "noise_floor" not in kinds(rows)


def test_a_host_that_serves_the_weights_worse_is_caught():
    """Aider: one model at 51.9 to 72.2 % by who serves it; here at 133 items."""
    rows = two_routes(400, served_model="qwen", score=[1] * 290 + [0] * 110 + [1] * 210 + [0] * 190)
    (row,) = findings(rows, "noise_floor")
    assert (row["route"], row["figure"]) == ("api", pytest.approx(0.2))


def judged(n, served, judge, bias):
    """Two routes of equal quality by hand; a judge that puts the second ahead of its due."""
    rng = np.random.default_rng(11)
    human = (rng.random(2 * n) < 0.6).astype(int)
    gift = (rng.random(2 * n) < bias) & (np.arange(2 * n) >= n)
    return two_routes(
        n,
        score_2=human,
        score=np.where(gift, 1, human),
        judge=judge,
        served_model=np.repeat(served, n),
    )


def test_a_judge_that_prefers_its_own_family_is_caught():
    rows = judged(400, ["claude-opus", "gpt-4o"], "openai/gpt-5", 0.3)
    (row,) = findings(rows, "self_preference")
    assert (row["route"], row["other"]) == ("open", "api")
    assert row["low"] > 0.05
    stranger = judged(400, ["claude-opus", "gpt-4o"], "gemini-pro", 0.3)
    assert findings(stranger, "self_preference") == []


def test_labels_that_are_rows_of_their_own_check_the_judge_as_those_beside_it_do(tmp_path):
    beside = judged(400, ["claude-opus", "gpt-4o"], "openai/gpt-5", 0.3)
    judge = beside.drop(columns="score_2").assign(scorer="judge")
    labels = beside.assign(score=beside["score_2"], scorer="human", judge=None)
    rows = pd.concat([judge, labels.drop(columns="score_2")], ignore_index=True)
    one, two = (audit(conform(each)).findings for each in (beside, rows))
    pd.testing.assert_frame_equal(one, two)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    pd.testing.assert_frame_equal(audit(read_evaluation(tmp_path / "rows.csv")).findings, one)


def test_items_of_one_cluster_are_one_piece_of_evidence():
    """Two hosts that differ on the items of a few documents differ by chance."""
    document = np.arange(400) // 40
    score = np.concatenate([np.ones(400), document > 3]).astype(int)
    rows = two_routes(400, score=score, served_model="llama", cluster=np.tile(document, 2))
    assert kinds(rows) == []
    assert kinds(rows.drop(columns="cluster")) == ["noise_floor"]


def test_a_judge_of_a_routes_family_without_a_second_scorer_is_a_caution():
    rows = judged(400, ["claude-opus", "gpt-4o"], "gpt-5", 0.0).drop(columns="score_2")
    (row,) = findings(rows, "self_preference")
    assert row["route"] == "open"
    assert "scored by hand" in row["sentence"]


@pytest.mark.parametrize(
    ("name", "maker"),
    [
        ("openai/gpt-4o", "gpt"),
        ("o3-mini", "gpt"),
        ("meta-llama/Llama-3.1-70B", "llama"),
        ("us.anthropic.claude-3", "us.anthropic.claude"),
        ("mistralai/Mixtral-8x7B", "mistral"),
        ("Qwen/QwQ-32B", "qwen"),
        ("deepseek-v3", "deepseek"),
    ],
)
def test_models_have_families(name, maker):
    assert family(name) == maker


def test_repeats_of_an_item_count_once():
    once = two_routes(30, extracted=np.arange(60) % 30 > 1)
    again = pd.concat([once] * 20)
    assert kinds(once) == kinds(again) == []


def test_answers_by_several_scorers_are_refused():
    rows = pd.concat([two_routes(3, scorer="a"), two_routes(3, scorer="b")])
    with pytest.raises(ValueError, match="scored by several scorers: choose one"):
        audit(conform(rows))


def test_an_interval_of_a_mean_covers_it_as_often_as_it_says():
    rng = np.random.default_rng(2)
    draws = rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.75, 0.15], size=(2000, 200))
    intervals = [mean_interval(pd.Series(draw)) for draw in draws]
    assert 0.93 <= np.mean([each.low <= 0.05 <= each.high for each in intervals]) <= 0.97


@pytest.mark.shared
def test_a_run_with_no_extracted_answer_is_caught(shared):
    table = read_evaluation(shared / "fixtures" / "eval_tools" / "lm_eval_samples_minigsm.jsonl")
    result = audit(table)
    assert result.findings["kind"].tolist() == ["extraction_failure"]
    assert result.findings["figure"].tolist() == [1.0]


def column(*values):
    return st.none() | st.sampled_from(values)


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "item_id": st.sampled_from("abc"),
            "route": st.sampled_from(["gpt-4o", "open"]),
            "score": column(0, 1, 0.3),
            "score_2": column(0, 1, 0.7),
            "run": column("r1", "r2"),
            "item_hash": column("h1", "h2"),
            "slice": column("s1", "s2"),
            "cluster": column("c1", "c2"),
            "served_model": column("gpt-4o", "llama"),
            "chance": column(0, 0.25, 1),
            "extracted": column(True, False),
            "judge": column("gpt-5", "claude"),
        }
    ),
    min_size=1,
    max_size=12,
)


@given(rows=ROWS)
@settings(max_examples=40, deadline=None, phases=[Phase.generate])
def test_any_evaluation_is_audited_and_each_finding_is_a_sentence(rows):
    result = audit(conform(pd.DataFrame(rows)))
    for sentence in result.findings["sentence"]:
        assert sentence.endswith(".")
        assert "nan" not in sentence
