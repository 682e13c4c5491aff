"""The busiest minute of an hour against bursty traffic drawn by the simulator's own generator."""

import numpy as np
import pytest

from llmstudy.measures.capacity.sizing import Burstiness, Traffic, draw
from llmstudy.measures.rate_limits import busiest_minute, minute_cv, reached_from
from llmstudy.requests.draw import token_mix

WINDOWS = 1500
"""Of ten minutes each: 15,000 minutes, of which 250 lie above one in sixty."""


def drawn(per_minute, bursts):
    """Requests and tokens of each minute of bursty hours, and the tokens of each request."""
    mix = token_mix("azure_conversation_2023")
    rows = mix.loc[mix.index.repeat(mix["requests"])]
    prompts = rows["input_tokens_mean"].round().to_numpy(dtype=np.int64)
    answers = rows["output_tokens_mean"].round().to_numpy(dtype=np.int64)
    traffic = Traffic(np.ones(168), prompts, answers, 0 * prompts, bursts)
    requests = draw(traffic, np.full(WINDOWS, per_minute / 60), 600.0, seed=5)
    tokens = (requests["input_tokens"] + requests["output_tokens"]).to_numpy()
    minute = (requests["arrival_s"] // 60).astype(int).to_numpy()
    counts = np.bincount(minute, minlength=10 * WINDOWS)
    return counts, np.bincount(minute, tokens, minlength=10 * WINDOWS), prompts + answers


@pytest.mark.parametrize("per_minute", [20, 300])
@pytest.mark.parametrize("bursts", [(0.0, 0.0), (0.3, 0.6), (0.1, 1.0)])
def test_one_minute_in_sixty_of_bursty_traffic_asks_for_more(per_minute, bursts):
    requests, tokens, lengths = drawn(per_minute, Burstiness(*bursts))
    cv, mean = minute_cv(*bursts), np.array([float(per_minute)])
    found = busiest_minute(mean, np.ones(1), 0.0, cv)[0]
    assert found == pytest.approx(np.quantile(requests, 59 / 60), rel=0.06)
    size_cv = lengths.std() / lengths.mean()
    found = busiest_minute(mean, np.array([lengths.mean()]), size_cv, cv)[0]
    assert found == pytest.approx(np.quantile(tokens, 59 / 60), rel=0.06)


def test_no_traffic_asks_for_nothing():
    assert busiest_minute(np.zeros((2, 3)), np.ones((2, 3)), 0.5, 0.3).tolist() == [[0.0] * 3] * 2


def test_a_limit_that_is_asked_for_exactly_is_reached():
    asked = np.array([[9.0, 10.0], [9.0, 9.9], [10.0, 3.0]])
    assert reached_from(asked, 10.0).tolist() == [2.0, np.inf, 1.0]
