from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from llmstudy.measures.capacity import (
    GROUP,
    SETTING,
    CannotServe,
    FirstToken,
    capacity_at_slo,
    fit_first_token,
    fit_serving_curve,
    gpu,
    model_shape,
    serving_points,
    usable_points,
)
from llmstudy.measures.capacity.first_token import (
    HOST_S_PER_TOKEN,
    INTAKE_POWER,
    LOAD_POWER,
    reading_per_step,
    waiting,
)
from llmstudy.measures.capacity.fit import groups
from llmstudy.measures.capacity.replay import engine, fleet, replay, requests_on
from llmstudy.measures.capacity.sizing import (
    Burstiness,
    Service,
    Traffic,
    smallest_replicas,
    sustainable_utilisation,
)
from llmstudy.measures.capacity.slo import Slo, request_table

SHAPE, H200 = model_shape("meta-llama/Llama-3.1-70B"), gpu("h200_sxm")


@pytest.fixture(scope="module")
def ratios():
    """Predicted over measured TTFT by group, each configuration predicted from the others of it."""
    rows = []
    for key, group, shape, card in groups(serving_points()):
        used = usable_points(group, shape, card, key["precision"])
        if len(used) < 5:
            continue
        curve = fit_serving_curve(group, shape, card, key["precision"])
        unscaled_s = FirstToken(1.0, 1.0, 1.0).under_load_s(curve, used)
        logs = np.log(used["ttft_ms"].to_numpy() / 1e3 / unscaled_s)
        others = [np.median(np.delete(logs, i)) for i in range(len(logs))]
        p10, median, p90 = np.quantile(np.exp(others - logs), [0.1, 0.5, 0.9])
        rows.append({"n": len(used), "p10": p10, "median": median, "p90": p90})
    return pd.DataFrame(rows)


def test_the_first_token_of_points_that_the_fit_did_not_see_comes_when_it_was_measured(ratios):
    assert ratios["n"].sum() > 500
    assert ratios["median"].between(0.9, 1.1).all()
    assert ratios["p10"].min() >= 0.5
    assert ratios["p90"].max() <= 2


def test_a_group_is_told_as_well_by_what_the_others_show_of_the_wait():
    """The powers learnt without a group, and by an arithmetic of the test's own."""
    points = []
    for key, group in serving_points().groupby(GROUP):
        shape, card = model_shape(key[0]), gpu(key[1])
        used = usable_points(group, shape, card, key[2])
        if len(used) < 5:
            continue
        curve = fit_serving_curve(used, shape, card, key[2])
        where = {name: used[name].to_numpy(dtype=float) for name in SETTING}
        others = where.pop("concurrency") - 1
        reading_s = curve.prefill_s(where["input_tokens"], where["tensor_parallel"])
        each = reading_s / where["output_tokens"] / curve.decode_step_s(1, **where)
        share = others * each / (1 + others * each)
        explained = np.column_stack(
            [np.log(reading_s + HOST_S_PER_TOKEN * where["input_tokens"]), np.log(others + 1)]
        )
        wait = np.log(used["ttft_ms"].to_numpy() / 1e3) - np.log1p(share)
        points.append((explained, wait))
    within = [(x - x.mean(axis=0), y - y.mean()) for x, y in points]
    for left_out, (x, y) in enumerate(points):
        rest = [pair for i, pair in enumerate(within) if i != left_out]
        powers = np.linalg.lstsq(*map(np.concatenate, zip(*rest, strict=True)), rcond=None)[0]
        assert powers == pytest.approx([INTAKE_POWER, LOAD_POWER], abs=0.03)
        logs = y - x @ powers
        ratios = np.exp([np.median(np.delete(logs, i)) - log for i, log in enumerate(logs)])
        assert np.quantile(ratios, 0.1) >= 0.5
        assert np.quantile(ratios, 0.9) <= 2


def closed_loop(curve, row, first_token):
    """Mean TTFT where each of c users sends the next request when the last is answered; answers
    differ in length by half, so that the users do not move in step."""
    c, n = int(row["concurrency"]), 12 * int(row["concurrency"])
    spread = np.random.default_rng(0).uniform(0.5, 1.5, n)
    inputs, outputs = np.full(n, int(row["input_tokens"])), row["output_tokens"] * spread
    size = int(row["tensor_parallel"])
    requests = requests_on(curve, size, np.zeros(n), inputs, outputs, first_token=first_token)
    found = replay(requests, engine(curve, size, c), fleet(1))
    ttft_s = request_table(requests, found)["ttft_s"] - found.admitted_s
    return float(ttft_s[2 * c :].mean())  # without the start, when all come at once


