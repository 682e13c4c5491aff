"""Chunks are not tokens: a pace that a buffer or a chunking made is right, or it is not known."""

import numpy as np
import pandas as pd
import pytest

from llmstudy.probe.audit import audit
from llmstudy.probe.compare import compare
from llmstudy.probe.metrics import metrics
from llmstudy.probe.run import Run, Sample, chunk_gaps_s, table, with_metrics
from llmstudy.probe.search import SLO, slo_margin

TTFT_S, ITL_S = 0.1, 0.01


def written(n, itl_s=ITL_S, jitter=0.1, seed=0):
    """When a model writes its n tokens. (n,)."""
    gaps = itl_s * np.random.default_rng(seed).uniform(1 - jitter, 1 + jitter, n)
    return TTFT_S + np.concatenate([[0.0], np.cumsum(gaps[1:])])


def buffered(times, size):
    """Each token comes when a buffer of so many is full, or at the end."""
    full = np.minimum((np.arange(len(times)) // size + 1) * size, len(times)) - 1
    return times[full]


def over_a_slow_line(times):
    """All from a buffer at the end, eight chunks a packet and a packet each 2 ms."""
    return times[-1] + 0.002 * (np.arange(len(times)) // 8)


def in_chunks(times, size):
    """The times of chunks that hold so many tokens each."""
    return times[size - 1 :: size]


def answer(index, times, tokens=None, chunk_tokens=None, **more):
    at = float(index)
    sample = Sample(index, "measure", at, at, content_times_s=(at + times).tolist(), **more)
    sample.ok, sample.output_tokens, sample.content_tokens = True, tokens, chunk_tokens
    sample.done_s = sample.content_times_s[-1]
    return sample


def run_of(samples):
    return Run(table(samples), {"load": {"process": "replay"}})


@pytest.mark.parametrize("n", [8, 20, 200, 2000])
@pytest.mark.parametrize(
    ("delivery", "known"),
    [
        (lambda t: t, True),
        (lambda t: buffered(t, len(t)), False),
        (lambda t: buffered(t, len(t) // 2), False),
        (lambda t: buffered(t, max(len(t) // 4, 3)), False),
        (over_a_slow_line, False),
        (lambda t: np.concatenate([t[:1], np.full(len(t) - 1, t[-1])]), None),
        (lambda t: buffered(t, 2), None),
        (lambda t: buffered(t, 5), None),
        (lambda t: buffered(t, 40), None),
    ],
)
def test_a_tpot_is_right_or_unknown_whatever_buffer_lies_between(n, delivery, known):
    truth = written(n)
    one = with_metrics(table([answer(0, delivery(truth), n)])).iloc[0]
    if known is not None:
        assert np.isfinite(one["tpot_s"]) == known
    if np.isfinite(one["tpot_s"]):
        assert one["tpot_s"] == pytest.approx(ITL_S, rel=0.1)
    gaps = chunk_gaps_s(table([answer(0, delivery(truth), n)]))
    assert len(gaps) == 0 or gaps == pytest.approx(np.diff(truth))
    assert one["ttft_s"] == pytest.approx(delivery(truth)[0])


@pytest.mark.parametrize("n", [20, 100, 400])
@pytest.mark.parametrize("size", [2, 4, 5, 10])
@pytest.mark.parametrize("counted", [True, False])
def test_several_tokens_a_chunk_are_counted_from_usage_and_have_no_itl(n, size, counted):
    times = in_chunks(written(n), size)
    chunk_tokens = [size] * len(times) if counted else None
    samples = table([answer(i, times, n, chunk_tokens) for i in range(8)])
    tpot_s = with_metrics(samples)["tpot_s"]
    assert not with_metrics(samples)["buffered"].any()
    if counted or len(times) >= 10:
        assert tpot_s.to_numpy() == pytest.approx(ITL_S, rel=0.1)
    else:
        assert tpot_s.isna().all()  # any number of them may have been in the first
    assert len(chunk_gaps_s(samples)) == 0
    [pace] = audit(run_of([answer(i, times, n, chunk_tokens) for i in range(8)])).checks.query(
        "check == 'pace'"
    )["why"]
    assert "ITL is unknown" in pace


def test_one_token_without_text_and_a_rare_pair_of_chunks_change_nothing():
    times = written(30)
    assert with_metrics(table([answer(0, times, 31)]))["tpot_s"][0] == pytest.approx(ITL_S, rel=0.1)
    times[7] = times[6]
    found = table([answer(0, times, 31)])
    assert len(chunk_gaps_s(found)) == 29


def test_an_engine_of_thousands_of_tokens_a_second_is_no_buffer():
    fast = table([answer(0, written(500, itl_s=0.0008), 500)])
    assert with_metrics(fast)["tpot_s"][0] == pytest.approx(0.0008, rel=0.1)
    assert len(chunk_gaps_s(fast)) == 499


def test_an_unknown_pace_is_null_named_and_ranks_nowhere():
    plain = [answer(i, written(20, seed=i), 20) for i in range(100)]
    late = [answer(i, buffered(written(20, seed=i), 20), 20) for i in range(100)]
    run = run_of(late)
    found = metrics(run)
    assert {found[m][p] for m in ("tpot_ms", "itl_ms") for p in ("p50", "p95")} == {None}
    assert (found["tpot_ms"]["n"], found["tpot_ms"]["n_undefined"]) == (0, 100)
    assert found["ttft_ms"]["p50"] == pytest.approx(290, rel=0.05)
    [row] = audit(run).checks.query("check == 'pace'").to_dict("records")
    assert row["status"] == "unknown"
    assert "100% of the answers came in one piece" in row["why"]
    for metric in ("tpot", "itl"):
        for pair in ((run, run_of(plain)), (run_of(plain), run)):
            with pytest.raises(ValueError, match="waited in a buffer"):
                compare(*pair, metric, "p50")
    with pytest.raises(ValueError, match="100% of the answers have no tpot_s"):
        slo_margin(run.samples, SLO(tpot_s=0.05))
    assert slo_margin(run.samples, SLO(e2e_s=1.0)).max() < 1


def test_where_some_answers_are_buffered_the_pace_of_the_others_is_not_the_endpoints():
    def mixed(share):
        return [
            answer(i, buffered(written(20), 20) if i % 100 < 100 * share else written(20), 20)
            for i in range(200)
        ]

    for share, known in ((0.0, True), (0.04, True), (0.1, False), (0.5, False)):
        run = run_of(mixed(share))
        assert (metrics(run)["tpot_ms"]["p50"] is not None) == known
        status = audit(run).checks.set_index("check")["status"]["pace"]
        assert status == ("passed" if known else "unknown")


def test_failures_do_not_make_a_metric_that_no_answer_has():
    failed = [Sample(i, "measure", i, i, error="cut", done_s=i + 1.0) for i in range(50)]
    late = [answer(50 + i, buffered(written(20), 20), 20) for i in range(50)]
    found = metrics(table(failed + late))
    assert found["failed_share"] == 0.5
    assert (found["tpot_ms"]["n"], found["itl_ms"]["n"]) == (0, 0)
    assert metrics(table(failed))["tpot_ms"]["n"] == 50  # all failed: it is infinite


def test_an_imported_answer_of_which_two_chunks_are_known_has_its_tpot():
    one = answer(0, np.array([0.1, np.nan, 1.1]), 101)
    assert with_metrics(table([one]))["tpot_s"][0] == pytest.approx(0.01)
    assert isinstance(with_metrics(table([])), pd.DataFrame)
