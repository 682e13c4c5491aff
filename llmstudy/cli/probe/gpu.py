"""`llmstudy probe vllm`: throughput and latency of a model on this machine."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmstudy.cli.probe import options as o
from llmstudy.cli.probe.show import INVALID
from llmstudy.cli.terminal import BAD_INPUT, AsJson, mistakes, print_json, say

if TYPE_CHECKING:
    from llmstudy.probe.vllm import Variant
    from llmstudy.probe.vllm.sweep import Sweep

_NOT_AUDITED = "whole batches in this process: no arrivals to audit, so throughput only"


def vllm(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Folders with config.json, weights or none; or names in data/model_configs.",
            metavar="MODEL...",
        ),
    ],
    quantization: Annotated[
        list[str] | None, typer.Option(help="none, fp8; repeatable. [default: none]")
    ] = None,
    tensor_parallel: Annotated[
        list[int] | None, typer.Option(help="GPUs per server; repeatable. [default: 1]", min=1)
    ] = None,
    prefix_caching: Annotated[
        list[str] | None, typer.Option(help="off, on; repeatable. [default: off]")
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(help="off, or on with a random adapter; repeatable. [default: off]"),
    ] = None,
    lengths: Annotated[
        list[str] | None,
        typer.Option(
            help="Tokens in and out, INxOUT; repeatable. [default: 1024x1024, 8192x1024, 1155x211]"
        ),
    ] = None,
    concurrency: Annotated[
        list[int] | None,
        typer.Option(
            help="Measure at these, each with each length. [default: the most informative points]",
            min=1,
        ),
    ] = None,
    max_concurrency: Annotated[int, typer.Option(help="Of the points to choose.", min=1)] = 256,
    points: Annotated[int, typer.Option(help="How many to choose, at most.", min=4)] = 8,
    max_point: Annotated[str, typer.Option(help="Longest a point may take.")] = "60 s",
    bench: Annotated[
        bool, typer.Option(help="Run `vllm bench serve` beside it, at one point per setting.")
    ] = False,
    offline: Annotated[
        bool,
        typer.Option(help="The engine in this process, whole batches: no server, no arrivals."),
    ] = False,
    python: Annotated[
        Path | None, typer.Option(help="Interpreter that has vLLM. [default: this one]")
    ] = None,
    flag: Annotated[
        list[str] | None,
        typer.Option(
            help="Further flag of `vllm serve`: --flag=--enforce-eager; repeatable.",
            metavar="FLAG",
        ),
    ] = None,
    seed: o.Seed = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of its runs. [default: probes/vllm-TIME]", metavar="DIR"),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            help="Also record the points, with model, GPU and engine, in this folder.",
            metavar="DIR",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start vLLM with each setting and measure the few points that a capacity plan needs.

    A folder with nothing but `config.json` is served with random weights: a dense model is as fast
    with those as with its own, and every figure says so. Points are chosen for their information on
    the serving curve per second of GPU time. Each is a closed loop with its own audit; a point
    whose audit fails is named and left out. Each is recorded as soon as it is measured: a setting
    that fails, or a kill, loses none before it. To measure a server that runs already, use
    `llmstudy probe endpoint`.

    With --offline each batch is sent at once and awaited: throughput only. There are no arrivals to
    audit, so that audit.valid is null, and such points are never recorded.

    Exit codes: 0 done; 2 it could not begin, or a setting failed, and why: the others are measured
    and printed; 3 a point's audit finds it invalid.

    JSON: `{settings: [{label, serving, failed, points: [{..., metrics}], invalid: [...], bench:
    [...]}], left_out: [{label, reason}], audit: {valid, reasons}, runs}`; with --offline
    `{settings: [{label, points}], audit}`.
    """
    with mistakes(as_json):
        pairs = [_pair(text) for text in lengths or ("1024x1024", "8192x1024", "1155x211")]
        moment = datetime.now(UTC)
        folder = out or Path("probes", f"vllm-{moment:%Y%m%dT%H%M%SZ}")
        server_only = {"--record": record, "--bench": bench, "--python": python, "--flag": flag}
        refused = [name for name, value in server_only.items() if value]
        if offline and refused:
            raise ValueError(
                f"{', '.join(refused)} with --offline: these are of a server, and there is none; "
                "leave them out, or --offline"
            )
        variants = _variants(models, quantization, tensor_parallel, prefix_caching, lora, folder)
        failed: list[str] = []
        if offline:
            report: dict[str, Any] = {"settings": _offline(variants, pairs, concurrency)}
            report["audit"] = {"valid": None, "reasons": [_NOT_AUDITED]}
        else:
            max_point_s = o.seconds(max_point, "--max-point") or 60.0
            planned, left_out = _plans(
                variants, pairs, concurrency, max_concurrency, points, max_point_s
            )
            sweeps = _sweeps(
                planned, folder, o.seed_of(seed), bench, python, flag or (), record, moment
            )
            failed = [f"{sweep.label}: {sweep.failed}" for sweep in sweeps if sweep.failed]
            if failed and not any(len(sweep.points) + len(sweep.invalid) for sweep in sweeps):
                raise ValueError("\n".join(failed))
            reasons = [
                f"{sweep.label}, concurrency {row['concurrency']}: {row['reasons']}"
                for sweep in sweeps
                for row in sweep.invalid.to_dict("records")
            ]
            report = {
                "settings": [_row(sweep) for sweep in sweeps],
                "left_out": left_out,
                "audit": {"valid": not reasons, "reasons": reasons},
                "runs": str(folder),
            }
    if as_json:
        print_json(report)
    else:
        _show(report)
    for line in failed:
        say(f"Failed: {line}")
    if failed:
        raise typer.Exit(BAD_INPUT)
    if report["audit"]["valid"] is False:
        raise typer.Exit(INVALID)


