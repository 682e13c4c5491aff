import numpy as np
import pandas as pd
import pytest

from llmstudy import paths
from llmstudy.measures.capacity import GROUP, SETTING, gpu, model_shape, serving_points

LLAMA_8B = model_shape("meta-llama/Llama-3.1-8B")
LLAMA_70B = model_shape("meta-llama/Llama-3.1-70B")
GPT_OSS = model_shape("openai/gpt-oss-120b")
H100 = gpu("h100_sxm")


@pytest.mark.parametrize(
    ("shape", "value_bytes", "expected"),
    [(LLAMA_8B, 2, 131_072), (LLAMA_70B, 2, 327_680), (LLAMA_70B, 1, 163_840)],
)
def test_kv_bytes_per_token_are_the_published_ones(shape, value_bytes, expected):
    assert shape.kv_cache_bytes(1, value_bytes) == expected
    assert shape.kv_cache_bytes(5000, value_bytes) == 5000 * expected


def test_windowed_layers_stop_growing_at_their_window():
    # gpt-oss: 36 layers of 8 KV heads x 64, half of them see 128 tokens
    per_layer = 2 * 8 * 64 * 2
    assert GPT_OSS.kv_cache_bytes(100) == per_layer * 36 * 100
    assert GPT_OSS.kv_cache_bytes(10_000) == per_layer * (18 * 10_000 + 18 * 128)


def test_latent_attention_stores_one_vector_per_layer_and_every_gpu_holds_it():
    kimi = model_shape("moonshotai/Kimi-K2.5")
    assert kimi.kv_cache_bytes(1) == 61 * (512 + 64) * 2
    assert kimi.kv_shards([1, 8]).tolist() == [1, 1]
    assert LLAMA_70B.kv_shards([1, 8, 16]).tolist() == [1, 8, 8]


def test_one_token_reads_the_active_parameters_and_many_read_all():
    assert GPT_OSS.params_read(1) == pytest.approx(5.1e9)
    assert GPT_OSS.params_read(10_000) == pytest.approx(116.8e9)
    assert LLAMA_70B.params_read([1, 10_000]).tolist() == [70.6e9, 70.6e9]


def test_experts_touched_agree_with_simulated_routing():
    rng = np.random.default_rng(3)
    routed = rng.random((400, 24, 128)).argsort(axis=2)[:, :, :4].reshape(400, -1)
    touched = np.mean([len(np.unique(row)) for row in routed])
    per_expert = (GPT_OSS.params_read(10_000) - GPT_OSS.params_read(1)) / 124
    expected = 116.8e9 - (128 - touched) * per_expert
    assert GPT_OSS.params_read(24) == pytest.approx(expected, rel=0.01)


def recorded(points, **changes):
    """Published points as if our own probe had measured them."""
    plain = {"kv_dtype": "bf16", "prefix_caching": False, "lora": False, "enforce_eager": False}
    plain |= {"engine_version": "0.26.0", "weights": "dummy", "n": 64, "above_limit": False}
    return points.assign(**{**plain, **changes})


@pytest.mark.parametrize(
    "other",
    [
        {"prefix_caching": True},
        {"lora": True},
        {"enforce_eager": True},
        {"kv_dtype": "fp8"},
        {"above_limit": True},
    ],
    ids=lambda other: next(iter(other)),
)
def test_points_of_another_engine_stay_out_of_the_models_curve(other, tmp_path, monkeypatch):
    published, source = serving_points(), paths.data("vllm_serving_points.csv")
    (tmp_path / source.name).symlink_to(source)
    monkeypatch.setattr(paths, "data", lambda name="": tmp_path / name)
    (tmp_path / "probes" / "h200").mkdir(parents=True)
    own = pd.concat([recorded(published.head(1)), recorded(published.tail(1), **other)])
    own.to_csv(tmp_path / "probes" / "h200" / "points.csv", index=False)
    [kept] = serving_points(engine_version="0.26.0")["point_id"]
    assert kept == published["point_id"].iloc[0]


def test_points_of_our_own_probe_follow_the_published_ones(tmp_path, monkeypatch):
    source = paths.data("vllm_serving_points.csv")
    (tmp_path / source.name).symlink_to(source)
    monkeypatch.setattr(paths, "data", lambda name="": tmp_path / name)
    published = serving_points()
    (tmp_path / "probes" / "h200").mkdir(parents=True)
    own = recorded(published.head(2))
    own.to_csv(tmp_path / "probes" / "h200" / "points.csv", index=False)
    joined = serving_points()
    pd.testing.assert_frame_equal(joined.head(-2), published)
    pd.testing.assert_frame_equal(
        serving_points(engine_version="0.26.0"),
        own[list(published)].reset_index(drop=True),
    )
    assert joined.dtypes.to_dict() == published.dtypes.to_dict()


def test_precisions_without_a_unit_of_their_own_run_at_the_bf16_rate():
    assert gpu("a100_80gb_sxm").flops_per_s("fp8") == 312e12
    assert gpu("b200_sxm").flops_per_s("fp4") == 9000e12
    assert gpu("b200_sxm").flops_per_s("int4") == 2250e12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gpu("h300"), "no gpu 'h300' in data/gpu_specs.csv; it has l4, l40s"),
        (lambda: model_shape("llama"), "no model 'llama' in data/model_shapes.csv; it has meta"),
        (lambda: H100.flops_per_s("fp6"), "unknown precision 'fp6': write one of bf16"),
        (lambda: serving_points("Qwen/Qwen3-32B", "l4"), "no serving points for Qwen/Qwen3-32B l4"),
    ],
)
def test_an_unknown_name_is_an_error_that_lists_the_known_ones(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_every_bundled_point_has_a_known_model_gpu_source_and_licence():
    points = serving_points()
    for name in points["model"].unique():
        model_shape(name)
    for name in points["gpu"].unique():
        gpu(name)
    assert points["point_id"].is_unique
    filled = [*GROUP, *SETTING, "moe_ep", "gemm_quant", "source", "licence"]
    assert points[filled].notna().all(axis=None)
    assert points.loc[points["gemm_quant"] == "bf16", "precision"].eq("bf16").all()


@pytest.mark.shared
def test_bundled_points_are_the_shared_figures():
    original = paths.ROOT.parent / "shared" / "figures" / "vllm_serving_points.csv"
    if not original.exists():
        pytest.skip("the shared figures are not beside this checkout")
    columns = ["point_id", "model", "gpu", "ttft_ms", "tpot_ms", "concurrency", "tensor_parallel"]
    bundled = pd.read_csv(paths.data("vllm_serving_points.csv"))
    pd.testing.assert_frame_equal(pd.read_csv(original)[columns], bundled[columns])
