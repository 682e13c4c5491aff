from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import beta, kstest, norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from llmstudy import paths
from llmstudy.measures.quality import (
    PairedCounts,
    acceptance,
    audit,
    draw_acceptance,
    golden_set_size,
    holm,
    holm_levels,
    look_share,
    mcnemar_exact,
    new_subject_interval,
    noise_floor,
    non_inferiority,
    paired_counts,
    paired_difference,
    paired_table,
    pass_mark,
    same_weights_hosts,
    score_test_size,
    wilson,
)
from llmstudy.study import bundled_figures

GPT4, MIXTRAL = "gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"
MMLU = PairedCounts(both=8818, only_a=2497, only_b=742, neither=1985)

cells = st.integers(0, 300)
some_counts = st.builds(PairedCounts, cells, cells, cells, st.integers(1, 300))
a_margin = st.floats(0.01, 0.2)


def drawn(rng, n, shares, times):
    return [PairedCounts(*map(int, x)) for x in rng.multinomial(n, shares, size=times)]


@cache
def mmlu_subjects():
    table = paired_table()
    subjects = table.loc[table["benchmark"] == "mmlu", "subject"]
    return [paired_counts("mmlu", s, GPT4, MIXTRAL) for s in subjects]


# ---- intervals


@pytest.mark.parametrize(
    "shares", [(0.5, 0.2, 0.1, 0.2), (0.9, 0.03, 0.03, 0.04), (0.2, 0.0, 0.3, 0.5)]
)
@pytest.mark.parametrize("n", [50, 400])
def test_paired_interval_covers_the_truth_as_often_as_it_says(shares, n):
    truth = shares[2] - shares[1]
    samples = drawn(np.random.default_rng(7), n, shares, 1_000)
    intervals = [paired_difference(c) for c in samples]
    coverage = np.mean([i.low <= truth <= i.high for i in intervals])
    assert 0.93 <= coverage <= 0.99


@settings(max_examples=50, deadline=None)
@given(some_counts)
def test_ends_of_the_paired_interval_lie_where_a_likelihood_fitted_by_search_rejects(counts):
    b, c, n = counts.only_a, counts.only_b, counts.n
    found = paired_difference(counts)
    for delta in (found.low, found.high):

        def minus_loglik(q, delta=delta):
            shares = np.maximum([q, q + delta, 1 - 2 * q - delta], 1e-300)
            return -(np.array([b, c, n - b - c]) * np.log(shares)).sum()

        bounds = (max(0.0, -delta), (1 - delta) / 2)
        q = minimize_scalar(minus_loglik, bounds=bounds, method="bounded", options={"xatol": 1e-10})
        z = (c - b - n * delta) / np.sqrt(n * (2 * q.x + delta - delta**2))
        assert abs(z) == pytest.approx(norm.ppf(0.975), rel=1e-3)


@settings(max_examples=100, deadline=None)
@given(some_counts)
def test_swapping_the_models_mirrors_the_interval(counts):
    swapped = PairedCounts(counts.both, counts.only_b, counts.only_a, counts.neither)
    one, other = paired_difference(counts), paired_difference(swapped)
    assert -1 <= one.low <= one.estimate <= one.high <= 1
    ends = (one.estimate, one.low, one.high)
    assert ends == pytest.approx((-other.estimate, -other.high, -other.low), abs=1e-8)


@pytest.mark.parametrize("counts", [PairedCounts(0, 9, 0, 0), PairedCounts(0, 0, 9, 0)])
def test_a_model_that_wins_every_item_gets_an_interval_that_reaches_the_end(counts):
    found = paired_difference(counts)
    assert abs(found.estimate) == 1
    assert found.high - found.low < 0.7


def test_mmlu_pair_has_the_published_difference_and_paired_standard_error():
    found = paired_difference(MMLU)
    assert 100 * found.estimate == pytest.approx(-12.5, abs=0.05)
    assert 100 * (found.high - found.low) / 2 / norm.ppf(0.975) == pytest.approx(0.39, abs=0.005)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 500), st.integers(1, 500), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_agrees_with_statsmodels(successes, n, level):
    successes = min(successes, n)
    found = wilson(successes, n, level)
    expected = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.98])
