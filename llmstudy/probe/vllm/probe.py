"""Measures models on this machine: every setting, one after the other, as `llmstudy probe vllm`."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pandas as pd

from llmstudy.measures.capacity import CannotServe
from llmstudy.probe.audit import Audit
from llmstudy.probe.options import Settings, built, takes
from llmstudy.probe.report import rows_of
from llmstudy.probe.result import Probe, read_probe
from llmstudy.probe.run import COLUMNS, FACTS
from llmstudy.probe.vllm.engine import engine_points
from llmstudy.probe.vllm.model import bundled_model, random_adapter, read_config
from llmstudy.probe.vllm.recorded import write
from llmstudy.probe.vllm.sweep import Sweep, levels, named_levels, not_begun, sweep
from llmstudy.probe.vllm.variants import Variant, engine_arguments, variants

BATCHES = (1, 8, 64)
"""Sizes of the batches that the engine in this process gets where none are named."""

_NOT_AUDITED = "whole batches in this process: no arrivals to audit, so throughput only"


@takes(Settings)
def probe_vllm(
    models: Path | str | Sequence[Path | str],
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

    models: folders with config.json, weights or none; or names in data/model_configs. out: folder
    of its runs; None: a temporary one, which is kept. record: folder in which the points are also
    recorded, each as soon as it is measured. say: gets the progress in lines.

    Returns: `points`, a row per measured point, as `search.serving_point`, with the percentiles in
    steady state, `label` (the setting), `valid` and `findings`; `samples`, the requests of each;
    `audit`; in `report`: `settings`, `left_out`.
    Raises: ValueError if no setting gave a point, with the reason of each.

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
    named = [models] if isinstance(models, str | Path) else models
    every = [variant for name in named for variant in _variants(name, settings, folder)]
    if settings.offline:
        return _offline(every, settings, say)
    planned, left_out = _planned(every, settings, say)
    sweeps = _measured(planned, settings, folder, None if record is None else Path(record), say)
    failed = [f"{each.label}: {each.failed}" for each in sweeps if each.failed]
    if failed and not any(len(each.points) + len(each.invalid) for each in sweeps):
        raise ValueError("\n".join(failed))
    reasons = tuple(
        f"{each.label}, concurrency {row['concurrency']}: {row['reasons']}"
        for each in sweeps
        for row in each.invalid.to_dict("records")
    )
    report = {
        "settings": [_setting(each) for each in sweeps],
        "left_out": left_out,
        "audit": {"valid": not reasons, "reasons": list(reasons)},
        "runs": str(folder),
    }
    runs = list(folder.rglob(FACTS))
    measured = read_probe(folder) if runs else None
    return Probe(
        measured.samples if measured else pd.DataFrame(columns=COLUMNS),
        pd.DataFrame([row for each in sweeps for row in _points(each)]),
        Audit(not reasons, reasons, measured.audit.checks if measured else pd.DataFrame()),
        folder,
        measured.runs if measured else (),
        report,
    )


def _variants(name: Path | str, settings: Settings, folder: Path) -> list[Variant]:
    """Every setting of a model."""
    if unknown := [each for each in settings.quantization if each not in ("none", "fp8")]:
        raise ValueError(f"--quantization {unknown[0]}: write none or fp8")
    model = Path(name) if Path(name).exists() else bundled_model(str(name))
    adapters = [
        random_adapter(model, folder / f"adapter-{model.name}") if on else None
        for on in settings.lora
    ]
    axes = (settings.quantization, settings.tensor_parallel, settings.prefix_caching)
    return variants([model], *axes, adapters)  # type: ignore[arg-type]


def _planned(
    every: Sequence[Variant], settings: Settings, say: Callable[[str], None]
) -> tuple[list[tuple[Variant, pd.DataFrame | ValueError]], list[dict[str, str]]]:
    """Each setting with its points, or with the error of choosing them; and those left out because
    the model does not fit."""
    planned: list[tuple[Variant, pd.DataFrame | ValueError]] = []
    left_out = []
    pairs, longest_s = settings.lengths, settings.max_point_s
    limits = (settings.max_concurrency, settings.max_points, longest_s)
    for variant in every:
        if settings.concurrency:
            planned.append((variant, named_levels(settings.concurrency, pairs)))
            continue
        try:
            table = levels(read_config(variant.model), variant, pairs, *limits)
        except CannotServe as error:
            say(f"{variant.label} is left out: {error}")
            left_out.append({"label": variant.label, "reason": str(error)})
            continue
        except ValueError as error:
            planned.append((variant, error))
            continue
        chosen = set(zip(table["input_tokens"], table["output_tokens"], strict=True))
        missing = [f"{pair[0]}x{pair[1]}" for pair in pairs if tuple(pair) not in chosen]
        slow = f"; none of {', '.join(missing)}, which take longer than {longest_s:g} s"
        say(
            f"{variant.label}: {len(table)} points, about {table['seconds'].sum():.0f} s; the "
            f"server's start and warm-up, some 3 minutes, come on top{slow if missing else ''}"
        )
        planned.append((variant, table))
    return planned, left_out


def _measured(
    planned: Sequence[tuple[Variant, pd.DataFrame | ValueError]],
    settings: Settings,
    folder: Path,
    record: Path | None,
    say: Callable[[str], None],
) -> list[Sweep]:
    """Measures each setting after the other, and records each point at once."""
    began = datetime.now(UTC)
    done: list[Sweep] = []

    def keep(so_far: Sweep) -> None:
        sweeps = [*done, so_far]
        if record is not None and any(len(each.points) for each in sweeps):
            write(record, sweeps, began)

    for variant, table in planned:
        if isinstance(table, ValueError):
            say(f"{variant.label} failed: {table}")
            finished = not_begun(variant.label, str(table))
            keep(finished)
        else:
            middle = int(table["concurrency"].argsort(kind="stable").iloc[len(table) // 2])
            finished = sweep(
                variant,
                table,
                folder / variant.label.replace(" ", "-"),
                seed=settings.seed,
                bench_at=middle if settings.bench else None,
                python=settings.python,
                flags=settings.flags,
                tell=say,
                keep=keep,
            )
        done.append(finished)
    if record is not None and any(len(each.points) for each in done):
        say(f"Recorded in {write(record, done, began)}")
    return done


def _offline(every: Sequence[Variant], settings: Settings, say: Callable[[str], None]) -> Probe:
    """Whole batches, sent to the engine in this process."""
    batches = settings.concurrency or BATCHES
    tables = []
    for variant in every:
        arguments, adapter = engine_arguments(variant)
        made = [
            engine_points(variant.model, batches, *pair, arguments, adapter=adapter, progress=say)
            for pair in settings.lengths
        ]
        tables.append(pd.concat(made, ignore_index=True).assign(label=variant.label))
    rows = [rows_of(table.drop(columns="label")) for table in tables]
    report = {
        "settings": [
            {"label": variant.label, "points": points}
            for variant, points in zip(every, rows, strict=True)
        ],
        "audit": {"valid": None, "reasons": [_NOT_AUDITED]},
    }
    points = pd.concat(tables, ignore_index=True).assign(valid=None, findings=_NOT_AUDITED)
    unaudited = Audit(False, (_NOT_AUDITED,), pd.DataFrame())
    return Probe(pd.DataFrame(columns=COLUMNS), points, unaudited, report=report)


def _setting(each: Sweep) -> dict[str, Any]:
    """A setting as the command prints it."""
    return {
        "label": each.label,
        "serving": each.serving,
        "failed": each.failed,
        "points": [
            {**point, "metrics": metrics}
            for point, metrics in zip(rows_of(each.points), each.metrics, strict=True)
        ],
        "invalid": rows_of(each.invalid),
        "bench": rows_of(each.bench),
    }


def _points(each: Sweep) -> list[dict[str, Any]]:
    """The points of a setting as rows, those that its audit refused included."""
    rows = []
    for point, metrics in zip(rows_of(each.points), each.metrics, strict=True):
        row = {"label": each.label, **point, "failed_share": metrics["failed_share"]}
        for metric in ("ttft", "tpot", "itl", "e2e"):
            for percentile in ("p50", "p95", "p99"):
                of_metric, stem = metrics[f"{metric}_ms"], f"{metric}_{percentile}"
                low, high = of_metric[f"{percentile}_interval"]
                row |= {f"{stem}_ms": of_metric[percentile], f"{stem}_low_ms": low}
                row[f"{stem}_high_ms"] = high
        rows.append({**row, "valid": True, "findings": ""})
    refused = each.invalid.rename(columns={"reasons": "findings"}).assign(valid=False)
    return [*rows, *({"label": each.label, **row} for row in rows_of(refused))]
