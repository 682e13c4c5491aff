"""The result of a probe: its requests, its points, and the verdict of its audit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from llmstudy.probe import recorded
from llmstudy.probe.audit import CHECK_COLUMNS, Audit, audit
from llmstudy.probe.importers import read_results
from llmstudy.probe.metrics import metrics_table
from llmstudy.probe.run import COLUMNS, FACTS, Run, read

POINT = ["rate_per_s", "concurrency", "input_tokens", "output_tokens", "n", "failed_share"]
_JUDGED = ["valid", "findings"]
_PERCENTILES = [
    f"{metric}_{percentile}{end}_ms"
    for metric in ("ttft", "tpot", "itl", "e2e")
    for percentile in ("p50", "p95", "p99")
    for end in ("", "_low", "_high")
]


@dataclass(frozen=True)
class Probe:
    """The result of a probe.

    samples: one row per request, in the columns of `run.Sample`, and `point`, its row in `points`;
    without rows where none are recorded. points: one row per load: rate_per_s or concurrency,
    input_tokens and output_tokens (means), n (requests measured), failed_share; p50, p95 and p99 of
    TTFT, TPOT, ITL and E2E in ms with their 95 % intervals (`ttft_p95_ms`, `ttft_p95_low_ms`,
    `ttft_p95_high_ms`; NaN where the sample does not support one); `valid` and `findings`, the
    audit's verdict and its reasons. audit: of all points together. folder: where the runs are, None
    in memory. runs: one for each point. report: what the command prints with `--json`.
    """

    samples: pd.DataFrame
    points: pd.DataFrame
    audit: Audit
    folder: Path | None = None
    runs: tuple[Run, ...] = ()
    report: dict[str, Any] = field(default_factory=dict, repr=False)


def probe_of(
    runs: Sequence[Run],
    folder: Path | None = None,
    audits: Sequence[Audit] | None = None,
    report: Mapping[str, Any] | None = None,
) -> Probe:
    """The result of some runs, each a point. audits: of the runs, made where they are not given."""
    audits = [audit(run) for run in runs] if audits is None else audits
    samples = [run.samples.assign(point=number) for number, run in enumerate(runs)]
    judged = list(zip(runs, audits, strict=True))
    reasons = [
        reason if len(runs) == 1 else f"point {number}: {reason}"
        for number, judgement in enumerate(audits)
        for reason in judgement.reasons
    ]
    checks = [judgement.checks.assign(point=i) for i, judgement in enumerate(audits)]
    return Probe(
        pd.concat(samples, ignore_index=True) if samples else pd.DataFrame(columns=COLUMNS),
        pd.DataFrame([_point(*each) for each in judged], columns=[*POINT, *_PERCENTILES, *_JUDGED]),
        Audit(
            not reasons,
            tuple(reasons),
            pd.concat(checks, ignore_index=True) if checks else pd.DataFrame(),
        ),
        folder,
        tuple(runs),
        dict(report or {}),
    )


def _point(run: Run, judgement: Audit) -> dict[str, Any]:
    """A run as a row of `Probe.points`."""
    load, lengths = run.facts.get("load") or {}, run.facts.get("lengths") or {}
    measured = run.measured
    row = {name: {**load, **lengths}.get(name) for name in POINT}
    row |= {"n": len(measured), "failed_share": (~measured["ok"]).mean()}
    for each in metrics_table(run.samples).to_dict("records") if len(measured) else ():
        stem = f"{each['metric'].removesuffix('_ms')}_{each['percentile']}"
        ends = {"": "estimate", "_low": "low", "_high": "high"}
        row |= {f"{stem}{end}_ms": each[column] for end, column in ends.items()}
    return {**row, "valid": judgement.valid, "findings": "; ".join(judgement.reasons)}


def read_run(path: Path | str, tool: str | None = None, benchmark: str | None = None) -> Run:
    """Reads a run of ours or another tool's results. Raises: ValueError if it is neither."""
    path = Path(path)
    if (path / FACTS).exists():
        return read(path)
    return read_results(path, tool, benchmark)


def read_probe(
    path: Path | str, *, tool: str | None = None, benchmark: str | int | None = None
) -> Probe:
    """Reads an earlier probe, of this tool or of another.

    path: a folder that a probe wrote, with one run or several in it; a recorded GPU run, as those
    in `data/probes`; or the result file of a load tool. tool, benchmark: as `read_results`.
    Raises: ValueError if it is none of these.

    >>> from llmstudy import paths
    >>> recorded = read_probe(sorted(paths.data("probes").iterdir())[0])
    >>> recorded.points[["concurrency", "ttft_p50_ms", "tpot_p50_ms", "valid"]].round(1).head(2)
       concurrency  ttft_p50_ms  tpot_p50_ms  valid
    0            2         55.5          6.5   True
    1            4        108.7          6.7   True
    """
    path = Path(path)
    runs = sorted(file.parent for file in path.rglob(FACTS)) if path.is_dir() else []
    if runs:
        return probe_of([read(run) for run in runs], path)
    if (path / "points.csv").exists():
        return _recorded(path)
    return probe_of([read_results(path, tool, benchmark)], path)


def _recorded(folder: Path) -> Probe:
    """A recorded GPU run, which has points and no requests."""
    run = recorded.read(folder)
    medians = {f"{metric}_median_ms": f"{metric}_p50_ms" for metric in ("ttft", "tpot")}
    points = run["points"].rename(columns=medians).assign(valid=True, findings="")
    refused = [
        {**row, "variant": setting["label"], "valid": False, "findings": row["reasons"]}
        for setting in run["settings"]
        for row in setting["invalid"]
    ]
    if refused:
        points = pd.concat([points, pd.DataFrame(refused)], ignore_index=True)
    reasons = tuple(f"{row['variant']}: {row['findings']}" for row in refused)
    judgement = Audit(not reasons, reasons, pd.DataFrame(columns=CHECK_COLUMNS))
    return Probe(pd.DataFrame(columns=COLUMNS), points, judgement, folder)