def test_wilson_covers_the_truth_about_as_often_as_it_says(share):
    successes = np.random.default_rng(7).binomial(200, share, size=1_000)
    intervals = [wilson(int(k), 200) for k in successes]
    coverage = np.mean([i.low <= share <= i.high for i in intervals])
    assert 0.925 <= coverage <= 0.985


def test_acceptance_of_gsm8k_is_as_published():
    for scorer, published in (("as published", (0.8567, 0.6384)), ("re-scored", (0.8886, 0.6384))):
        found = acceptance(paired_counts("gsm8k", "all", GPT4, MIXTRAL, scorer))
        assert tuple(round(i.estimate, 4) for i in found) == published


# ---- draws


def test_acceptance_draws_follow_the_beta_posterior_of_each_model():
    counts = PairedCounts(40, 12, 5, 3)
    draws = draw_acceptance(counts, 4_000, np.random.default_rng(7))
    a, b = beta(53, 9), beta(46, 16)  # two cells of 1/2 each make 1 on either side
    assert kstest(draws[:, 0], a.cdf).pvalue > 0.01
    assert kstest(draws[:, 1], b.cdf).pvalue > 0.01


def test_acceptance_draws_keep_the_pairing():
    draws = draw_acceptance(MMLU, 10_000, np.random.default_rng(7))
    assert np.std(draws[:, 1] - draws[:, 0]) == pytest.approx(0.0039, rel=0.03)


# ---- tests


@settings(max_examples=50, deadline=None)
@given(some_counts)
def test_mcnemar_agrees_with_statsmodels(counts):
    table = [[counts.both, counts.only_a], [counts.only_b, counts.neither]]
    assert mcnemar_exact(counts) == pytest.approx(mcnemar(table, exact=True).pvalue)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_agrees_with_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_claim_passes_at_its_level_where_holm_lets_it_pass(p):
    assert ((np.array(p) <= holm_levels(p)) == multipletests(p, method="holm")[0]).all()


def test_57_mmlu_subjects_give_the_published_counts_of_findings():
    subjects = mmlu_subjects()
    p = np.array([mcnemar_exact(c) for c in subjects])
    assert (len(p), (p < 0.05).sum(), (holm(p) < 0.05).sum()) == (57, 41, 33)
    passing = [c.subject for c in subjects if non_inferiority(c, 0.05).verdict == "non-inferior"]
    assert passing == ["high_school_mathematics", "marketing", "world_religions"]


# ---- non-inferiority and planning


def test_golden_set_sizes_are_the_published_table():
    margins = (0.02, 0.03, 0.05, 0.10)
    table = {
        0.05: [(773, 1071), (344, 476), (124, 172), (31, 43)],
        0.10: [(1546, 2141), (687, 952), (248, 343), (62, 86)],
        0.20: [(3092, 4282), (1374, 1904), (495, 686), (124, 172)],
        0.30: [(4637, 6423), (2061, 2855), (742, 1028), (186, 257)],
    }
    for discordance, row in table.items():
        for margin, expected in zip(margins, row, strict=True):
            sizes = tuple(golden_set_size(discordance, margin, power=p) for p in (0.8, 0.9))
            assert sizes == expected


def power_of(n, discordance, margin, truth, verdict, times=500):
    a, b = (discordance - truth) / 2, (discordance + truth) / 2
    samples = drawn(np.random.default_rng(7), n, (0.5, a, b, 0.5 - discordance), times)
    return np.mean([non_inferiority(c, margin).verdict == verdict for c in samples])


@pytest.mark.parametrize(
    ("discordance", "margin", "truth"),
    [(0.05, 0.10, 0.0), (0.05, 0.05, 0.0), (0.2, 0.05, 0.02), (0.3, 0.10, -0.05)],
)
def test_score_test_size_reaches_its_power_even_where_items_rarely_differ(
    discordance, margin, truth
):
    n = score_test_size(discordance, margin, true_difference=truth)
    assert power_of(n, discordance, margin, truth, "non-inferior") >= 0.76


def test_textbook_size_falls_short_only_where_items_rarely_differ():
    assert power_of(golden_set_size(0.05, 0.10), 0.05, 0.10, 0.0, "non-inferior") < 0.65
    assert power_of(golden_set_size(0.3, 0.05), 0.3, 0.05, 0.0, "non-inferior") > 0.76
    assert score_test_size(0.3, 0.02) == pytest.approx(golden_set_size(0.3, 0.02), rel=0.01)


