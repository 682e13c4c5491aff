"""Writes and reads the probe runs that the project bundles, with their provenance.

A recorded run is a folder of `data/probes/`: `points.csv`, serving points in the columns of
`data/vllm_serving_points.csv` and more; `bench.csv`, `vllm bench serve` beside this probe, where it
was run; `provenance.json`, hardware, driver, versions, flags and date of each setting.
"""

import json
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from llmstudy import __version__, io, paths
from llmstudy.probe.vllm.sweep import Sweep


def write(folder: Path, sweeps: Sequence[Sweep], began: datetime) -> Path:
    """Records sweeps in a new folder below `folder`, named by card and time.

    Each file is written in one step, and again by each call with the same `began`: call it after
    every point, and a killed sweep loses none.

    Returns: that folder. Raises: ValueError if no point of any setting was valid.
    """
    points = _together([sweep.points for sweep in sweeps])
    if points.empty:
        raise ValueError("no point was valid: there is nothing to record")
    run_folder = folder / f"{points['gpu'].iloc[0]}-vllm-{began:%Y%m%dT%H%M%SZ}"
    run_folder.mkdir(parents=True, exist_ok=True)
    _write_whole(run_folder / "points.csv", points.to_csv(index=False, float_format="%.6g"))
    bench = _together([sweep.bench.assign(label=sweep.label) for sweep in sweeps])
    if len(bench):
        _write_whole(run_folder / "bench.csv", bench.to_csv(index=False, float_format="%.6g"))
    origin = {
        "tool": {"name": "llmstudy", "version": __version__},
        "recorded_at": began.isoformat(timespec="seconds"),
        "settings": [
            {
                "label": sweep.label,
                "serving": sweep.serving,
                "invalid": sweep.invalid.to_dict("records"),
                "failed": sweep.failed,
            }
            for sweep in sweeps
        ],
    }
    _write_whole(run_folder / "provenance.json", io.dumps(origin))
    return run_folder


def _together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables below each other, those without rows left out: their columns have no type."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def _write_whole(file: Path, text: str) -> None:
    draft = file.with_name(f".{file.name}.partial")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, file)


def recorded_runs(folder: Path | None = None) -> list[dict[str, Any]]:
    """Every recorded run: name, recorded_at, settings, points (table), bench (table or None).

    folder: `data/probes` unless given. Raises: ValueError if a run's files cannot be read.
    """
    runs = []
    for origin in sorted((folder or paths.data("probes")).glob("*/provenance.json")):
        run = origin.parent
        try:
            provenance = json.loads(origin.read_text(encoding="utf-8"))
            points = pd.read_csv(run / "points.csv")
        except (OSError, ValueError) as error:
            raise ValueError(f"{run} is no recorded probe run: {error}") from error
        bench = run / "bench.csv"
        runs.append(
            {
                "name": run.name,
                **provenance,
                "points": points,
                "bench": pd.read_csv(bench) if bench.exists() else None,
            }
        )
    return runs
