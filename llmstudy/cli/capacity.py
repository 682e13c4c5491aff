"""`llmstudy capacity`: how much traffic a replica carries, from measured points."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmstudy.cli import capacity_size
from llmstudy.cli.terminal import AsJson, mistakes, print_json

if TYPE_CHECKING:
    import pandas as pd

    from llmstudy.figure import Interval
    from llmstudy.measures.capacity import GroupFit, LeftOut


app = typer.Typer(
    name="capacity",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""How much traffic a replica carries, from measured points, and how many it takes.

```
llmstudy capacity fit data/vllm_serving_points.csv --points 8
llmstudy capacity size acme/study.yaml
```
""",
)
app.command("size")(capacity_size.size)

_LEVEL = 0.95


@app.callback()
def _capacity() -> None:
    """Makes `capacity` a group of commands."""


@app.command()
def fit(
    points: Annotated[
        Path,
        typer.Argument(
            help="A CSV file with the columns of data/vllm_serving_points.csv.",
            metavar="POINTS.csv",
        ),
    ],
    n_points: Annotated[
        int, typer.Option("--points", help="Configurations to fit on, four or more.", metavar="N")
    ] = 8,
    seed: Annotated[int, typer.Option(help="Of the random choices.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Fit a serving curve to a few points of each model and GPU, and judge it on all others.

    The points are chosen for the information that their configurations give, without a look at what
    was measured there. Each model, GPU, precision and engine version (and KV cache type, where a
    column kv_dtype names it) is a group of its own; a group of an unknown model or GPU, or with too
    few points, is named and left out. Repeats of a configuration are pooled.

    The curve is judged by its throughput at the measured TTFT, and TTFT by itself: predicted over
    measured, the median above its P10 and P90. In the table, `random` is the error from as many
    points chosen at random, and `all` that on every point of a curve fitted to every point, which
    no choice of points improves on.

    Exit codes: 0 done; 2 the points cannot be used, or no group can be fitted.

    JSON: `{points, n_points, seed, level, median_of_medians_abs_error_share,
    random_median_of_medians_abs_error_share, groups: [{model, gpu, precision, engine_version,
    kv_value_bytes, n_rows, n_fit, n_heldout, median_abs_error_share, p90_abs_error_share,
    random_median_abs_error_share, all_points_median_abs_error_share, ttft_ratio: {estimate, low,
    high}, parameters: {name: {value, low, high}}, flags: [{flag, n_points}]}], left_out: [{model,
    gpu, precision, engine_version, n_rows, reason}], transfers: [{model, precision, engine_version,
    kv_value_bytes, fitted_on, judged_on, n_fit, n_judged, median_abs_error_share,
    p90_abs_error_share, outside_share}], notes: [sentence]}`, groups by error, the largest first.
    """
    with mistakes(as_json):
        import numpy as np

        from llmstudy.measures import capacity

        table, notes = capacity.read_points(points)
        groups, left_out = capacity.fit_groups(table, n_points, seed, _LEVEL)
        if not groups:
            raise ValueError(_nothing(points, left_out))
        carried = capacity.transfers(table)
        median, at_random = (
            float(np.median([getattr(group, name) for group in groups]))
            for name in ("median_abs_error_share", "random_median_abs_error_share")
        )
    if as_json:
        print_json(
            {
                "points": points,
                "n_points": n_points,
                "seed": seed,
                "level": _LEVEL,
                "median_of_medians_abs_error_share": median,
                "random_median_of_medians_abs_error_share": at_random,
                "groups": [_row(group) for group in groups],
                "left_out": left_out,
                "transfers": carried,
                "notes": notes,
            }
        )
    else:
        _show(groups, left_out, carried, notes, median, at_random)


def _nothing(path: Path, left_out: "Sequence[LeftOut]") -> str:
    """Why no group of the file can be fitted, with the first reason in full."""
    first = left_out[0]
    return f"{path}: none of {len(left_out)} groups can be fitted; {_name(first)}: {first.reason}"


def _row(group: "GroupFit") -> dict[str, Any]:
    """A group as JSON."""
    from dataclasses import asdict

    parameters = {
        name: {"value": interval.estimate, "low": interval.low, "high": interval.high}
        for name, interval in group.parameters.items()
    }
    doubts = [{"flag": flag, "n_points": n} for flag, n in group.flags.items()]
    return asdict(group) | {"parameters": parameters, "flags": doubts}


# --- what a person reads --------------------------------------------------------------------


def _show(
    groups: "Sequence[GroupFit]",
    left_out: "Sequence[LeftOut]",
    carried: "pd.DataFrame",
    notes: Sequence[str],
    median: float,
    at_random: float,
) -> None:
    from rich.console import Console

    from llmstudy.text import share

    console = Console(markup=False, highlight=False, soft_wrap=False)
    console.print(
        _table(
            "Held-out error of throughput, worst first",
            ("#", "group", "held out", "median", "p90", "random", "all"),
            [
                (
                    str(n),
                    _label(group.model, group.gpu, group.precision, group.engine_version),
                    str(group.n_heldout),
                    share(group.median_abs_error_share),
                    share(group.p90_abs_error_share),
                    share(group.random_median_abs_error_share),
                    share(group.all_points_median_abs_error_share),
                )
                for n, group in enumerate(groups, 1)
            ],
        )
    )
    console.print(
        _table(
            "Parameters with 95 % intervals, and predicted over measured TTFT from P10 to P90",
            ("#", "bandwidth", "FLOPs", "step ms", "TP ms", "TTFT"),
            [
                (
                    str(n),
                    *(
                        _range(interval, 1.0 if name.endswith("_efficiency") else 1e3)
                        for name, interval in group.parameters.items()
                    ),
                    _range(group.ttft_ratio, 1.0),
                )
                for n, group in enumerate(groups, 1)
            ],
        )
    )
    console.print(
        f"A curve fitted to {groups[0].n_fit} points chosen for information is off by "
        f"{share(median)} on the others; fitted to as many random points, by {share(at_random)} "
        f"(median of the medians of {len(groups)} groups)."
    )
    console.print(_worst(groups[0]))
    for group in left_out:
        console.print(f"Left out: {_name(group)}: {group.reason}.")
    for note in notes:
        console.print(f"Note: {note}.")
    if len(carried):
        console.print(
            _table(
                "Fitted on one GPU, judged on another of its family",
                ("fitted on", "group", "judged on", "points", "median", "p90", "outside"),
                [
                    (
                        row["fitted_on"],
                        _label(row["model"], row["precision"], row["engine_version"]),
                        row["judged_on"],
                        str(row["n_judged"]),
                        share(row["median_abs_error_share"]),
                        share(row["p90_abs_error_share"]),
                        share(row["outside_share"]),
                    )
                    for row in carried.to_dict("records")
                ],
            )
        )


def _table(title: str, columns: Sequence[str], rows: "Sequence[Sequence[str]]") -> Any:
    """A table; where the terminal is narrow, only the column `group` wraps."""
    from rich.table import Table

    table = Table(title=f"\n{title}", title_justify="left", box=None)
    for column in columns:
        if column == "group":
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _label(model: str, *rest: str) -> str:
    """A group on two lines, its model without the publisher."""
    return f"{model.rpartition('/')[2]}\n{' '.join(rest)}"


def _worst(group: "GroupFit") -> str:
    """The error of the worst group, and the flags of its points."""
    from llmstudy import text

    every = text.share(group.all_points_median_abs_error_share)
    sentence = (
        f"Worst: {_name(group)}, off by {text.share(group.median_abs_error_share)}; a curve fitted "
        f"to all its points is off by {every}."
    )
    doubts = "; ".join(f"{n} x {flag}" for flag, n in group.flags.items())
    if not doubts:
        return sentence
    return f"{sentence} Flagged among its {group.n_rows} points: {doubts}."


def _name(group: "GroupFit | LeftOut") -> str:
    return f"{group.model} {group.gpu} {group.precision} {group.engine_version}"


def _range(interval: "Interval", scale: float) -> str:
    """An estimate above its interval."""
    estimate, low, high = (
        f"{round(scale * x, 3):.2g}" for x in (interval.estimate, interval.low, interval.high)
    )
    return f"{estimate}\n{low} to {high}"
