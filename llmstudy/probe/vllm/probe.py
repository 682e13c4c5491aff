"""Measures models on this machine: every setting, one after the other, as `llmstudy probe vllm`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import quote

import pandas as pd

from llmstudy.measures.capacity import CannotServe
from llmstudy.probe.audit import CHECK_COLUMNS, Audit
from llmstudy.probe.options import Settings, built, takes
from llmstudy.probe.recorded import Sweep, write
from llmstudy.probe.report import rows_of
from llmstudy.probe.result import Probe, read_probe
from llmstudy.probe.run import COLUMNS, FACTS
from llmstudy.probe.vllm.engine import engine_points
from llmstudy.probe.vllm.model import bundled_model, random_adapter
from llmstudy.probe.vllm.sweep import levels, named_levels, sweep
from llmstudy.probe.vllm.variants import Variant

BATCHES = (1, 8, 64)
"""Sizes of the batches that the engine in this process gets where none are named."""

_NOT_AUDITED = "whole batches in this process: no arrivals to audit, so throughput only"

Lengths = Sequence[tuple[int, int]]


@takes(Settings)
def probe_vllm(
    models: Path | str | Sequence[Path | str] | pd.DataFrame,
    *,
    out: Path | str | None = None,
    record: Path | str | None = None,
    say: Callable[[str], None] = print,
    **options: Any,
) -> Probe:
    """Starts vLLM with each setting and measures the few points that a capacity plan needs.

    A folder with nothing but `config.json` is served with random weights: a dense model is as fast
    with those as with its own, and every figure says so. Points are chosen for their information on
    the serving curve per second of GPU time. Each is a closed loop with its own audit; one whose
    audit fails gives no serving point. With `offline` each batch is sent to the engine in this
    process at once and awaited: there are no arrivals to audit.

    models: folders with config.json, weights or none; or names in data/model_configs, each with
    every combination of the settings; or a frame with a row for each server: label, model, and any
    of quantization, tensor_parallel, prefix_caching, lora and lengths in place of the option's.
    out: folder of its runs; None: a temporary one, which is kept. record: folder in which the
    points are also recorded, each as soon as it is measured. say: receives the progress in lines.

    Returns: `points`, a row per measured point, as `search.serving_point`, with the percentiles in
    steady state, `label` (the setting), `valid` and `findings`; a point that the audit refused, and
    a setting that failed, is a row that is not valid and says why; `samples`, the requests of each;
    `audit`; in `report`: `settings`, `left_out` (settings whose model does not fit).
    Raises: ValueError for options that contradict each other, or no such model.

    >>> probe = probe_vllm("llama-3.1-8b", quantization=["fp8"])  # doctest: +SKIP
    >>> probe.points[["concurrency", "ttft_ms", "tpot_ms", "throughput_share"]]  # doctest: +SKIP
    """
    (settings,) = built((Settings,), options)
    if settings.offline:
        values = {"--record": record, "--bench": settings.bench}
        values |= {"--python": settings.python, "--flag": settings.flags}
        if refused := [name for name, value in values.items() if value]:
            raise ValueError(
                f"{', '.join(refused)} with --offline: these are of a server, and there is none; "
                "leave them out, or --offline"
            )
    folder = Path(out or mkdtemp(prefix="llmstudy-vllm-"))
    variants = list(_variants(models, settings, folder))
    if settings.offline:
        return _offline(variants, settings, say)
    sweeps, left_out = _sweeps(variants, settings, folder, record, say)
    points = [row for made in sweeps for row in _points(made)]
    points += [
        {"label": each["label"], "valid": False, "findings": each["reason"]} for each in left_out
    ]
    reasons = tuple(
        f"{made.label}, concurrency {row['concurrency']}: {row['reasons']}"
        for made in sweeps
        for row in made.invalid.to_dict("records")
    )
    report = {
        "settings": [_setting(made) for made in sweeps],
        "left_out": left_out,
        "audit": {"valid": not reasons, "reasons": list(reasons)},
        "runs": str(folder),
    }
    measured = read_probe(folder) if any(folder.rglob(FACTS)) else None
    checks = measured.audit.checks if measured else pd.DataFrame(columns=CHECK_COLUMNS)
    return Probe(
        measured.samples if measured else pd.DataFrame(columns=COLUMNS),
        pd.DataFrame(points),
        Audit(not reasons, reasons, checks),
        folder,
        measured.runs if measured else (),
        report,
    )


def _variants(
    models: Path | str | Sequence[Path | str] | pd.DataFrame, settings: Settings, folder: Path
) -> Iterator[tuple[Variant, Lengths]]:
    """Every server to start, and the lengths to measure on it."""
    if isinstance(models, pd.DataFrame):
        rows = rows_of(models)
    else:
        names = [models] if isinstance(models, str | Path) else models
        rows = [{"model": name} for name in names]
    axes = ("quantization", "tensor_parallel", "prefix_caching", "lora")
    for row in rows:
        given: dict[str, Any] = {name: [row[name]] for name in axes if name in row}
        given |= {"lengths": row["lengths"]} if "lengths" in row else {}
        own = replace(settings, **given)
        model = Path(row["model"])
        if not model.exists():
            model = bundled_model(str(row["model"]))
        for quantization, size, caches, with_lora in product(*(getattr(own, a) for a in axes)):
            adapter = folder / f"adapter-{model.name}" if with_lora else None
            variant = Variant(model, quantization, size, caches, adapter, row.get("label"))
            if adapter is not None:
                random_adapter(model, adapter)
            yield variant, own.lengths


def _chosen(
    variant: Variant, lengths: Lengths, settings: Settings, say: Callable[[str], None]
) -> pd.DataFrame:
    """The points to measure on a server, with what they take. Raises: as `sweep.levels`."""
    if settings.concurrency:
        return named_levels(settings.concurrency, lengths)
    longest_s = settings.max_point_s
    table = levels(variant, lengths, settings.max_concurrency, settings.max_points, longest_s)
    chosen = set(zip(table["input_tokens"], table["output_tokens"], strict=True))
    missing = [f"{pair[0]}x{pair[1]}" for pair in lengths if tuple(pair) not in chosen]
    slow = f"; none of {', '.join(missing)}, which take longer than {longest_s:g} s"
    say(
        f"{variant.label}: {len(table)} points, about {table['seconds'].sum():.0f} s; the "
        f"server's start and warm-up, some 3 minutes, come on top{slow if missing else ''}"
    )
    return table


def _sweeps(
    variants: Sequence[tuple[Variant, Lengths]],
    settings: Settings,
    folder: Path,
    record: Path | str | None,
    say: Callable[[str], None],
) -> tuple[list[Sweep], list[dict[str, str]]]:
    """Measures each setting after the other and records each point at once; those left out."""
    began = datetime.now(UTC)
    sweeps: list[Sweep] = []
    left_out: list[dict[str, str]] = []
    recorded = None

    def keep(made: Sweep) -> None:
        nonlocal recorded
        if record is not None:
            recorded = write(Path(record), [*sweeps, made], began)

    plans: list[tuple[Variant, pd.DataFrame | ValueError]] = []
    for variant, lengths in variants:
        try:
            plans.append((variant, _chosen(variant, lengths, settings, say)))
        except CannotServe as error:
            say(f"{variant.label} is left out: {error}")
            left_out.append({"label": variant.label, "reason": str(error)})
        except ValueError as error:
            plans.append((variant, error))
    for variant, table in plans:
        if isinstance(table, ValueError):
            say(f"{variant.label} failed: {table}")
            made = Sweep(variant.label, failed=str(table))
            keep(made)
        else:
            middle = int(table["concurrency"].argsort(kind="stable").iloc[len(table) // 2])
            made = sweep(
                variant,
                table,
                folder / quote(variant.label.replace(" ", "-"), safe=""),
                seed=settings.seed,
                bench_at=middle if settings.bench else None,
                python=settings.python,
                flags=settings.flags,
                say=say,
                on_point=keep,
            )
        sweeps.append(made)
    if recorded is not None:
        say(f"Recorded in {recorded}")
    return sweeps, left_out


def _offline(
    variants: Sequence[tuple[Variant, Lengths]], settings: Settings, say: Callable[[str], None]
) -> Probe:
    """Whole batches, sent to the engine in this process."""
    batches = settings.concurrency or BATCHES
    tables = {}
    for variant, lengths in variants:
        made = [
            engine_points(
                variant.model,
                batches,
                *pair,
                variant.engine_args,
                adapter=variant.adapter,
                say=say,
            )
            for pair in lengths
        ]
        tables[variant.label] = pd.concat(made, ignore_index=True)
    report = {
        "settings": [{"label": label, "points": rows_of(table)} for label, table in tables.items()],
        "audit": {"valid": None, "reasons": [_NOT_AUDITED]},
    }
    labelled = [table.assign(label=label) for label, table in tables.items()]
    points = pd.concat(labelled, ignore_index=True).assign(valid=None, findings=_NOT_AUDITED)
    unaudited = Audit(False, (_NOT_AUDITED,), pd.DataFrame(columns=CHECK_COLUMNS))
    return Probe(pd.DataFrame(columns=COLUMNS), points, unaudited, report=report)


def _setting(made: Sweep) -> dict[str, Any]:
    """A setting as the command prints it."""
    points = zip(rows_of(made.points), made.metrics, strict=True)
    return {
        "label": made.label,
        "serving": made.serving,
        "failed": made.failed,
        "points": [{**point, "metrics": metrics} for point, metrics in points],
        "invalid": rows_of(made.invalid),
        "bench": rows_of(made.bench),
    }


def _points(made: Sweep) -> list[dict[str, Any]]:
    """The points of a setting as rows, those that its audit refused and its failure included."""
    rows = []
    for point, metrics in zip(rows_of(made.points), made.metrics, strict=True):
        row = {"label": made.label, **point, "failed_share": metrics["failed_share"]}
        for metric in ("ttft", "tpot", "itl", "e2e"):
            of_metric = metrics[f"{metric}_ms"]
            for percentile in ("p50", "p95", "p99"):
                stem = f"{metric}_{percentile}"
                low, high = of_metric[f"{percentile}_interval"]
                row |= {f"{stem}_ms": of_metric[percentile], f"{stem}_low_ms": low}
                row[f"{stem}_high_ms"] = high
        rows.append({**row, "valid": True, "findings": ""})
    refused = made.invalid.rename(columns={"reasons": "findings"})
    failure = [{"findings": made.failed}] if made.failed else []
    return rows + [
        {"label": made.label, **row, "valid": False} for row in [*rows_of(refused), *failure]
    ]