def test_a_closed_loop_replayed_waits_for_its_first_token_as_long_as_was_measured():
    found = {True: [], False: []}
    for key, points in serving_points().groupby(GROUP):
        shape, card = model_shape(key[0]), gpu(key[1])
        used = usable_points(points, shape, card, key[2])
        if len(used) < 12:
            continue
        order = np.random.default_rng(0).permutation(len(used))
        seen, unseen = used.iloc[order[:8]], used.iloc[order[8:]]
        curve = fit_serving_curve(seen, shape, card, key[2])
        first = fit_first_token(curve, seen)
        before = len(found[True])
        for row in unseen.to_dict("records"):
            for calibrated, ttfts in found.items():
                ttft_s = closed_loop(curve, row, first if calibrated else None)
                ttfts.append(1e3 * ttft_s / row["ttft_ms"])
        p10, p90 = np.quantile(found[True][before:], [0.1, 0.9])
        assert p10 >= 0.5, key
        assert p90 <= 2, key
    assert np.median(found[False]) < 0.6  # the steps alone
    assert 0.9 <= np.median(found[True]) <= 1.1


def test_a_known_scale_is_found(synthetic_points, truth):
    points = synthetic_points(12)
    where = {name: points[name].to_numpy(dtype=float) for name in SETTING}
    others = where.pop("concurrency") - 1
    reading_s = truth.prefill_s(where["input_tokens"], where["tensor_parallel"])
    beside = others * reading_s / (where["output_tokens"] * truth.decode_step_s(1, **where))
    alone_s = 0.8 * (reading_s + 8e-6 * where["input_tokens"]) ** 0.65
    ttft_s = alone_s * (others + 1) ** 0.31 * (1 + beside / (1 + beside))
    measured = points.assign(ttft_ms=1e3 * ttft_s)
    found = fit_first_token(truth, measured)
    assert found.scale == pytest.approx(0.8, rel=1e-5)
    # no engine is known better than all together
    assert (found.low, found.high) == (0.83, 1.3)
    assert found.times(2).scale == pytest.approx(1.6, rel=1e-5)


def test_prompts_of_others_at_most_double_the_wait_and_do_so_beside_short_answers(truth):
    short, long = (reading_per_step(truth, 8192, tokens, 2) for tokens in (1, 10_000))
    assert waiting(1, short) == waiting(1, long) == 1
    without = waiting(64, 0.0)
    assert without < waiting(64, long) < waiting(64, short) < 2 * without
    assert reading_per_step(truth, 8192, 100, 2, 0.9) < reading_per_step(truth, 8192, 100, 2)


def test_the_answer_ends_as_much_later_as_it_begins_and_is_written_as_fast(truth):
    one = requests_on(truth, 2, [5.0], [1155], [211])
    late = one._replace(first_token_s=np.array([3.0]))
    tables = [request_table(r, replay(r, engine(truth, 2, 8), fleet(1))) for r in (one, late)]
    assert tables[1]["ttft_s"][0] == pytest.approx(3.0)
    assert tables[1]["tpot_s"][0] == pytest.approx(tables[0]["tpot_s"][0])
    delay_s = tables[1]["ttft_s"][0] - tables[0]["ttft_s"][0]
    assert tables[1]["e2e_s"][0] - tables[0]["e2e_s"][0] == pytest.approx(delay_s)


def test_a_first_token_that_comes_later_leaves_less_room_within_a_tight_limit(truth):
    points = serving_points(SHAPE.model, H200.gpu, "fp8")
    first = fit_first_token(truth, points)
    ones = np.ones(1, dtype=np.int64)
    traffic = Traffic(np.full(168, 4.0), 1155 * ones, 211 * ones, 0 * ones, Burstiness(0.0, 0.0))
    found = capacity_at_slo(truth, 1155, 211, 0.05, 2)
    steps = Service(
        truth, 2, engine(truth, 2, found.concurrency), Slo(0.35, 0.05), found.requests_per_s
    )
    measured = replace(steps, first_token=first)
    slow = replace(steps, first_token=first.times(first.high))
    of_steps, of_measured, of_slow = (
        sustainable_utilisation(s, traffic, [2], seed=0)[0] for s in (steps, measured, slow)
    )
    assert of_steps > of_measured > of_slow > 0
    never = replace(steps, first_token=first.times(100))
    with pytest.raises(CannotServe, match="loosen the SLO"):
        smallest_replicas(never, traffic, 4.0, seed=0)
