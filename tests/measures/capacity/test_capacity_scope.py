import numpy as np
import pytest

from llmstudy.measures.capacity import (
    GROUP,
    SETTING,
    Hull,
    fit_serving_curve,
    gpu,
    model_shape,
    requests_per_s,
    scope,
    serving_fits,
    serving_points,
    usable_points,
)

INSIDE = {"concurrency": 16, "input_tokens": 1024, "output_tokens": 1024, "tensor_parallel": 2}
SQUARE = Hull({2: (8, 64), 8: (4, 64)}, ((1024, 512), (1024, 4096), (8192, 512), (8192, 4096)))


def test_inside_the_hull_the_range_is_that_of_the_heldout_error(truth):
    found = scope(truth, 0.06, **INSIDE)
    assert found.outside == ()
    assert found.doublings_outside == 0
    # half of a log-normal lies within its median absolute deviation: 0.6745 and 1.2816 sigma
    assert found.high == pytest.approx(np.exp(0.06 * 1.2816 / 0.6745), rel=1e-4)
    assert found.low * found.high == pytest.approx(1)
    assert found.why == "held-out error of the serving curve, median 6.0%"


def test_the_range_widens_with_every_doubling_outside_and_says_what_lies_there(truth):
    loads = [scope(truth, 0.05, **INSIDE | {"concurrency": c}) for c in (64, 128, 256, 1024)]
    widths = [found.high / found.low for found in loads]
    assert widths == sorted(set(widths))
    assert [found.doublings_outside for found in loads] == [0, 1, 2, 4]
    assert loads[0].outside == ()
    assert loads[1].outside == ("concurrency",)
    assert "not measured: concurrency (1.0 doublings outside)" in loads[1].why
    wide = scope(truth, 0.05, **INSIDE | {"input_tokens": 32768, "tensor_parallel": 16})
    assert wide.outside == ("input_tokens", "tensor_parallel")


@pytest.mark.parametrize(
    ("where", "doublings"),
    [
        ((16, 2048, 1024, 2), 0.0),
        ((4, 2048, 1024, 8), 0.0),
        ((4, 2048, 1024, 2), 1.0),
        ((16, 2048, 1024, 4), 1.0),
        ((16, 512, 256, 2), np.sqrt(2)),
        ((128, 16384, 1024, 16), np.sqrt(3)),
    ],
)
def test_distance_from_the_hull_is_in_doublings_to_its_nearest_point(where, doublings):
    assert SQUARE.doublings_outside(*where) == pytest.approx(doublings, abs=1e-6)
    assert bool(SQUARE.outside(*where)) == (doublings > 0)


def test_another_model_precision_engine_or_cache_is_outside_and_half_as_much_again_is_likely(truth):
    asked = {
        "model": "Qwen/Qwen3-32B",
        "precision": "bf16",
        "engine_version": "0.26.0",
        "kv_value_bytes": 1.0,
        "gpu": "b200_sxm",
    }
    for name, value in asked.items():
        found = scope(truth, 0.05, **INSIDE, **{name: value})
        assert found.outside == (name,)
        assert found.high == pytest.approx(1.5, abs=0.03)
    own = scope(truth, 0.05, **INSIDE, model=truth.shape.model, gpu="h200_sxm", kv_value_bytes=2.0)
    assert own == scope(truth, 0.05, **INSIDE)


def test_a_gpu_of_the_same_family_widens_less_than_another(truth):
    related, foreign = (scope(truth, 0.05, **INSIDE, gpu=name) for name in ("h100_sxm", "b200_sxm"))
    assert 1 < related.high < foreign.high
    assert related.outside == foreign.outside == ("gpu",)


def test_without_a_heldout_error_the_curve_counts_as_untested(truth):
    found = scope(truth, None, **INSIDE)
    assert (found.low, found.high) == pytest.approx((1 / 1.5, 1.5))
    assert found.why == "too few points to hold any out"


def test_80_percent_ranges_hold_the_truth_beyond_the_load_and_the_gpus_measured():
    held = {"concurrency": [], "tensor_parallel": []}
    for row in serving_fits().to_dict("records"):
        key = [row[name] for name in GROUP]
        shape, card = model_shape(key[0]), gpu(key[1])
        used = usable_points(serving_points(*key), shape, card, key[2])
        for setting, inside in held.items():
            low = used[setting] <= used[setting].median() / 2
            for seen in (low, ~low):
                if seen.sum() < 8 or seen.all():
                    continue
                curve = fit_serving_curve(used[seen], shape, card, key[2])
                out = used[~seen]
                batch, output, ttft_s = (
                    out["concurrency"],
                    out["output_tokens"],
                    out["ttft_ms"] / 1e3,
                )
                tpot_s = curve.tpot_s(**{name: out[name].to_numpy() for name in SETTING})
                predicted = requests_per_s(batch, output, ttft_s, tpot_s)
                factors = requests_per_s(batch, output, ttft_s, out["tpot_ms"] / 1e3) / predicted
                for factor, at in zip(factors, out[SETTING].to_dict("records"), strict=True):
                    found = scope(curve, row["median_abs_error_share"], **at)
                    assert found.outside
                    inside.append(found.low <= factor <= found.high)
    for inside in held.values():
        assert len(inside) > 80
        assert 0.8 <= np.mean(inside) <= 0.98
