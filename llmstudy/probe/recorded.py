"""The measured points of a GPU, and their record on disk with its provenance.

A recorded run is a folder of `data/probes/`: `points.csv`, serving points in the columns of
`data/vllm_serving_points.csv` and more; `bench.csv`, `vllm bench serve` beside this probe, where it
was run; `provenance.json`, hardware, driver, versions, flags and date of each setting.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from llmstudy import __version__, io, paths


@dataclass
class Sweep:
    """The measured points of one setting of an engine, filled as they are measured.

    points: serving points, as `search.serving_point`, with the readings of card and server, and
    shares of the roofline where the card has a data sheet. invalid: points that the audit refused
    or that gave no serving point, and failures of `vllm bench`, with their reasons.
    metrics: of each point in steady state, as `metrics.metrics`, in the same order. bench: `vllm
    bench serve` beside our probe. serving: the server's facts, empty if it never was ready. failed:
    why it ended before its last point, None if it did not.
    """

    label: str
    points: pd.DataFrame = field(default_factory=pd.DataFrame)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    invalid: pd.DataFrame = field(default_factory=pd.DataFrame)
    bench: pd.DataFrame = field(default_factory=pd.DataFrame)
    serving: dict[str, Any] = field(default_factory=dict)
    failed: str | None = None

    def add(self, table: str, row: Mapping[str, Any] | pd.DataFrame) -> None:
        """Appends a row to points, invalid or bench."""
        rows = row if isinstance(row, pd.DataFrame) else pd.DataFrame([row])
        setattr(self, table, _together([getattr(self, table), rows]))


def write(folder: Path, sweeps: Sequence[Sweep], began: datetime) -> Path | None:
    """Records sweeps in a folder below `folder`, named by card and time.

    Each file is written in one step, and again by each call with the same `began`: called after
    every point, so that a killed sweep loses none.

    Returns: that folder; None, and nothing is written, while no setting has a valid point.
    """
    points = _together([sweep.points for sweep in sweeps])
    if points.empty:
        return None
    run_folder = folder / f"{points['gpu'].iloc[0]}-vllm-{began:%Y%m%dT%H%M%SZ}"
    io.write(run_folder / "points.csv", points.to_csv(index=False, float_format="%.6g"))
    bench = _together([sweep.bench.assign(label=sweep.label) for sweep in sweeps])
    if len(bench):
        io.write(run_folder / "bench.csv", bench.to_csv(index=False, float_format="%.6g"))
    provenance = {
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
    io.write(run_folder / "provenance.json", io.dumps(provenance))
    return run_folder


def _together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables below each other, those without rows left out: their columns have no type."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def read(folder: Path) -> dict[str, Any]:
    """A recorded run: name, recorded_at, settings, points (table), bench (table or None).

    Raises: ValueError if its files cannot be read.
    """
    try:
        provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        points = pd.read_csv(folder / "points.csv")
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} is no recorded probe run: {error}") from error
    bench = folder / "bench.csv"
    return {
        "name": folder.name,
        **provenance,
        "points": points,
        "bench": pd.read_csv(bench) if bench.exists() else None,
    }


def recorded_runs(folder: Path | None = None) -> list[dict[str, Any]]:
    """Every recorded run of a folder, as `read`; of `data/probes` unless given."""
    files = sorted((folder or paths.data("probes")).glob("*/provenance.json"))
    return [read(file.parent) for file in files]
