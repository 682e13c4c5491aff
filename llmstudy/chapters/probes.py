"""Chapter 05: what our own probe measured on a GPU, recorded earlier or in this very run."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from llmstudy import paths
from llmstudy.evidence.case import Case, Tables, contenders
from llmstudy.evidence.output_tokens import as_answered_by
from llmstudy.probe.report import rows_of
from llmstudy.study import SelfHostedRoute

if TYPE_CHECKING:
    from llmstudy.probe.vllm import Variant
    from llmstudy.probe.vllm.sweep import Sweep


POINTS, LONGEST_POINT_S, WIDEST = 5, 60.0, 256
"""A short sweep: points per route, seconds for one, and its highest concurrency."""

_QUANTIZATION = {"bf16": "none", "fp8": "fp8"}
_SETTING = ["model", "precision", "tensor_parallel", "prefix_caching", "weights"]


def own_tables(case: Case, probe: bool, folder: Path) -> Tables:
    """The runs of our own probe on GPUs: those in `data/probes`, or one made now.

    probe: whether to measure the study's self-hosted routes on this machine first, where it has a
    GPU; what is measured is recorded in `folder/probes`, each point as soon as it is done. A
    route that cannot be measured here, or whose server fails, is no error but a row of
    `own_skipped`; without a GPU that is every route, and the recorded runs are read.

    Returns: `own_source` ("recorded" or "this run"), `own_runs` (a row per run and setting),
    `own_points`, `own_skipped` (route and reason; a route of None is this machine).
    """
    from llmstudy.probe.vllm.recorded import recorded_runs  # with all of the probe: takes its time

    skipped = _measure(case, folder / "probes") if probe else []
    made = recorded_runs(folder / "probes") if probe else []
    runs = made or recorded_runs()
    return {
        "own_source": "this run" if made else "recorded",
        "own_runs": [row for run in runs for row in _settings(run)],
        "own_points": [row for run in runs for row in rows_of(run["points"])],
        "own_skipped": skipped,
    }


def _settings(run: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row per setting of a recorded run."""
    labels = {s["label"]: tuple(s["serving"].get(key) for key in _SETTING) for s in run["settings"]}
    for key, points in run["points"].groupby(_SETTING, sort=False):
        bench = pd.DataFrame() if run["bench"] is None else run["bench"]
        beside = bench[bench["label"].map(labels.get) == key] if len(bench) else bench
        row = dict(zip(_SETTING, key, strict=True))
        yield {
            "run": run["name"],
            "recorded": run["recorded_at"][:10],
            "model": row["model"],
            "precision": row["precision"],
            "gpu": points["gpu"].iloc[0],
            "gpus": row["tensor_parallel"],
            "engine_version": points["engine_version"].iloc[0],
            "prefix_caching": row["prefix_caching"],
            "weights": row["weights"],
            "points": len(points),
            "best_roofline_share": _of(points, "throughput_share", "max"),
            "ttft_to_bench": _of(beside, "ttft_ms_ratio", "median"),
            "tpot_to_bench": _of(beside, "tpot_ms_ratio", "median"),
        }


def _of(table: pd.DataFrame, column: str, statistic: str) -> float | None:
    """A statistic of a column; None where the table has no such column or no value in it."""
    values = table[column].dropna() if column in table else pd.Series(dtype=float)
    return None if values.empty else float(values.agg(statistic))


# --- measuring now --------------------------------------------------------------------------


def _measure(case: Case, folder: Path) -> list[dict[str, Any]]:
    """Measures what this machine can of the study's self-hosted routes; the rest, with reasons."""
    from llmstudy.probe.vllm import gpu_facts
    from llmstudy.probe.vllm.recorded import write
    from llmstudy.probe.vllm.sweep import sweep

    facts = gpu_facts()
    if facts["gpu"] is None:
        return [{"route": None, "reason": f"No GPU is measured here ({facts['gpu_note']})."}]
    began = datetime.now(UTC)
    done: list[Sweep] = []
    skipped: list[dict[str, Any]] = []

    def keep(so_far: "Sweep") -> None:
        """Records after each point, so that a failure later on loses none."""
        sweeps = [*done, so_far]
        if any(len(each.points) for each in sweeps):
            write(folder, sweeps, began)

    for route, spec in case.study.routes.items():
        if not isinstance(spec, SelfHostedRoute):
            continue
        try:
            variant, points = _plan(case, route, spec, facts)
        except _CannotMeasureError as error:
            skipped.append({"route": route, "reason": f"{route} is not measured here: {error}."})
            continue
        made = sweep(
            variant,
            points,
            folder / "runs" / quote(route, safe=""),
            seed=case.study.seed,
            keep=keep,
        )
        done.append(made)
        if made.failed:
            reason = f"{route} was not measured to its end: {made.failed.rstrip('.')}."
            skipped.append({"route": route, "reason": reason})
        skipped += [
            {
                "route": route,
                "reason": f"{route} at concurrency {row['concurrency']} is invalid: "
                f"{row['reasons']}.",
            }
            for row in made.invalid.to_dict("records")
        ]
    return skipped


class _CannotMeasureError(Exception):
    """Why a route is not measured on this machine."""


def _plan(
    case: Case, route: str, spec: SelfHostedRoute, facts: dict[str, Any]
) -> "tuple[Variant, pd.DataFrame]":
    """The server to start for a route, and the points to measure on it, at its workloads' lengths.

    Raises: _CannotMeasureError.
    """
    from llmstudy.probe.vllm import read_config, variants
    from llmstudy.probe.vllm.sweep import levels

    model = _bundled(spec.model)
    served = [name for name, routes in contenders(case.study).items() if route in routes]
    if not served:
        raise _CannotMeasureError("it may serve no workload")
    if model is None:
        raise _CannotMeasureError(f"data/model_configs has no {spec.model}")
    if spec.gpu != facts["gpu"]:
        raise _CannotMeasureError(f"it runs on {spec.gpu}, and this machine has {facts['gpu']}")
    if spec.tensor_parallel > facts["gpus"]:
        raise _CannotMeasureError(
            f"it takes {spec.tensor_parallel} GPUs, and this machine has {facts['gpus']}"
        )
    if spec.precision not in _QUANTIZATION:
        raise _CannotMeasureError(f"no sweep serves {spec.precision} yet")
    quantization = _QUANTIZATION[spec.precision]
    [variant] = variants([model], [quantization], [spec.tensor_parallel])  # type: ignore[list-item]
    workloads = [case.study.workloads[name] for name in served]
    intakes = [as_answered_by(case.study, workload, spec).intake for workload in workloads]
    lengths = sorted(
        {(round(i.input_tokens.value), max(round(i.output_tokens.value), 2)) for i in intakes}
    )
    try:
        points = levels(read_config(model), variant, lengths, WIDEST, POINTS, LONGEST_POINT_S)
    except ValueError as error:  # it does not fit, or too few points are short enough
        raise _CannotMeasureError(str(error).rstrip(".")) from None
    return variant, points


def _bundled(name: str) -> Path | None:
    """The folder of `data/model_configs` that holds a model of this name, if one does."""
    from llmstudy.probe.vllm import read_config

    folders = [file.parent for file in sorted(paths.data("model_configs").glob("*/config.json"))]
    return next((f for f in folders if read_config(f).get("_name_or_path") == name), None)
