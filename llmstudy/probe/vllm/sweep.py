"""Measures a model on this machine at the few points that a capacity plan needs.

One server per setting; on it a closed loop at each point, of which `search.serving_point` takes
the steady state; and `vllm bench serve` against the same server, to compare. GPU time is expensive:
each point is passed on as soon as it is measured, and a failure is a row, so that no earlier point
is lost.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from llmstudy.measures.capacity import Gpu, gpu, gpu_fit
from llmstudy.probe import run
from llmstudy.probe.audit import audit
from llmstudy.probe.design import facts_of, plan_of
from llmstudy.probe.endpoint import Endpoint
from llmstudy.probe.importers import read_results
from llmstudy.probe.load import run_load
from llmstudy.probe.metrics import metrics
from llmstudy.probe.options import Limits, Load
from llmstudy.probe.recorded import Sweep
from llmstudy.probe.report import rows_of
from llmstudy.probe.run import Run
from llmstudy.probe.search import (
    guessed_curve,
    serving_point,
    steady_state,
    sweep_candidates,
    sweep_levels,
)
from llmstudy.probe.server_metrics import against_server, counters
from llmstudy.probe.vllm.hardware import gpu_facts, gpu_use
from llmstudy.probe.vllm.limits import roofline_share
from llmstudy.probe.vllm.model import OFFLINE, read_config, shape_of
from llmstudy.probe.vllm.server import Server, ServerFailed, command, serve
from llmstudy.probe.vllm.variants import Variant

_POINT = ["concurrency", "input_tokens", "output_tokens"]
_BENCH, _BENCH_LOG = "vllm_bench.json", "vllm_bench.log"


def levels(
    variant: Variant,
    lengths: Sequence[tuple[int, int]],
    max_concurrency: int,
    n_points: int,
    max_point_s: float,
) -> pd.DataFrame:
    """Chooses the points to measure, as `search.sweep_levels`.

    Raises: CannotServe if the weights do not fit; ValueError if this machine's card is unknown, and
    points must be named instead.
    """
    card = _card()
    if card is None:
        raise ValueError(
            f"this machine has no GPU with a data sheet ({gpu_facts()['gpu_note']}): name the "
            "points with --concurrency"
        )
    shape = shape_of(read_config(variant.model), variant.label)
    precision = "fp8" if variant.quantization == "fp8" else "bf16"
    gpu_fit(shape, card, precision, variant.tensor_parallel)
    curve = guessed_curve(shape, card, precision, "")
    candidates = sweep_candidates(curve, lengths, max_concurrency, variant.tensor_parallel)
    return sweep_levels(curve, candidates, n_points, max_point_s)


def named_levels(concurrency: Sequence[int], lengths: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """Points at each concurrency and length pair, with requests enough for steady state."""
    rows = [(c, i, o, max(4 * c, 16)) for i, o in lengths for c in concurrency]
    return pd.DataFrame(rows, columns=[*_POINT, "n_requests"])


def sweep(
    variant: Variant,
    points: pd.DataFrame,
    folder: Path,
    *,
    seed: int,
    bench_at: int | None = None,
    python: Path | None = None,
    flags: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
    on_point: Callable[[Sweep], None] = lambda made: None,
) -> Sweep:
    """Starts a server with the variant's settings, measures each point on it, and stops it.

    points: concurrency, input_tokens, output_tokens, n_requests, one row each. folder: of the runs,
    the server's log and the result of `vllm bench`. seed: of the prompts. bench_at: row of the
    one point that `vllm bench serve` repeats on the same server. python, flags: as `serve`. say:
    receives the progress in lines. on_point: receives the sweep after each point, with `failed` set
    until the last is done.
    A server that fails, or cannot be started, raises nothing: the reason is in `failed`.
    """
    made = Sweep(variant.label, failed="stopped before its last point")
    longest = int((points["input_tokens"] + points["output_tokens"]).max())
    widest = int(points["concurrency"].max())
    try:
        with tempfile.TemporaryDirectory() as scratch:
            model = with_tokenizer(variant.model, Path(scratch) / variant.model.name)
            name = read_config(model).get("_name_or_path") or model.name
            size = ["--max-model-len", str(longest + 8), "--max-num-seqs", str(max(widest, 8))]
            with serve(
                model,
                [*variant.flags, *size, "--served-model-name", name, *flags],
                log=folder / "vllm.log",
                python=python,
                say=say,
            ) as server:
                made.serving = _serving(server, variant)
                _warm(server, variant, points)
                for number, point in enumerate(rows_of(points)):
                    say(
                        f"{variant.label}: concurrency {point['concurrency']}, "
                        f"{point['input_tokens']} in, {point['output_tokens']} out, "
                        f"{point['n_requests']} requests"
                    )
                    place = folder / f"point-{number:02d}"
                    point_run = _measure(server, variant, point, place, seed + number)
                    _add_point(made, point, point_run)
                    on_point(made)
                    if number == bench_at:
                        say(f"{variant.label}: vllm bench serve at the same point")
                        _add_bench(made, server, model, point, place, point_run, python)
                        on_point(made)
        made.failed = None
    except ValueError as error:
        say(f"{variant.label} failed: {error}")
        # what follows the first line is in the server's log
        made.failed = str(error).partition("\n")[0]
    on_point(made)
    return made


def _add_point(made: Sweep, point: Mapping[str, Any], point_run: Run) -> None:
    """Adds a point to a sweep, or the reasons why its run gave none."""
    judgement = audit(point_run)
    if not judgement.valid:
        _refuse(made, point, "; ".join(judgement.reasons))
        return
    try:
        row = pd.DataFrame([serving_point(point_run) | _server_side(point_run)])
        if (card := _card()) is not None:
            row = _against_limit(row, made.serving, card)
        # failures are in no steady state, but must be reported
        failed_share = float((~point_run.measured["ok"]).mean())
        latencies = metrics(steady_state(point_run)) | {"failed_share": failed_share}
    except ValueError as error:
        _refuse(made, point, str(error))
        return
    made.add("points", row)
    made.metrics.append(latencies)


def _refuse(made: Sweep, point: Mapping[str, Any], reasons: str) -> None:
    made.add("invalid", {name: point[name] for name in _POINT} | {"reasons": reasons})


def _add_bench(
    made: Sweep,
    server: Server,
    model: Path,
    point: Mapping[str, Any],
    folder: Path,
    ours: Run,
    python: Path | None,
) -> None:
    """Adds `vllm bench serve` at a point to a sweep, or the reason why it failed."""
    try:
        figures = _bench(server, model, point, folder, ours, python)
    except ValueError as error:
        _refuse(made, point, str(error))
    else:
        made.add("bench", {name: point[name] for name in _POINT} | figures)


def with_tokenizer(model: Path, folder: Path) -> Path:
    """A model's folder with a tokenizer that has a word for each token id, and nothing to learn.

    `vllm bench` needs text, and a bare configuration has no tokenizer. Words that are ids go
    through encoding and decoding unchanged, so that lengths are what was asked for.
    """
    config = read_config(model)
    folder.mkdir(parents=True)
    for file in model.iterdir():
        (folder / file.name).symlink_to(file.resolve())
    if (folder / "tokenizer.json").exists():
        return folder
    vocabulary = {f"t{number}": number for number in range(config["vocab_size"])}
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "t0"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "t0"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def _run(
    server: Server,
    variant: Variant,
    point: Mapping[str, Any],
    seed: int,
    folder: Path | None = None,
) -> Run:
    """A closed loop at a point: token ids in, answers of the set length out."""
    model = variant.request_model or server.model
    body = {"ignore_eos": True, "temperature": 0}
    endpoint = Endpoint(server.base_url, model, "completions", body=body)
    limits = Limits(max_retries=0, max_errors=None)
    load = Load(
        requests=int(point["n_requests"]),
        seed=seed,
        concurrency=int(point["concurrency"]),
        input_tokens=int(point["input_tokens"]),
        output_tokens=int(point["output_tokens"]),
        token_ids=int(server.serving["model_config"]["vocab_size"]),
        warmup=0,
    )
    plan = plan_of(load)
    facts = {**facts_of(load, plan, limits), "serving": _serving(server, variant)}
    return run_load(endpoint, plan, facts, limits, load.concurrency, folder=folder)


def _serving(server: Server, variant: Variant) -> dict[str, Any]:
    """The server's facts and the setting's; a card without data sheet goes by its own name."""
    facts = server.serving
    return {
        **facts,
        "gpu": facts["gpu"] or facts["gpu_product"] or facts["device"],
        "variant": variant.label,
        "lora": variant.request_model is not None,
    }


def _warm(server: Server, variant: Variant, points: pd.DataFrame) -> None:
    """Sends the widest load once, shortly: kernels are chosen and compiled meanwhile."""
    level, shortest = int(points["concurrency"].max()), int(points["input_tokens"].min())
    lengths = {"input_tokens": shortest, "output_tokens": 8}
    _run(server, variant, {"concurrency": level, "n_requests": level, **lengths}, 0)


def _measure(
    server: Server, variant: Variant, point: Mapping[str, Any], folder: Path, seed: int
) -> Run:
    """The run of a point, with the readings of server and card."""
    with gpu_use() as use, counters(server.base_url) as growth:
        point_run = _run(server, variant, point, seed, folder)
    facts = {**point_run.facts, "server_counters": growth, "gpu_use": use.summary()}
    run.restate(folder, facts)
    return Run(point_run.samples, facts)


def _server_side(point_run: Run) -> dict[str, Any]:
    """A point's card readings, and the difference between the server's means and the client's."""
    use, growth = point_run.facts["gpu_use"], point_run.facts["server_counters"]
    both = against_server(point_run.samples, growth).set_index("metric")
    return {
        "gpu_utilisation_share": use["utilisation_mean_share"],
        "gpu_memory_gib": use["memory_peak_gib"],
        "gpu_power_w": use["power_mean_w"],
        "preemptions": growth.get("vllm:num_preemptions_total"),
        "client_cpu_share": point_run.facts["client"]["cpu_share"],
        "client_minus_server_ttft_ms": 1e3 * both["client_minus_server_s"]["ttft_s"],
        "client_over_server_itl": both["client_mean_s"]["itl_s"] / both["server_mean_s"]["itl_s"],
    }


