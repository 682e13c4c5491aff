"""`llmstudy canary`: a move while it is made."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmstudy.cli.requests import Declared, Files, Format
from llmstudy.cli.terminal import AsJson, mistakes, print_json, printable, say

if TYPE_CHECKING:
    import pandas as pd

    from llmstudy.decide.canary_log import Check
    from llmstudy.export.source import Decision

ROLL_BACK = 3

app = typer.Typer(name="canary", no_args_is_help=True, help="A move while it is made.")


@app.callback()
def _canary() -> None:
    """A group of commands."""


@app.command()
def check(
    files: Files,
    decision: Annotated[
        Path,
        typer.Option(
            help="The finished run's folder, or the study file, that planned the canary.",
            metavar="RUN|STUDY",
        ),
    ],
    workload: Annotated[
        str | None, typer.Option(help="Of those that move, where several do.", metavar="NAME")
    ] = None,
    route: Annotated[
        str | None,
        typer.Option(help="The new route. [default: the decision's target]", metavar="NAME"),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="When the present step began, in UTC. [default: with the first request to the "
            "new route]",
            metavar="TIME",
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            help="Scores, 0 or 1, of answers of both routes in this step: any evaluation that "
            "`llmstudy eval import` reads, its routes named as in the study.",
            metavar="FILE",
        ),
    ] = None,
    format: Format = "auto",
    declared: Declared = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Tell whether a running canary goes on, from the gateway's log: continue, or roll back.

    FILE is a log of any format, or the table that `llmstudy requests import` wrote. In the log of
    the gateway that `llmstudy export` writes, requests are found by the names that it serves.

    Failures and late first tokens of the new route are compared with those of the requests that
    stayed on today's route; the step ends as soon as the evidence of one metric reaches its limit,
    however often this is asked, so that an equal route is rolled back with at most 5 % over all
    steps. A request counts for the route that it was first sent to: one that today's route answered
    because the new one failed counts against the new one. The step is the planned one whose share
    of the traffic the log shows. At full traffic the comparison is with today's requests before.

    Accepted answers are judged from `--scores` alone. Nothing tells in a log whether users saw an
    answer: shadow requests are left out where they name their route, as those of `WORKLOAD.ROUTE`
    do, and nowhere else.

    Exit codes: 0 continue, or undecided yet; 3 roll back; 2 it cannot be judged.

    ```
    llmstudy canary check log/gateway.jsonl --decision outputs/acme/20261101T080000Z-ab12cd
    llmstudy canary check log.jsonl --decision acme/study.yaml --workload chat --since 2026-12-01
    ```

    JSON: `{exit_code, verdict, sentence, workload, route, today, since, until, step, traffic_share,
    share, next_share, left, metrics: [{metric, canary_share, stays_share, requests, stays_requests,
    needed, left, evidence, limit, ends, caught}], not_judged: {metric: why}, chances: [{metric,
    step, traffic_share, drop_share, probability}], notes: [sentence]}`. `caught` is the probability
    that a loss of the whole margin would have ended the step by now; `chances` those of losses by
    the end of each planned step; `needed` and `left` are null where no number of requests suffices.
    """
    with mistakes(as_json):
        from llmstudy.export.source import decision as read

        seen = _checked(read(decision), files, workload, route, since, scores, format, declared)
    exit_code = ROLL_BACK if seen.verdict == "roll back" else 0
    if as_json:
        print_json({"exit_code": exit_code, **_document(seen)})
    else:
        _show(seen)
    raise typer.Exit(exit_code)


def _checked(
    decided: "Decision",
    files: list[str],
    workload: str | None,
    route: str | None,
    since: datetime | None,
    scores: Path | None,
    format: str,
    declared: list[str],
) -> "Check":
    import pandas as pd

    from llmstudy.cli.requests import declarations
    from llmstudy.decide.canary_log import check as judged
    from llmstudy.decide.dates import baselines
    from llmstudy.evidence.case import permissions, rows_of
    from llmstudy.requests.importers import imported
    from llmstudy.requests.plausible import UNTRACED

    study = decided.study
    name, new = _moving(decided, workload, route)
    [quality] = rows_of(decided.results["04_quality"]["quality"], workload=name, route=new)
    allowed = permissions(study)
    [today] = rows_of(allowed.to_dict("records"), workload=name, current=True)
    with imported(list(files), format, **declarations(declared)) as table:
        if table.grain == "bucket":
            raise ValueError(
                f"{files[0]}: it sums requests up, so that it does not tell who was sent where: "
                "give a log with a row for each request."
            )
        log = table.read(_COLUMNS)
    return judged(
        study,
        name,
        new,
        log.accepted,
        baselines(quality, study.workloads[name].retry_share.value),
        since=None if since is None else pd.Timestamp(since, tz="UTC"),
        scores=None if scores is None else _scores(scores, new, str(today["route"])),
        unknown=log.unknown,
        may_return=bool(today["permitted"]),
        set_aside=len(log.lost) + int((log.quarantined["reason"] == UNTRACED).sum()),
    )


