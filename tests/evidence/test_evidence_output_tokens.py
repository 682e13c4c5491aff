"""How much a model writes over another: published counts, closed forms, and what they cover."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from llmstudy import paths
from llmstudy.evidence.output_tokens import length_of, output_tokens_ratio, ratio_of
from llmstudy.figure import Figure
from llmstudy.prices.model_names import model_key
from llmstudy.simulate import draw
from llmstudy.study import bundled_figures, load

PLAIN, REASONS, EITHER = (length_of(f"unlisted-{x}", x) for x in ("no", "yes", "unknown"))

TASK_COSTS_USD = [  # tau2-bench submissions at a2c02472: airline, retail, telecom
    [0.399190, 0.386950, 0.719920],  # Claude Opus 4.5
    [0.296460, 0.254940, 0.487690],  # Claude Sonnet 4.5
    [0.053693, 0.048219, 0.049377],  # GPT-5.2
    [0.113790, 0.071560, 0.093120],  # GPT-5.2, a second submission
    [0.134000, 0.105527, 0.164712],  # GPT-5
]


@pytest.fixture(scope="module")
def study():
    return load(paths.params("default.yaml"))


def published():
    return pd.read_csv(paths.data("output_tokens.csv"))


def test_two_models_of_one_setting_each_have_the_ratio_of_their_published_tokens():
    tokens = published().set_index("model")["tokens_per_case"]
    found = ratio_of(length_of("moonshotai/kimi-k2"), length_of("Qwen3-235B-A22B"), 211)
    assert found.value == pytest.approx(tokens["kimi-k2"] / tokens["qwen3-235b-a22b"])
    # four in five draws lie within 1.2816 deviations of what one task says of another
    assert found.high / found.value == pytest.approx(1.46**1.2816, rel=1e-4)
    assert found.grade == "published"
    back = ratio_of(length_of("Qwen3-235B-A22B"), length_of("kimi-k2"), 211)
    assert back.value * found.value == pytest.approx(1)
    assert back.low * found.high == pytest.approx(1)


def test_the_spread_between_tasks_is_that_of_published_costs():
    logs = np.log(TASK_COSTS_USD)
    left = logs - logs.mean(axis=0) - logs.mean(axis=1, keepdims=True) + logs.mean()
    variance = (left**2).sum() / ((5 - 1) * (3 - 1))
    # a ratio on another task differs from that on this one by four cells
    spread = bundled_figures()["output_tokens.task_spread"]
    assert spread.value == pytest.approx(np.exp(np.sqrt(4 * variance)), rel=0.005)


@pytest.mark.parametrize("n_models", [1, 2])
def test_what_is_not_measured_is_assumed_and_no_narrower(n_models):
    measured = ratio_of(length_of("gpt-5"), length_of("kimi-k2"), 2_000)
    other = {1: ratio_of(length_of("gpt-5"), PLAIN, 2_000), 2: ratio_of(REASONS, PLAIN, 2_000)}
    found = other[n_models]
    assert found.grade == "assumed"
    assert found.high / found.low > measured.high / measured.low


@pytest.mark.parametrize(
    ("kinds", "priors"),
    [
        (("yes", "no"), (REASONS, PLAIN)),
        (("no", "yes"), (PLAIN, REASONS)),
        (("no", "no"), (PLAIN, PLAIN)),
        (("yes", "yes"), (REASONS, REASONS)),
    ],
)
def test_four_in_five_published_pairs_lie_in_the_prior_of_their_kinds(kinds, priors):
    table = published()
    sides = [table[table["reasoning"] == kind] for kind in kinds]
    ratios = [
        a.tokens_per_case / b.tokens_per_case
        for a, b in product(*(side.itertuples() for side in sides))
        if a.model != b.model
    ]
    found = ratio_of(*priors, 5_000)
    assert np.mean([found.low <= x <= found.high for x in ratios]) >= 0.8
    assert found.value == pytest.approx(np.median(ratios), rel=0.25)


def test_a_model_of_unknown_kind_spans_both():
    found, plain, reasons = (ratio_of(x, PLAIN, 5_000) for x in (EITHER, PLAIN, REASONS))
    assert plain.value < found.value < reasons.value
    assert found.low < reasons.value < found.high
    assert found.low < plain.value < found.high


def test_reasoning_does_not_shrink_with_a_short_answer():
    short = ratio_of(REASONS, PLAIN, 12)
    assert short.high == pytest.approx((12 + 300) / 12)
    assert short.low == pytest.approx(ratio_of(REASONS, PLAIN, 5_000).low)
    assert ratio_of(PLAIN, PLAIN, 12) == ratio_of(PLAIN, PLAIN, 5_000)
    # what was counted reasons as well, so that it is in the count
    assert ratio_of(REASONS, REASONS, 12) == ratio_of(REASONS, REASONS, 5_000)


def test_a_study_that_says_how_a_model_is_run_narrows_what_it_writes():
    any_effort, none = length_of("gemini-2.5-flash"), length_of("gemini-2.5-flash", "no")
    tokens = published().set_index(["model", "reasoning"])["tokens_per_case"]
    assert np.exp(none.log_mean) == pytest.approx(tokens["gemini-2.5-flash", "no"])
    assert none.log_sd == 0 < any_effort.log_sd
    assert (none.reasons, any_effort.reasons) == ("no", "unknown")
    assert length_of("gpt-oss-120b", "no") == replace(
        PLAIN, source=length_of("gpt-oss-120b", "no").source
    )


def test_an_effort_that_was_not_measured_spreads_as_those_of_other_models_do():
    efforts = [[3464.7, 6528.0, 11659.7], [5132.3, 9100.5], [18409.8, 20658.8]]  # gpt-5, o3, gemini
    left = np.concatenate([np.log(x) - np.mean(np.log(x)) for x in efforts])
    pooled = np.sqrt((left**2).sum() / (len(left) - len(efforts)))
    found = length_of("openai/gpt-oss-120b")  # published at high effort alone
    assert (found.measured, found.reasons) == (True, "yes")
    assert found.log_sd == pytest.approx(pooled)
    assert length_of("deepseek-r1-0528").log_sd == 0  # has no effort to set


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("novita/meta-llama/llama-3.1-70b-instruct", "meta.llama3-1-70b-instruct-v1:0", True),
        ("nvidia/Llama-3.1-8B-Instruct-FP8", "llama-3.1-8b-instant", True),
        ("openai/gpt-oss-120b", "openai.gpt-oss-120b-1:0", True),
        ("gpt-4-turbo", "gpt-4", False),
        ("gpt-4o", "gpt-4o-mini", False),
    ],
)
def test_one_model_has_one_key_at_every_host(one, other, same):
    assert (model_key(one) == model_key(other)) is same


def test_the_model_of_today_writes_what_was_counted_wherever_it_runs(study):
    workload = study.workloads["support-chat"]
    azure = study.routes["openai-gpt-4o"].model_copy(update={"provider": "azure"})
    found = output_tokens_ratio(study, workload, azure)
    assert (found.value, found.uncertain) == (1.0, False)
    told = azure.model_copy(update={"reasoning": "yes"})
    assert output_tokens_ratio(study, workload, told).uncertain


def test_two_routes_of_one_model_share_their_draws_and_other_models_do_not(study):
    workload = study.workloads["support-chat"]
    hosted, own, luna = (
        output_tokens_ratio(study, workload, study.routes[name])
        for name in ("novita-llama-3.1-70b", "h200-llama-3.1-70b", "openai-gpt-6-luna")
    )
    drawn = [draw(figure, figure.name, 4_000, seed=1) for figure in (hosted, own, luna)]
    assert np.array_equal(drawn[0], drawn[1])
    assert abs(np.corrcoef(np.log(drawn[0]), np.log(drawn[2]))[0, 1]) < 0.05
    share = np.mean((hosted.low <= drawn[0]) & (drawn[0] <= hosted.high))
    assert share == pytest.approx(0.8, abs=0.02)


def test_what_the_study_states_goes_before_what_is_published(study):
    counted = Figure("", 1.3, "factor", 1.2, 1.4, "triangular", "measured", "200 logged prompts")
    route = study.routes["openai-gpt-6-luna"].model_copy(update={"output_tokens_ratio": counted})
    found = output_tokens_ratio(study, study.workloads["extraction"], route)
    assert replace(found, name="") == counted
    # of the counted model at another host too, but not of today's route, which was counted
    today = study.routes["openai-gpt-4o"].model_copy(update={"output_tokens_ratio": counted})
    told = study.model_copy(update={"routes": {**study.routes, "openai-gpt-4o": today}})
    elsewhere = today.model_copy(update={"provider": "azure"})
    ratios = [
        output_tokens_ratio(told, told.workloads["extraction"], r) for r in (elsewhere, today)
    ]
    assert [ratio.value for ratio in ratios] == [1.3, 1.0]
