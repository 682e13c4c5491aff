"""A serving curve whose parameters are known, and points drawn from it."""

import numpy as np
import pandas as pd
import pytest

from llmstudy.measures.capacity import Hull, ServingCurve, gpu, model_shape


@pytest.fixture(scope="session")
def truth():
    return ServingCurve(
        shape=model_shape("meta-llama/Llama-3.1-70B"),
        gpu=gpu("h200_sxm"),
        precision="fp8",
        kv_value_bytes=2.0,
        engine_version="synthetic",
        bandwidth_efficiency=0.8,
        flop_efficiency=0.45,
        step_overhead_s=2.1e-3,
        tp_overhead_s=1.5e-3,
        n_fit=0,
        residual_share=0.0,
        hull=Hull(
            {1: (4, 32), 2: (8, 64), 4: (4, 64), 8: (4, 64)},
            ((1024, 1024), (1024, 8192), (8192, 1024)),
        ),
    )


@pytest.fixture(scope="session")
def synthetic_points(truth):
    """Draws points of the known curve, all within its KV memory."""

    def draw(n, noise=0.0, seed=0):
        rng = np.random.default_rng(seed)
        grid = [
            (isl, osl, concurrency, tp)
            for isl in (1024, 4096, 8192)
            for osl in (512, 1024)
            for concurrency in (4, 8, 16, 32, 64)
            for tp in (1, 2, 4, 8)
            if concurrency <= truth.max_concurrency(isl, osl, tp)
        ]
        chosen = [grid[i] for i in rng.choice(len(grid), size=n, replace=False)]
        columns = ["input_tokens", "output_tokens", "concurrency", "tensor_parallel"]
        points = pd.DataFrame(chosen, columns=columns)
        tpot = truth.tpot_s(**{name: points[name].to_numpy() for name in columns})
        return points.assign(
            model=truth.shape.model,
            gpu=truth.gpu.gpu,
            precision=truth.precision,
            engine_version=truth.engine_version,
            attention_dp=1,
            moe_ep=1,
            ttft_ms=200.0,
            tpot_ms=1e3 * tpot * np.exp(noise * rng.standard_normal(n)),
            point_id=[f"p{i}" for i in range(n)],
        )

    return draw
