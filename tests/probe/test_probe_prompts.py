"""Prompts that no cache knows, of the lengths that were asked for."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmstudy.probe.endpoint import Endpoint
from llmstudy.probe.load import calibrate, run_load
from llmstudy.probe.prompts import TokensPerWord, fixed_lengths, logged_lengths, plan


def prompts(n, seed, input_tokens=40, **options):
    return [r.prompt for r in plan(fixed_lengths(n, input_tokens, 4), seed, **options).requests()]


def common(a, b):
    """Pieces at the start that two prompts have in common."""
    a, b = (x.split() if isinstance(x, str) else x for x in (a, b))
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))


@pytest.mark.parametrize("vocabulary", [None, 4_096])
def test_no_two_prompts_of_a_run_or_of_two_seeds_begin_alike(vocabulary):
    made = [
        tuple(prompt.split()[:8]) if isinstance(prompt, str) else tuple(prompt[:8])
        for seed in (1, 2, 2**33)
        for prompt in prompts(2_000, seed, vocabulary=vocabulary)
    ]
    assert len(set(made)) == len(made) == 6_000


def test_the_same_plan_and_seed_make_the_same_prompts_in_whatever_order():
    made = plan(fixed_lengths(20, 30, 4), 5)
    assert prompts(20, 5, 30) == [r.prompt for r in made.requests()]
    assert made.prompt(13, 30, None) == prompts(20, 5, 30)[13]
    left = [request.index for request in made.requests(skip=frozenset({0, 4, 19}))]
    assert left == [i for i in range(20) if i not in (0, 4, 19)]


@pytest.mark.parametrize("vocabulary", [None, 4_096])
@pytest.mark.parametrize(("share", "shared"), [(0.25, 10), (0.5, 20), (0.99, 39)])
def test_a_shared_prefix_is_as_long_as_asked_and_no_longer(vocabulary, share, shared):
    made = prompts(60, 3, 40, vocabulary=vocabulary, shared_prefix_share=share)
    lengths = [common(a, b) for i, a in enumerate(made) for b in made[:i]]
    assert min(lengths) == shared
    assert np.mean(np.array(lengths) == shared) > (0.9 if shared < 39 else 0)


def test_requests_take_turns_among_the_prefix_groups():
    made = plan(fixed_lengths(12, 40, 4), 3, shared_prefix_share=0.5, prefix_groups=3)
    requests = list(made.requests())
    assert [request.prefix_group for request in requests] == [0, 1, 2] * 4
    for a, b in pairwise(requests):
        assert common(a.prompt, b.prompt) < 8  # neighbours are of two groups
    for a, b in zip(requests, requests[3:], strict=False):
        assert common(a.prompt, b.prompt) >= 20


def test_longer_requests_of_a_group_share_more_of_the_same_prefix():
    lengths = pd.DataFrame({"input_tokens": [20, 40, 80], "output_tokens": [4, 4, 4]})
    made = [r.prompt for r in plan(lengths, 3, shared_prefix_share=0.5).requests()]
    assert common(made[0], made[1]) >= 10
    assert common(made[1], made[2]) >= 20


@given(st.floats(0.5, 3), st.floats(0, 50), st.integers(1, 20_000))
def test_words_make_the_tokens_asked_for_to_the_nearest_word(per_word, overhead, tokens):
    scale = TokensPerWord(per_word, overhead)
    made = overhead + per_word * scale.words(tokens)
    assert abs(made - tokens) <= per_word / 2 + 1e-6 or scale.words(tokens) == 1


def counting_server(monkeypatch, per_word, overhead):
    """Makes `call` count the words of each prompt as a tokenizer of this kind would."""
    from llmstudy.probe import load
    from llmstudy.probe.run import Sample

    async def counted(_endpoint, request, message, *_):
        words = len(json.loads(message.partition(b"\r\n\r\n")[2])["messages"][0]["content"].split())
        sample = Sample(request.index, request.phase, 0.0, 0.0, ok=True, done_s=0.0)
        sample.input_tokens, sample.output_tokens = round(overhead + per_word * words), 1
        sample.asked_input_tokens = request.input_tokens
        return sample, ""

    monkeypatch.setattr(load, "call", counted)


@pytest.mark.parametrize(("per_word", "overhead"), [(1.0, 0), (1.37, 11), (2.6, 70), (0.8, 3)])
def test_calibration_hits_the_asked_tokens_within_2_percent(monkeypatch, per_word, overhead):
    counting_server(monkeypatch, per_word, overhead)
    lengths = pd.DataFrame({"input_tokens": [150, 1_155, 8_192], "output_tokens": 4})
    made, _ = calibrate(Endpoint("http://h/v1", "m"), plan(lengths, 1))
    found = run_load(Endpoint("http://h/v1", "m"), made, {}, workers=1).samples
    assert (found["input_tokens"] / found["asked_input_tokens"] - 1).abs().max() < 0.02


def test_calibration_on_the_mock_hits_the_asked_tokens_and_tells_who_answered(mock, ask):
    endpoint = ask(mock, model="m-7", system_fingerprint="fp")
    made, facts = calibrate(endpoint, plan(fixed_lengths(3, 600, 2), 1))
    assert (facts["served_model"], facts["fingerprint"]) == ("m-7", "fp")
    assert facts["tcp_s"] > 0
    found = run_load(endpoint, made, {}, workers=1).samples
    assert found["input_tokens"].tolist() == [600] * 3


def test_prompts_of_token_ids_need_no_calibration(mock):
    endpoint = Endpoint(mock.base_url, "mock", "completions", body={"mock": {"token_ids": True}})
    made, _ = calibrate(endpoint, plan(fixed_lengths(3, 77, 4), 1, vocabulary=1_000))
    found = run_load(endpoint, made, {}, workers=1).samples
    assert found["ok"].all()
    assert found["input_tokens"].tolist() == [77] * 3
    assert found["content_times_s"].map(len).tolist() == [4] * 3
    ids = [i for request in made.requests() for i in request.prompt]
    assert 0 <= min(ids) <= max(ids) < 1_000


def test_lengths_from_a_log_keep_their_correlation_and_leave_failures_out():
    rng = np.random.default_rng(0)
    read = rng.lognormal(6, 1, 5_000).astype(int) + 1
    log = pd.DataFrame(
        {"input_tokens": read, "output_tokens": read // 4 + rng.integers(1, 50, 5_000), "ok": True}
    )
    log.loc[::10, ["ok", "input_tokens", "output_tokens"]] = [False, 10**6, 1]
    log.loc[5::10, "output_tokens"] = 0
    drawn = logged_lengths(log, 20_000, rng)
    answered = log[log["ok"] & (log["output_tokens"] > 0)]
    ours, theirs = (
        frame[["input_tokens", "output_tokens"]].corr("spearman").iloc[0, 1]
        for frame in (drawn, answered)
    )
    assert ours == pytest.approx(theirs, abs=0.01)
    assert theirs > 0.9
    assert drawn["input_tokens"].max() < 10**6
    assert drawn["input_tokens"].mean() == pytest.approx(answered["input_tokens"].mean(), rel=0.05)
    pairs = set(answered[["input_tokens", "output_tokens"]].itertuples(index=False, name=None))
    assert pairs.issuperset(drawn.itertuples(index=False, name=None))


def test_a_log_without_an_answer_has_no_lengths():
    log = pd.DataFrame({"input_tokens": [5], "output_tokens": [0], "ok": [True]})
    with pytest.raises(ValueError, match="no answered request"):
        logged_lengths(log, 3, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scheduled_s": np.zeros(2)}, "3 lengths for 2 arrivals"),
        ({"scheduled_s": np.array([0.0, 2.0, 1.0])}, "not in order"),
        ({"scheduled_s": np.array([-1.0, 0.0, 1.0])}, "not in order"),
        ({"scheduled_s": np.array([0.0, np.nan, 1.0])}, "not in order"),
        ({"warmup_n": 3}, "leave none of 3"),
        ({"shared_prefix_share": 1.0}, "shared prefix of 1"),
        ({"shared_prefix_share": 0.5, "prefix_groups": 0}, "at least one group"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_a_plan_that_cannot_be_kept_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        plan(fixed_lengths(3, 5, 4), **({"seed": 1} | options))


@pytest.mark.parametrize(("read", "written"), [(0, 4), (5, 0), (np.nan, 4)])
def test_lengths_below_one_token_are_refused(read, written):
    with pytest.raises(ValueError, match="less than one token"):
        plan(fixed_lengths(3, read, written), 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 300), st.integers(0, 2**70), st.floats(0, 0.999))
def test_a_prompt_of_ids_has_exactly_the_tokens_asked(tokens, seed, share):
    made = plan(fixed_lengths(2, tokens, None), seed, vocabulary=50, shared_prefix_share=share)
    assert [len(request.prompt) for request in made.requests()] == [tokens, tokens]
    assert [request.output_tokens for request in made.requests()] == [None, None]
