"""`llmstudy probe import` and `compare`: runs that exist already."""

from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from llmstudy.cli.probe.show import INVALID, finish
from llmstudy.cli.terminal import AsJson, mistakes, print_json, say

if TYPE_CHECKING:
    from llmstudy.probe.compare import Comparison
    from llmstudy.probe.run import Run


def import_(
    file: Annotated[
        Path,
        typer.Argument(help="Result file of a load tool, or folder of a run.", metavar="FILE"),
    ],
    tool: Annotated[
        str | None,
        typer.Option(help="Which tool wrote it. [default: as its content tells]"),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(help="Which, where the file holds several: number from 0, or name."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Keep it as a run in this folder.", metavar="DIR")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read another load tool's results and derive our metrics from its raw times.

    Knows `vllm bench serve`, `throughput` and `latency`, SGLang's `bench_serving`, guidellm
    (version 2 of its file), aiperf, genai-perf, inference-perf, genai-bench and llmperf, and our
    own runs, killed ones too. The same audit runs on all of them: a file without the time of each
    request cannot be audited, and is invalid. What the tool published stands beside what we derive,
    with the reason where the two are not comparable.

    Exit codes: 0 a valid run; 2 no such file or format; 3 the audit finds the run invalid.

    JSON: as `llmstudy probe endpoint`, and `published: [{metric, quantity, statistic, published_ms,
    derived_ms, ratio, comparable, why}]`.
    """
    with mistakes(as_json):
        from llmstudy.probe.importers import published_against_derived
        from llmstudy.probe.report import rows_of
        from llmstudy.probe.run import write

        run = read_run(file, tool, benchmark)
        is_theirs = bool(run.facts.get("published"))
        published = rows_of(published_against_derived(run)) if is_theirs else []
        if out is not None:
            write(out, run)
    finish(run, as_json, {"run": str(file), "published": published})


def compare(
    a: Annotated[Path, typer.Argument(help="A run: folder or result file.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="The run to judge against it.", metavar="B")],
    metric: Annotated[str, typer.Option(help="ttft, tpot, itl or e2e.")] = "ttft",
    percentile: Annotated[str, typer.Option(help="p50, p95 or p99.")] = "p95",
    margin: Annotated[
        float, typer.Option(help="Ratio that makes no difference: 0.05 is 5 %.", min=0.0)
    ] = 0.05,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Is B better than A? Requests of one plan and seed, compared pair by pair.

    The verdict is better or worse only if the whole interval of the ratio lies beyond the margin,
    and undecided otherwise, with the number of requests that would settle it.

    Exit codes: 0 a verdict, undecided included; 2 the runs cannot be compared; 3 one of them is
    invalid.

    JSON: `{metric, percentile, a_ms, b_ms, ratio, low, high, n_pairs, verdict, n_needed, audit:
    {valid, reasons}, ...}`; a high of null is not bounded.
    """
    with mistakes(as_json):
        from llmstudy.probe.audit import audit
        from llmstudy.probe.compare import Metric, Percentile
        from llmstudy.probe.compare import compare as judge

        first, second = read_run(a), read_run(b)
        audits = {str(a): audit(first), str(b): audit(second)}
        comparison = judge(
            first,
            second,
            _one_of(metric, get_args(Metric), "--metric"),
            _one_of(percentile, get_args(Percentile), "--percentile"),
            margin_share=margin,
            seed=seed,
        )
    reasons = [f"{name}: {why}" for name, audit_ in audits.items() for why in audit_.reasons]
    if as_json:
        print_json(
            {**_bounded(vars(comparison)), "audit": {"valid": not reasons, "reasons": reasons}}
        )
    else:
        typer.echo(_sentence(comparison, b))
        for reason in reasons:
            say(f"Invalid: {reason}")
    if reasons:
        raise typer.Exit(INVALID)


def _sentence(comparison: "Comparison", b: Path) -> str:
    """The verdict in words."""
    what = f"{comparison.metric} {comparison.percentile}"
    if comparison.ratio is None:
        return f"{b}: {what} cannot be compared: it lies among failures"
    high = "unbounded" if isinf(comparison.high) else f"{comparison.high:.2f}"
    settle = f"; {comparison.n_needed} pairs would settle it" if comparison.n_needed else ""
    return (
        f"{b} is {comparison.verdict}: {what} {comparison.ratio:.2f} times as long "
        f"(95 % interval {comparison.low:.2f} to {high}, {comparison.n_pairs} pairs, margin "
        f"{comparison.margin_share:.0%}){settle}"
    )


def read_run(file: Path, tool: str | None = None, benchmark: str | None = None) -> "Run":
    """A run of ours, or another tool's results. Raises: ValueError if it is neither."""
    from llmstudy.probe.importers import read_results
    from llmstudy.probe.run import FACTS, read

    if file.is_dir() and (file / FACTS).exists():
        return read(file)
    return read_results(file, tool, benchmark)


def _one_of(text: str, choices: tuple[str, ...], option: str) -> Any:
    if text not in choices:
        raise ValueError(f"{option} {text}: write one of {', '.join(choices)}")
    return text


def _bounded(fields: dict[str, Any]) -> dict[str, Any]:
    """None for an end that is not bounded, which JSON does not have."""
    return {
        name: None if isinstance(value, float) and isinf(value) else value
        for name, value in fields.items()
    }