def _pair(text: str) -> tuple[int, int]:
    try:
        input_tokens, output_tokens = (int(part) for part in text.split("x"))
    except ValueError as error:
        raise ValueError(f"--lengths {text}: write tokens in and out, such as 1024x128") from error
    if input_tokens < 1 or output_tokens < 2:  # one token has no TPOT
        raise ValueError(f"--lengths {text}: give at least one token in and two out")
    return input_tokens, output_tokens


def _variants(
    models: list[str],
    quantization: list[str] | None,
    tensor_parallel: list[int] | None,
    prefix_caching: list[str] | None,
    lora: list[str] | None,
    folder: Path,
) -> "list[Variant]":
    from llmstudy.probe.vllm import bundled_model, random_adapter, variants

    settings: list[Variant] = []
    for name in models:
        model = Path(name) if Path(name).exists() else bundled_model(name)
        adapters = [
            random_adapter(model, folder / f"adapter-{model.name}") if on else None
            for on in _switches(lora, "--lora")
        ]
        for quantized in quantization or ["none"]:
            if quantized not in ("none", "fp8"):
                raise ValueError(f"--quantization {quantized}: write none or fp8")
        settings += variants(
            [model],
            quantization or ["none"],  # type: ignore[arg-type]
            tensor_parallel or [1],
            _switches(prefix_caching, "--prefix-caching"),
            adapters,
        )
    return settings


def _switches(words: list[str] | None, option: str) -> list[bool]:
    if wrong := set(words or ()) - {"on", "off"}:
        raise ValueError(f"{option} {sorted(wrong)[0]}: write on or off")
    return [word == "on" for word in words or ["off"]]


def _plans(
    variants: "list[Variant]",
    pairs: list[tuple[int, int]],
    concurrency: list[int] | None,
    max_concurrency: int,
    points: int,
    max_point_s: float,
) -> tuple[list[tuple["Variant", Any]], list[dict[str, str]]]:
    """Each setting with its points, or with the error of choosing them; and those left out because
    the model does not fit."""
    from llmstudy.measures.capacity import CannotServe
    from llmstudy.probe.vllm import read_config
    from llmstudy.probe.vllm.sweep import levels, named_levels

    planned: list[tuple[Variant, Any]] = []
    left_out = []
    for variant in variants:
        if concurrency:
            planned.append((variant, named_levels(concurrency, pairs)))
            continue
        try:
            config = read_config(variant.model)
            table = levels(config, variant, pairs, max_concurrency, points, max_point_s)
        except CannotServe as error:
            say(f"{variant.label} is left out: {error}")
            left_out.append({"label": variant.label, "reason": str(error)})
        except ValueError as error:
            planned.append((variant, error))
        else:
            say(_estimate(variant.label, table, pairs, max_point_s))
            planned.append((variant, table))
    return planned, left_out


