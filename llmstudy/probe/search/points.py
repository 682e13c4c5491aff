"""Turns a closed-loop run in steady state into a row for the capacity fit."""

from typing import Any

import numpy as np
import pandas as pd

from llmstudy.probe.run import Run, with_metrics


def steady_state(run: Run) -> pd.DataFrame:
    """The measured requests of a closed loop that ran from start to end beside C - 1 others.

    Those dispatched after all C workers were first busy, and done before the first of them goes
    idle: when a request ends after the last dispatch. Earlier ones have free capacity and start in
    one burst, later ones run beside ever fewer. Where lengths differ, the long ones straddle the
    ends more often: keep lengths fixed, or the run many requests long.

    Raises: ValueError if the run is no closed loop, or too short for any such request.
    """
    load = run.facts["load"]
    workers = load["concurrency"]
    if load["process"] != "closed" or not workers:
        raise ValueError(
            f"a run with process {load['process']!r} and concurrency {workers!r}: only a closed "
            "loop holds its concurrency, so measure serving points with one"
        )
    measured = run.measured
    times = np.concatenate([measured["done_s"], measured["dispatched_s"]])
    order = times.argsort(kind="stable")  # at one moment, a request ends before the next begins
    running = np.repeat([-1, 1], len(measured))[order].cumsum()
    all_busy_s = times[order][running >= workers][:1]
    if len(all_busy_s):
        first_idle_s = measured.loc[
            measured["done_s"] > measured["dispatched_s"].max(), "done_s"
        ].min()
        inside = (measured["dispatched_s"] > all_busy_s[0]) & (measured["done_s"] <= first_idle_s)
        steady: pd.DataFrame = measured[inside & measured["ok"]]
        if len(steady):
            return steady.reset_index(drop=True)
    raise ValueError(
        f"{len(run.measured)} measured requests with {workers} workers: none ran in steady state; "
        "send at least three times the concurrency, or start the workers closer together"
    )


def serving_point(run: Run) -> dict[str, Any]:
    """A closed-loop run as one row of `capacity.serving_points`.

    ttft_ms and tpot_ms are means over `steady_state`, because Little's law, by which throughput
    follows from them, holds for means. Bundled points seem to be means too: their publisher takes
    its other TTFT and TPOT from the `mean_ttft` and `mean_tpot` of the same benchmark, over 10
    requests per worker, ramp-up and drain included. Tokens are means of the server's counts, or of
    the requested numbers where it counts none.

    Columns: those of `capacity.serving_points`, and ttft_median_ms, tpot_median_ms, n (requests in
    steady state), kv_dtype, prefix_caching, lora, enforce_eager (None: not recorded), variant (the
    setting's label, which is part of point_id), arrival_process, warmup_requests, weights.
    Raises: ValueError if a fact or a time is missing, or as `steady_state`.
    """
    endpoint, load, serving = (
        run.facts.get(part) or {} for part in ("endpoint", "load", "serving")
    )
    facts = {
        "model": serving.get("model") or endpoint.get("model"),
        "gpu": serving.get("gpu"),
        "engine": serving.get("engine") or endpoint.get("engine"),
        "engine_version": serving.get("engine_version") or endpoint.get("engine_version"),
        "precision": serving.get("precision"),
        "tensor_parallel": serving.get("tensor_parallel"),
        "kv_dtype": serving.get("kv_dtype"),
        "prefix_caching": serving.get("prefix_caching"),
        "weights": serving.get("weights"),
    }
    if missing := [name for name, value in facts.items() if value is None]:
        raise ValueError(
            f"the run lacks {', '.join(missing)}, which a serving point needs: write them in "
            "`serving` or `endpoint` of run.json"
        )
    steady = with_metrics(steady_state(run))
    if steady["ttft_s"].isna().all() or steady["tpot_s"].isna().all():
        raise ValueError(
            "no request has a TTFT and a TPOT: measure with streaming that nothing buffers, token "
            "counts and at least two output tokens"
        )
    tokens = {
        name: round(float(steady[name].fillna(steady[f"asked_{name}"]).mean()))
        for name in ("input_tokens", "output_tokens")
    }
    measured = str(run.facts["started_at"])[:10]
    level, size = int(load["concurrency"]), int(serving["tensor_parallel"])
    tool = run.facts["tool"]
    variant = serving.get("variant")
    what = f"{facts['model']}_{facts['gpu']}_{facts['precision']}_tp{size}"
    what += f"_{variant}" if variant else ""
    what = what.replace("/", "_").replace(" ", "-")
    lengths = f"{tokens['input_tokens']}x{tokens['output_tokens']}"
    return {
        "model": facts["model"],
        "gpu": facts["gpu"],
        "engine": facts["engine"],
        "engine_version": facts["engine_version"],
        "precision": facts["precision"],
        "gemm_quant": serving.get("gemm_quant", facts["precision"]),
        **tokens,
        "concurrency": level,
        "tensor_parallel": size,
        "attention_dp": serving.get("attention_dp", 1),
        "moe_ep": serving.get("moe_ep", 1),
        "ttft_ms": 1e3 * steady["ttft_s"].mean(),
        "tpot_ms": 1e3 * steady["tpot_s"].mean(),
        "ttft_median_ms": 1e3 * steady["ttft_s"].median(),
        "tpot_median_ms": 1e3 * steady["tpot_s"].median(),
        "n": len(steady),
        "kv_dtype": facts["kv_dtype"],
        "prefix_caching": facts["prefix_caching"],
        "lora": serving.get("lora", False),
        "enforce_eager": serving.get("enforce_eager"),
        "variant": variant,
        "arrival_process": load["process"],
        "warmup_requests": load["warmup_n"],
        "weights": facts["weights"],
        "measured": measured,
        "point_id": f"{what}_{lengths}_c{level}_{measured}",
        "source": f"{tool['name']} {tool['version']}",
        "licence": "own measurement",
    }