_COLUMNS = (
    *("ts_start", "workload", "provider", "model_requested", "model_served", "first_model"),
    *("ok", "ttft_s", "attempts"),
)
"""What of a request a canary is judged by."""


def _moving(decided: "Decision", workload: str | None, route: str | None) -> tuple[str, str]:
    """The workload and the new route of the canary."""
    from llmstudy.text import listed

    verdicts = decided.results["07_triggers_and_routing"]["verdicts"]
    targets = {name: v["target"] for name, v in verdicts.items() if v["target"]}
    if workload is None:
        if route is not None:
            names = [n for n in targets if route in decided.study.workloads[n].routes]
        else:
            names = list(targets)
        if len(names) != 1:
            there = f"those of {decided.origin} are {listed(names)}" if names else "none moves"
            raise ValueError(f"--workload: name the one whose canary it is; {there}.")
        [workload] = names
    if workload not in decided.study.workloads:
        there = listed(list(decided.study.workloads))
        raise ValueError(f"--workload {workload}: the study has {there}.")
    new, spec = route or targets.get(workload), decided.study.workloads[workload]
    if new is None:
        raise ValueError(f"--route: no route is favoured for {workload}; name the new one.")
    if new not in spec.routes or new == spec.current_route:
        others = listed([each for each in spec.routes if each != spec.current_route])
        raise ValueError(f"--route {new}: {workload} may move to {others}.")
    return workload, new


def _scores(file: Path, new: str, today: str) -> "pd.DataFrame":
    """Route and score of each scored answer of both routes."""
    from llmstudy.evals.importers import read_evaluation

    table = read_evaluation(file)
    table = table.loc[table["scored"] & table["route"].isin([new, today]), ["route", "score"]]
    if table["route"].nunique() < 2:
        raise ValueError(f"{file}: it has no scores of {new} and of {today}: name its routes so.")
    if not table["score"].isin([0.0, 1.0]).all():
        raise ValueError(f"{file}: an answer is accepted or not: give scores of 0 and 1.")
    return table


# --- what comes out ---------------------------------------------------------------------------

_FIELDS = (
    *("verdict", "sentence", "workload", "route", "today", "since", "until", "step"),
    *("traffic_share", "share", "next_share", "left", "not_judged", "notes"),
)
_OF_METRIC = (
    *("metric", "canary_share", "stays_share", "requests", "stays_requests", "needed", "left"),
    *("evidence", "limit", "ends", "caught"),
)


def _document(seen: "Check") -> dict[str, Any]:
    metrics = [{name: getattr(state, name) for name in _OF_METRIC} for state in seen.states]
    return {
        **{name: getattr(seen, name) for name in _FIELDS},
        "metrics": metrics,
        "chances": seen.chances.to_dict("records"),
    }


def _show(seen: "Check") -> None:
    from llmstudy.decide.canary_log import WORDS
    from llmstudy.text import count, share

    typer.echo(printable(seen.sentence))
    for state in seen.states:
        needed = "no number suffices" if state.needed is None else f"{count(state.needed)} needed"
        typer.echo(
            f"  {WORDS[state.metric]}: {share(state.canary_share, state.stays_share)} against "
            f"{share(state.stays_share, state.canary_share)}; {count(state.requests)} requests, "
            f"{needed}; evidence {state.evidence:.3g}, ends at {count(state.limit)}; a loss of the "
            f"whole margin was caught by now with {share(state.caught)}"
        )
    for line in _chance_lines(seen.chances):
        typer.echo(f"  {line}")
    for why in (*seen.not_judged.values(), *seen.notes):
        say(f"Note: {why[0].upper()}{why[1:].rstrip('.')}.")


def _chance_lines(chances: "pd.DataFrame") -> list[str]:
    """How likely each loss is caught by the end of each step, by the metric that sees it least."""
    from llmstudy.text import share

    least = chances.pivot_table("probability", "drop_share", "step", aggfunc="min")
    return [
        f"a loss of {100 * float(str(drop)):.3g} points is caught with "
        + ", ".join(f"{share(float(p))} by step {step}" for step, p in by_step.items())
        for drop, by_step in least.iterrows()
    ]