def _estimate(label: str, table: Any, pairs: list[tuple[int, int]], max_point_s: float) -> str:
    """How many points will be measured, for how long, and which lengths take too long."""
    lengths = set(zip(table["input_tokens"], table["output_tokens"], strict=True))
    missing = [f"{pair[0]}x{pair[1]}" for pair in pairs if pair not in lengths]
    sentence = (
        f"{label}: {len(table)} points, about {table['seconds'].sum():.0f} s; the server's start "
        "and warm-up, some 3 minutes, come on top"
    )
    if missing:
        sentence += f"; none of {', '.join(missing)}, which take longer than {max_point_s:g} s"
    return sentence


def _sweeps(
    planned: list[tuple["Variant", Any]],
    folder: Path,
    seed: int,
    bench: bool,
    python: Path | None,
    flags: Sequence[str],
    record: Path | None,
    moment: datetime,
) -> "list[Sweep]":
    """Measures each setting after the other, and records each point at once."""
    from llmstudy.probe.vllm.recorded import write
    from llmstudy.probe.vllm.sweep import not_begun, sweep

    done: list[Sweep] = []

    def keep(so_far: "Sweep") -> None:
        sweeps = [*done, so_far]
        if record is not None and any(len(each.points) for each in sweeps):
            write(record, sweeps, moment)

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
                seed=seed,
                bench_at=middle if bench else None,
                python=python,
                flags=flags,
                tell=say,
                keep=keep,
            )
        done.append(finished)
    if record is not None and any(len(each.points) for each in done):
        say(f"Recorded in {write(record, done, moment)}")
    return done


def _offline(
    variants: "list[Variant]", pairs: list[tuple[int, int]], concurrency: list[int] | None
) -> list[dict[str, Any]]:
    from llmstudy.probe.report import rows_of
    from llmstudy.probe.vllm import engine_points
    from llmstudy.probe.vllm.variants import engine_arguments

    settings = []
    for variant in variants:
        arguments, adapter = engine_arguments(variant)
        rows = []
        for pair in pairs:
            batches = concurrency or [1, 8, 64]
            table = engine_points(
                variant.model, batches, *pair, arguments, adapter=adapter, progress=say
            )
            rows += rows_of(table)
        settings.append({"label": variant.label, "points": rows})
    return settings


def _row(sweep: "Sweep") -> dict[str, Any]:
    from llmstudy.probe.report import rows_of

    return {
        "label": sweep.label,
        "serving": sweep.serving,
        "failed": sweep.failed,
        "points": [
            {**point, "metrics": metrics}
            for point, metrics in zip(rows_of(sweep.points), sweep.metrics, strict=True)
        ],
        "invalid": rows_of(sweep.invalid),
        "bench": rows_of(sweep.bench),
    }


def _show(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    heads = ("in", "out", "at once", "TTFT, ms", "TPOT, ms", "tokens/s per GPU", "of the limit")
    for setting in report["settings"]:
        table = Table(*heads, title=setting["label"])
        for row in setting["points"]:
            rate = row.get("output_tokens_per_s_per_gpu")
            share = row.get("throughput_share")
            table.add_row(
                *(str(row[name]) for name in ("input_tokens", "output_tokens", "concurrency")),
                *(f"{row[name]:.3g}" for name in ("ttft_ms", "tpot_ms")),
                "-" if rate is None else f"{rate:.0f}",
                "-" if share is None else f"{share:.0%}",
            )
        console.print(table)
    word = "Not audited" if report["audit"]["valid"] is None else "Invalid"
    for reason in report["audit"]["reasons"]:
        say(f"{word}: {reason}")
