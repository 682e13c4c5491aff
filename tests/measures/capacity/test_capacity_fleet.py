"""One call sizes a fleet: it holds its targets, one replica fewer would not, and it says which."""

import numpy as np
import pandas as pd
import pytest

from llmstudy import size_fleet
from llmstudy.measures.capacity.first_token import FirstToken
from llmstudy.measures.capacity.replay import engine, fleet, replay, requests_on
from llmstudy.measures.capacity.slo import Slo, holds, request_table

TARGETS = {"tensor_parallel": 2, "ttft_s": 1.0, "tpot_s": 0.05}
FIRST = FirstToken(1.5, 0.83, 1.3)


@pytest.fixture(scope="module")
def log():
    """Two hours of Poisson arrivals, the second busier, with a third of each prompt cached."""
    rng = np.random.default_rng(3)
    since_s = np.sort(
        np.concatenate([rng.uniform(0, 3600, 20_000), rng.uniform(3600, 7200, 60_000)])
    )
    inputs = rng.integers(200, 2_000, len(since_s))
    start = pd.Timestamp("2026-11-02T09:00", tz="UTC")
    return pd.DataFrame(
        {
            "ts_start": start + pd.to_timedelta(since_s, unit="s"),
            "input_tokens": inputs,
            "output_tokens": rng.integers(20, 400, len(since_s)),
            "cached_input_tokens": pd.array(inputs // 3, dtype="Int64"),
        }
    )  # fmt: skip


def test_the_fleet_of_a_log_holds_the_log_s_own_busiest_hour(truth, log):
    [row] = size_fleet(log, truth, first_token=FIRST, spare=2, **TARGETS).to_dict("records")
    hours = log.resample("h", on="ts_start").size()
    assert row["peak_requests_per_s"] == hours.max() / 3600
    assert row["gpus"] == 2 * row["replicas"]
    carried = row["replicas"] * row["replica_requests_per_s"]
    assert row["peak_utilisation_share"] == pytest.approx(hours.max() / 3600 / carried)
    busiest = log[log["ts_start"] >= hours.idxmax()]
    at_s = (busiest["ts_start"] - hours.idxmax()).dt.total_seconds()
    lengths = (busiest[c] for c in ("input_tokens", "output_tokens", "cached_input_tokens"))
    requests = requests_on(truth, 2, at_s, *lengths, FIRST)

    def in_time(replicas):
        outcome = replay(requests, engine(truth, 2, 64), fleet(replicas))
        return holds(request_table(requests, outcome), Slo(1.0, 0.05))

    assert in_time(row["replicas"] - 2)
    assert not in_time(row["replicas"] - 2 - 2)  # one is the margin between two draws


ALIKE = {"input_tokens": 1155, "output_tokens": 211}
MIXED = {"input_tokens": np.arange(200, 2_000, 18), "output_tokens": np.arange(405, 5, -4)}


@pytest.mark.parametrize(
    ("rate", "lengths", "targets", "binds"),
    [
        (0.1, ALIKE, {}, "nothing"),
        (20.0, ALIKE, {}, "ttft"),
        (20.0, MIXED, {"ttft_s": 5.0, "tpot_s": 0.03}, "tpot"),
    ],
)
def test_it_says_which_target_asks_for_the_last_replica(truth, rate, lengths, targets, binds):
    targets = {**TARGETS, **targets}
    [row] = size_fleet(rate, truth, first_token=FIRST, **lengths, **targets).to_dict("records")
    assert row["binds"] == binds
    assert row["ttft_p95_s"] <= targets["ttft_s"]
    assert row["tpot_p95_s"] <= targets["tpot_s"]


@pytest.mark.parametrize(
    ("requests", "more", "wrong"),
    [
        (lambda log: 20.0, {}, "input_tokens and output_tokens"),
        (lambda log: 0.0, {"input_tokens": 10, "output_tokens": 10}, "above 0 requests/s"),
        (lambda log: log.drop(columns="input_tokens"), {}, "lacks input_tokens"),
        (lambda log: log.head(50), {}, "shorter than an hour"),
        (lambda log: log, {}, "first_token=fit_first_token"),
    ],
)
def test_what_cannot_be_sized_is_an_error_that_says_how_to_mend_it(
    truth, log, requests, more, wrong
):
    with pytest.raises(ValueError, match=wrong):
        size_fleet(requests(log), truth, **more, **TARGETS)