@pytest.mark.parametrize("discordance", [0.1, 0.3])
def test_a_model_exactly_on_the_margin_rarely_passes(discordance):
    assert power_of(400, discordance, 0.05, -0.05, "non-inferior", times=1_000) <= 0.07


def test_gsm8k_pairs_get_the_verdicts_their_counts_allow():
    def verdict(a, b):
        return non_inferiority(paired_counts("zeroeval_gsm", "all", a, b), 0.02).verdict

    assert verdict("gpt-4o-mini-2024-07-18", "Meta-Llama-3.1-70B-Instruct") == "non-inferior"
    assert verdict("gpt-4o-2024-08-06", "Llama-3.1-405B-Instruct-Turbo") == "non-inferior"
    assert verdict("claude-3-5-sonnet-20241022", "Meta-Llama-3.1-70B-Instruct") == "undecided"
    assert verdict("gpt-4o-2024-08-06", "Meta-Llama-3.1-8B-Instruct") == "inferior"
    routellm = paired_counts("gsm8k", "all", GPT4, MIXTRAL, "re-scored")
    assert non_inferiority(routellm, 0.05).verdict == "inferior"


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [(PairedCounts(80, 6, 6, 8), "non-inferior"), (PairedCounts(70, 18, 6, 6), "inferior")],
)
def test_the_number_of_items_asked_for_settles_the_comparison(counts, verdict):
    found = non_inferiority(counts, 0.05)
    assert found.verdict == "undecided"
    power = power_of(found.n_needed, counts.discordance_share, 0.05, counts.difference, verdict)
    assert power >= 0.78


@settings(max_examples=100, deadline=None)
@given(some_counts, a_margin)
def test_an_undecided_comparison_always_asks_for_more_items_than_it_had(counts, margin):
    found = non_inferiority(counts, margin)
    if found.verdict == "undecided" and found.n_needed is not None:
        assert found.n_needed > counts.n
    if found.verdict != "undecided":
        assert found.n_needed is None


def test_a_difference_on_the_margin_asks_for_no_number_of_items():
    found = non_inferiority(PairedCounts(80, 10, 5, 5), 0.05)
    assert (found.verdict, found.n_needed) == ("undecided", None)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.02, 0.4), a_margin, st.floats(0.0, 0.02))
def test_a_better_candidate_or_a_wider_margin_never_needs_more_items(psi, margin, truth):
    for size in (golden_set_size, score_test_size):
        n = size(psi, margin, true_difference=0.0)
        assert size(psi, margin, true_difference=truth) <= n
        assert size(psi, margin + 0.05) <= n


# ---- a new subject


def of_mmlu():
    table = paired_table()
    return table[table["benchmark"] == "mmlu"]


def test_random_effects_agree_with_statsmodels():
    subjects = of_mmlu()
    n, b, c = (subjects[x].to_numpy() for x in ("n", "only_proprietary", "only_open"))
    # Bonett and Price's variance, written out
    variance = ((b + c + 2) / (n + 2) - ((c - b) / (n + 2)) ** 2) / (n + 2)
    expected = combine_effects((c - b) / n, variance, method_re="dl")
    (found,) = new_subject_interval(subjects, ["model_open"]).to_dict("records")
    assert found["difference"] == pytest.approx(expected.mean_effect_re)
    assert found["spread"] == pytest.approx(np.sqrt(expected.tau2))
    spread = np.sqrt(expected.tau2 + expected.sd_eff_w_re**2)
    half = (found["high"] - found["low"]) / 2
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
    found = new_subject_interval(subjects, ["study"], 0.9)
    assert 0.85 <= found["low"].le(truths).mul(found["high"].ge(truths)).mean() <= 0.95


def test_a_new_subject_is_far_less_certain_than_the_mean_of_a_benchmark():
    found = new_subject_interval(of_mmlu(), ["benchmark"])
    pooled = paired_difference(MMLU)
    assert (found["high"] - found["low"] > 10 * (pooled.high - pooled.low)).all()


def test_the_bundled_spread_of_a_proxy_is_the_median_of_the_bundled_pairs():
    pairs = new_subject_interval(paired_table(), ["benchmark", "model_proprietary", "model_open"])
    assert len(pairs) == 13
    assert round(pairs["spread"].median(), 2) == bundled_figures()["quality.proxy_spread"].value


