"""Chapter 05: what our own probe measured on a GPU, recorded earlier or in this very run."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from llmstudy import paths
from llmstudy.evidence.case import Case, Tables, contenders
from llmstudy.evidence.output_tokens import as_answered_by
from llmstudy.probe.recorded import recorded_runs
from llmstudy.probe.report import rows_of
from llmstudy.probe.vllm import gpu_facts, read_config
from llmstudy.study import SelfHostedRoute

if TYPE_CHECKING:
    from llmstudy.probe.result import Probe

_QUANTIZATION = {"bf16": "none", "fp8": "fp8"}
_SETTING = ["model", "precision", "tensor_parallel", "prefix_caching", "weights"]


def gpu_settings(case: Case) -> pd.DataFrame:
    """The servers that would show how fast the study's self-hosted routes are, for `probe_vllm`.

    Returns: one row per self-hosted route: label (the route), model (its folder in
    `data/model_configs`), quantization, tensor_parallel, lengths (tokens in and out, a pair for
    each workload that may run there), and reason: why it cannot be measured on this machine, None
    where it can. A machine without a GPU is one row with its reason and no label.
    """
    columns = ["label", "model", "quantization", "tensor_parallel", "lengths", "reason"]
    facts = gpu_facts()
    rows: list[dict[str, Any]] = [{"reason": f"No GPU is measured here ({facts['gpu_note']})."}]
    if facts["gpu"] is not None:
        rows = [
            _server(case, name, route, facts)
            for name, route in case.study.routes.items()
            if isinstance(route, SelfHostedRoute)
        ]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def _server(
    case: Case, name: str, route: SelfHostedRoute, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """A route as a row of `gpu_settings`."""
    study = case.study
    served = [workload for workload, routes in contenders(study).items() if name in routes]
    lengths = []
    for workload in served:
        intake = as_answered_by(study, study.workloads[workload], route).intake
        tokens = round(intake.input_tokens.value), max(round(intake.output_tokens.value), 2)
        lengths.append(tokens)
    model, size = _bundled(route.model), route.tensor_parallel
    reasons = {
        "it may serve no workload": not served,
        f"data/model_configs has no {route.model}": model is None,
        f"it runs on {route.gpu}, and this machine has {facts['gpu']}": route.gpu != facts["gpu"],
        f"it takes {size} GPUs, and this machine has {facts['gpus']}": size > (facts["gpus"] or 0),
        f"no sweep serves {route.precision} yet": route.precision not in _QUANTIZATION,
    }
    reason = next((reason for reason, applies in reasons.items() if applies), None)
    return {
        "label": name,
        "model": None if model is None else model.name,
        "quantization": _QUANTIZATION.get(route.precision),
        "tensor_parallel": size,
        "lengths": sorted(set(lengths)),
        "reason": reason and f"{name} is not measured here: {reason}.",
    }


def _bundled(name: str) -> Path | None:
    """The folder of `data/model_configs` that holds a model of this name, if one does."""
    folders = [file.parent for file in sorted(paths.data("model_configs").glob("*/config.json"))]
    return next((f for f in folders if read_config(f).get("_name_or_path") == name), None)


def own_tables(settings: pd.DataFrame, measured: "Probe | None", folder: Path) -> Tables:
    """The runs of our own probe on GPUs: those recorded in `folder` by this run, if there are any,
    else those in `data/probes`.

    settings: as `gpu_settings`, without rows where nothing was to be measured. measured: what
    `probe_vllm` gave for those that can be, None where it was not called.

    Returns: `own_source` ("recorded" or "this run"), `own_runs` (a row per run and setting),
    `own_points`, `own_skipped` (route and reason; a route of None is this machine).
    """
    made = [] if measured is None else recorded_runs(folder)
    runs = made or recorded_runs()
    skipped = [
        {"route": row["label"], "reason": row["reason"]}
        for row in rows_of(settings)
        if row["reason"] is not None
    ]
    if measured is not None and len(measured.points):
        refused = rows_of(measured.points[~measured.points["valid"].astype(bool)])
        skipped += [{"route": row["label"], "reason": _refusal(row)} for row in refused]
    return {
        "own_source": "this run" if made else "recorded",
        "own_runs": [row for run in runs for row in _settings(run)],
        "own_points": [row for run in runs for row in rows_of(run["points"])],
        "own_skipped": skipped,
    }


def _refusal(row: Mapping[str, Any]) -> str:
    """Why a point, or the rest of a route's points, was not measured."""
    findings = row["findings"].rstrip(".")
    if row.get("concurrency") is None:
        return f"{row['label']} was not measured to its end: {findings}."
    return f"{row['label']} at concurrency {row['concurrency']:.0f} is invalid: {findings}."


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
