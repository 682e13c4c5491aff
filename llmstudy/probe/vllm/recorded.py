"""Which runs of our own probe are kept with the project, and on what were they made?

A recorded run is a folder of `data/probes/`: `points.csv`, serving points in the columns of
`data/vllm_serving_points.csv` and more; `bench.csv`, `vllm bench serve` beside our probe, where it
was run; `provenance.json`, hardware, driver, versions, flags and date of each setting.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from llmstudy import canonical, paths
from llmstudy.probe.vllm.sweep import Sweep


def write(folder: Path, sweeps: Sequence[Sweep]) -> Path:
    """Records what was measured in a folder of its own below `folder`, named by card and time.

    Returns: that folder. Raises: ValueError if no point of any setting was valid.
    """
    points = pd.concat([sweep.points for sweep in sweeps], ignore_index=True)
    if points.empty:
        raise ValueError("no point was valid: there is nothing to record")
    moment = datetime.now(UTC)
    card = points["gpu"].iloc[0]
    made = folder / f"{card}-vllm-{moment:%Y%m%dT%H%MZ}"
    made.mkdir(parents=True)
    points.to_csv(made / "points.csv", index=False, float_format="%.6g")
    bench = [sweep.bench.assign(label=sweep.label) for sweep in sweeps if len(sweep.bench)]
    if bench:
        pd.concat(bench).to_csv(made / "bench.csv", index=False, float_format="%.6g")
    origin = {
        "tool": {"name": "llmstudy", "version": version("llmstudy")},
        "recorded_at": moment.isoformat(timespec="seconds"),
        "settings": [
            {
                "label": sweep.label,
                "serving": sweep.serving,
                "invalid": sweep.invalid.to_dict("records"),
            }
            for sweep in sweeps
        ],
    }
    (made / "provenance.json").write_text(canonical.dumps(origin), encoding="utf-8")
    return made


def recorded_runs(folder: Path | None = None) -> list[dict[str, Any]]:
    """Every recorded run: name, recorded_at, settings, points (table), bench (table or None).

    folder: `data/probes` unless given. Raises: ValueError if a run's files cannot be read.
    """
    found = []
    for origin in sorted((folder or paths.data("probes")).glob("*/provenance.json")):
        run = origin.parent
        try:
            told = json.loads(origin.read_text(encoding="utf-8"))
            points = pd.read_csv(run / "points.csv")
        except (OSError, ValueError) as error:
            raise ValueError(f"{run} is no recorded probe run: {error}") from error
        bench = run / "bench.csv"
        found.append(
            {
                "name": run.name,
                **told,
                "points": points,
                "bench": pd.read_csv(bench) if bench.exists() else None,
            }
        )
    return found