# ---- soundness of the measurement


@pytest.mark.parametrize(
    ("benchmark", "points"),
    [("zeroeval_gsm", 0.8), ("zeroeval_crux", 2.6), ("zeroeval_math-l5", 3.2)],
)
def test_noise_floor_holds_the_published_half_width(benchmark, points):
    found = noise_floor(same_weights_hosts()).set_index("benchmark").loc[benchmark]
    assert found["low"] <= found["floor"] <= found["high"]
    assert round(100 * found["low"], 1) <= points <= round(100 * found["high"], 1)


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


# ---- bundled counts


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
    found = paired_counts("gsm8k", "all", GPT4, MIXTRAL, "as published")
    assert (found.both, found.only_a, found.only_b, found.neither) == (747, 383, 95, 94)
    assert found.source.startswith(
        "lm-sys/RouteLLM routellm/evals/gsm8k/gsm8k_responses.csv at 0b64"
    )
    assert found.source.endswith("Apache-2.0")
    assert "$20.00" in found.flag


# ---- pass mark, and looking again


@pytest.mark.parametrize(
    ("n", "discordance", "margin", "alpha"),
    [(675, 0.27, 0.05, 0.05), (717, 0.1, 0.03, 0.05), (2_364, 0.27, 0.03, 0.025)],
)
def test_the_pass_mark_parts_the_counts_that_pass_from_those_that_do_not(
    n, discordance, margin, alpha
):
    mark, discordant = pass_mark(n, discordance, margin, alpha), round(n * discordance)
    for only_b in range(discordant + 1):
        counts = PairedCounts(n - discordant, discordant - only_b, only_b, 0)
        far = abs(counts.difference - mark) > 2 / n  # the discordance is rounded to whole items
        if far:
            passes = non_inferiority(counts, margin, alpha).verdict == "non-inferior"
            assert passes == (counts.difference > mark)


def test_675_items_pass_at_a_loss_of_17_tenths_of_a_point_and_not_of_5_points():
    assert pass_mark(675, 0.27, 0.05) == pytest.approx(-0.017, abs=0.0005)
    # the textbook's approximation: the margin less z standard errors
    assert pass_mark(675, 0.27, 0.05) == pytest.approx(
        -0.05 + 1.645 * np.sqrt(0.27 / 675), abs=2e-4
    )


def test_too_few_items_pass_with_no_result():
    assert pass_mark(10, 0.05, 0.05) is None


def test_the_shares_of_all_looks_sum_to_the_whole():
    assert sum(look_share(k) for k in range(10_000)) == pytest.approx(1, abs=1e-3)


# ---- errors


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: PairedCounts(0, 0, 0, 0), "no items"),
        (lambda: PairedCounts(5, -1, 0, 0), "negative"),
        (lambda: wilson(3, 2), "3 successes of 2"),
        (lambda: wilson(0, 0), "n > 0"),
        (lambda: non_inferiority(MMLU, 2), "margin 2: give a share"),
        (lambda: non_inferiority(MMLU, 0.02, alpha=0.95), "one-sided"),
        (lambda: look_share(-1), "looks -1: give how many times"),
        (lambda: golden_set_size(0.1, 0.02, true_difference=-0.02), "not above the margin"),
        (lambda: golden_set_size(0.0, 0.02), "score_test_size"),
        (lambda: score_test_size(0.1, 0.02, true_difference=-0.02), "never decided"),
        (lambda: score_test_size(0.1, 0.02, true_difference=0.2), "at least as large"),
        (lambda: score_test_size(0.1, 0.02, power=1.0), "power 1"),
        (lambda: new_subject_interval(paired_table(), ["model"]), r"lacks \['model'\]"),
        (lambda: noise_floor(paired_table()), "lacks"),
        (lambda: paired_counts("mmlu", "anatomi", GPT4, MIXTRAL), "'anatomy'"),
        (lambda: paired_counts("mmlu", "anatomy", "gpt-4o", MIXTRAL), "gpt-4-1106-preview"),
        (lambda: paired_counts("gsm8k", "all", GPT4, MIXTRAL), "choose .*re-scored"),
    ],
)
def test_an_error_says_what_is_wrong_and_how_to_mend_it(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()
