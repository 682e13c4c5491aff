"""Bundled counts, a new subject, and the soundness of the measurement."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.meta_analysis import combine_effects

from llmstudy import paths
from llmstudy.measures.quality import (
    PairedCounts,
    audit,
    new_subject_interval,
    noise_floor,
    paired_counts,
    paired_difference,
    paired_table,
    same_weights_hosts,
)
from llmstudy.study import bundled_figures
from tests.measures.quality_samples import GPT4, MIXTRAL, MMLU, drawn, mmlu_subjects


def of_mmlu():
    table = paired_table()
    return table[table["benchmark"] == "mmlu"]


def test_random_effects_agree_with_statsmodels():
    subjects = of_mmlu()
    n, b, c = (subjects[x].to_numpy() for x in ("n", "only_proprietary", "only_open"))
    # Bonett and Price's variance, written out
    variance = ((b + c + 2) / (n + 2) - ((c - b) / (n + 2)) ** 2) / (n + 2)
    expected = combine_effects((c - b) / n, variance, method_re="dl")
    (interval,) = new_subject_interval(subjects, ["model_open"]).to_dict("records")
    assert interval["difference"] == pytest.approx(expected.mean_effect_re)
    assert interval["spread"] == pytest.approx(np.sqrt(expected.tau2))
    spread = np.sqrt(expected.tau2 + expected.sd_eff_w_re**2)
    half = (interval["high"] - interval["low"]) / 2
    assert half / spread == pytest.approx(
        2.004, abs=0.001
    )  # Student's t, 55 degrees, printed table


@pytest.mark.parametrize("k", [10, 40])
def test_prediction_interval_covers_a_new_subject_about_as_often_as_it_says(k):
    rng = np.random.default_rng(7)
    truths, rows = [], []
    for study in range(400):
        *seen, new = rng.normal(-0.05, 0.06, size=k + 1).clip(-0.29, 0.29)
        truths.append(new)
        for d in seen:
            counts = drawn(rng, 200, (0.5, 0.15 - d / 2, 0.15 + d / 2, 0.2), 1)[0]
            rows.append((study, counts.n, counts.only_a, counts.only_b))
    subjects = pd.DataFrame(rows, columns=["study", "n", "only_proprietary", "only_open"])
    interval = new_subject_interval(subjects, ["study"], 0.9)
    assert 0.85 <= interval["low"].le(truths).mul(interval["high"].ge(truths)).mean() <= 0.95


def test_a_new_subject_is_far_less_certain_than_the_mean_of_a_benchmark():
    interval = new_subject_interval(of_mmlu(), ["benchmark"])
    pooled = paired_difference(MMLU)
    assert (interval["high"] - interval["low"] > 10 * (pooled.high - pooled.low)).all()


def test_the_bundled_spread_of_a_proxy_is_the_median_of_the_bundled_pairs():
    pairs = new_subject_interval(paired_table(), ["benchmark", "model_proprietary", "model_open"])
    assert len(pairs) == 13
    assert round(pairs["spread"].median(), 2) == bundled_figures()["quality.proxy_spread"].value


@pytest.mark.parametrize(
    ("benchmark", "points"),
    [("zeroeval_gsm", 0.8), ("zeroeval_crux", 2.6), ("zeroeval_math-l5", 3.2)],
)
def test_noise_floor_holds_the_published_half_width(benchmark, points):
    floor = noise_floor(same_weights_hosts()).set_index("benchmark").loc[benchmark]
    assert floor["low"] <= floor["floor"] <= floor["high"]
    assert round(100 * floor["low"], 1) <= points <= round(100 * floor["high"], 1)


def test_audit_accuses_the_scorer_of_high_school_mathematics_and_of_no_other_mmlu_subject():
    accused = [c.subject for c in mmlu_subjects() if "below guessing" in " ".join(audit(c, 4))]
    assert accused == ["high_school_mathematics"]


def test_audit_says_when_two_models_differ_no_more_than_two_hosts():
    pair = "claude-3-5-sonnet-20241022", "Llama-3.1-405B-Instruct-Turbo"
    (said,) = audit(paired_counts("zeroeval_gsm", "all", *pair), None)
    assert "differ on 2.4% of the items" in said
    assert "up to 2.7%" in said


def test_audit_repeats_the_warning_that_came_with_the_data():
    (said,) = audit(paired_counts("gsm8k", "all", GPT4, MIXTRAL, "as published"), None)
    assert said.startswith("Scorer artefact")


def test_audit_of_sound_counts_is_silent():
    assert audit(PairedCounts(80, 8, 7, 5), 4) == []


def test_every_bundled_row_sums_to_its_items_and_names_its_source():
    pairs = paired_table()
    hosts = pd.read_csv(paths.data("same_weights_hosts.csv"))
    for table, one, other in (
        (pairs, "only_proprietary", "only_open"),
        (hosts, "only_a", "only_b"),
    ):
        cells = table[["both", one, other, "neither"]]
        assert (cells >= 0).all(axis=None)
        assert (cells.sum(axis=1) == table["n"]).all()
        assert table["commit"].str.fullmatch("[0-9a-f]{40}").all()
        assert table[["source", "licence"]].map(len).gt(0).all(axis=None)
    key = ["benchmark", "subject", "scorer", "model_proprietary", "model_open"]
    assert not pairs.duplicated(key).any()
    assert (pairs[key].map(len) > 0).all(axis=None)


@pytest.mark.shared
def test_bundled_counts_are_those_that_were_derived():
    figures = paths.ROOT.parent / "shared" / "figures"
    if not figures.exists():
        pytest.skip("no figures beside the checkout")
    names = ("routellm", "zeroeval", "mmlupro")
    derived = pd.concat([pd.read_csv(figures / f"{n}_paired_counts.csv") for n in names])
    same = ["benchmark", "subject", "model_proprietary", "model_open", "n"]
    same += ["both", "only_proprietary", "only_open", "neither", "commit"]
    pd.testing.assert_frame_equal(paired_table()[same], derived[same].reset_index(drop=True))
    hosts = pd.read_csv(figures / "zeroeval_same_weights_hosts.csv")
    bundled = pd.read_csv(paths.data("same_weights_hosts.csv"))
    kept = [c for c in bundled if c in hosts]
    assert len(kept) == 9
    pd.testing.assert_frame_equal(bundled[kept], hosts[kept])


def test_a_pair_carries_its_provenance():
    counts = paired_counts("gsm8k", "all", GPT4, MIXTRAL, "as published")
    assert (counts.both, counts.only_a, counts.only_b, counts.neither) == (747, 383, 95, 94)
    assert counts.source.startswith(
        "lm-sys/RouteLLM routellm/evals/gsm8k/gsm8k_responses.csv at 0b64"
    )
    assert counts.source.endswith("Apache-2.0")
    assert "$20.00" in counts.flag