def _bench(
    server: Server,
    model: Path,
    point: Mapping[str, Any],
    folder: Path,
    ours: Run,
    python: Path | None,
) -> dict[str, Any]:
    """Medians of `vllm bench serve` at the same point, and of this probe as a ratio to them."""
    options = {
        "--backend": "openai",
        "--base-url": server.base_url.removesuffix("/v1"),
        "--endpoint": "/v1/completions",
        "--model": model,
        "--served-model-name": server.model,
        "--dataset-name": "random",
        "--random-input-len": int(point["input_tokens"]),
        "--random-output-len": int(point["output_tokens"]),
        "--num-prompts": int(point["n_requests"]),
        "--max-concurrency": int(point["concurrency"]),
        "--temperature": 0,
        "--seed": 1,
        "--result-dir": folder,
        "--result-filename": _BENCH,
    }
    words = [str(part) for pair in options.items() for part in pair]
    switches = ["--ignore-eos", "--save-result", "--save-detailed", "--disable-tqdm"]
    log = folder / _BENCH_LOG
    with log.open("wb") as output:
        ended = subprocess.run(
            [*command(python), "bench", "serve", *words, *switches],
            env={**OFFLINE, **os.environ},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if ended.returncode:
        raise ServerFailed(
            f"vllm bench serve failed (exit code {ended.returncode}): see {_BENCH_LOG}"
        )
    theirs = metrics(read_results(folder / _BENCH))
    mine = metrics(ours)
    figures: dict[str, Any] = {"n": theirs["n"]}
    for metric in ("ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"):
        bench_median_ms, median_ms = theirs[metric]["p50"], mine[metric]["p50"]
        figures[f"{metric}_p50_bench"], figures[f"{metric}_p50"] = bench_median_ms, median_ms
        figures[f"{metric}_ratio"] = (
            median_ms / bench_median_ms if median_ms and bench_median_ms else None
        )
    return figures


def _against_limit(points: pd.DataFrame, serving: Mapping[str, Any], card: Gpu) -> pd.DataFrame:
    """Points with their shares of the roofline; as they are where it cannot be computed."""
    try:
        shape = shape_of(serving["model_config"], str(points["model"].iloc[0]))
        precision, kv_dtype = str(serving["precision"]), str(serving["kv_dtype"])
        return roofline_share(points, shape, card, precision, kv_dtype)
    except ValueError:
        return points


def _card() -> Gpu | None:
    name = gpu_facts()["gpu"]
    return None if name is None else gpu(name)
