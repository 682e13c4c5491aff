"""`llmstudy eval compare` and `gate`: what an evaluation says of a candidate, and of a change."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmstudy.cli.evals.options import FINDINGS, AcceptedFrom, Scale, Scorers, app
from llmstudy.cli.requests import Files
from llmstudy.cli.terminal import AsJson, mistakes, print_json, printable, say

if TYPE_CHECKING:
    from llmstudy.evals.verdict import Part, Verdict

Margin = Annotated[
    float,
    typer.Option(help="Loss of accuracy that is allowed, as a share, 0.03.", metavar="SHARE"),
]
Protected = Annotated[
    list[str],
    typer.Option(
        help="A slice that must keep the margin too; may be given several times.", metavar="SLICE"
    ),
]


@app.command()
def compare(
    files: Files,
    baseline: Annotated[str, typer.Option(help="The route in use today.", metavar="ROUTE")],
    margin: Margin,
    candidate: Annotated[
        list[str],
        typer.Option(help="A route to judge; all others without it.", metavar="ROUTE"),
    ] = [],  # noqa: B006
    protected: Protected = [],  # noqa: B006
    accepted_from: AcceptedFrom = None,
    repair_usd: Annotated[
        float | None,
        typer.Option(help="Cost of putting a wrong answer right.", metavar="USD"),
    ] = None,
    looks: Annotated[
        int, typer.Option(help="How often these items were judged before.", min=0)
    ] = 0,
    scorer: Scorers = [],  # noqa: B006
    scale: Scale = None,
    as_json: AsJson = False,
) -> None:
    """Judge candidates against today's route on the same items: SWITCH, HYBRID, STAY or COLLECT.

    SWITCH: the candidate keeps the margin over all items and in each protected slice, and an
    accepted answer costs less. HYBRID: it does so in some slices. STAY: it does not, or costs more.
    COLLECT: the scoring has a fault to mend, or more items are needed. Candidates and workloads
    share one level of 5 % (Holm).

    The verdict is for a number of items that was planned, and each earlier look (`--looks`) takes
    from its level. An evaluation that is still running is read by its evidence instead, which holds
    at any look and takes nothing: act where it reaches what is needed (20 for one candidate), for
    the margin or against it; below that, go on. It is the wealth of a bet against the opposite (an
    e-value) and asks for more items than a single look, up to twice as many. Needs scores by a
    scorer, not a judge.

    Exit codes: 0 done; 2 a file cannot be read, or its items cannot be paired.

    JSON: `{verdicts: [{workload, baseline, candidate, verdict, sentence, difference, low, high,
    margin, pass_mark, discordance, n, n_independent, n_needed, more_items, looks, alpha,
    noise_floor, usd_per_accepted: {baseline, candidate, difference} or null, slices: [{slice,
    protected, verdict, difference, low, high, pass_mark, discordance, n}], flaws, not_scored,
    scorers, anytime: {verdict, evidence, evidence_against, needed, n} or null}]}`; the verdict of
    anytime is non-inferior, inferior or open;
    shares from -1 to 1; usd_per_accepted has estimate, low and high.
    """
    with mistakes(as_json):
        from llmstudy.evals.importers import read_evaluation
        from llmstudy.evals.verdict import compare as judged
        from llmstudy.text import listed

        if accepted_from is not None and scale is None:
            scale = 1  # accepted_from is in the unit of the scores
        evaluation = read_evaluation(list(files), scorer=scorer, scale=scale)
        verdicts = judged(
            evaluation, baseline, margin, candidate, protected, accepted_from, repair_usd, looks
        )
    if as_json:
        print_json({"verdicts": [_document(verdict) for verdict in verdicts]})
        return
    for verdict in verdicts:
        typer.echo(printable(verdict.sentence))
        for part in verdict.parts[1:]:
            typer.echo(printable(f"  {part.slice}{' (protected)' * part.protected}: {_line(part)}"))
        if look := verdict.anytime:
            say(
                f"May be read at any time, with {look.n:,} items so far: {look.verdict}. Evidence "
                f"{look.evidence:.3g} of {look.needed:g} needed that the margin is kept, "
                f"{look.evidence_against:.3g} that it is not."
            )
        for flaw in verdict.flaws[1:]:
            say(flaw)
        if verdict.not_scored:
            say(f"Not scored: {verdict.not_scored:,} answers, left out on both sides.")
        if len(verdict.scorers) > 1:
            say(f"Scored by {listed([*verdict.scorers])}: the difference may be theirs.")
        if verdict.noise_floor is not None:
            say(f"Two runs of one route differ by up to {100 * verdict.noise_floor:.1f} points.")


@app.command()
def gate(
    before: Annotated[str, typer.Argument(help="Evaluation before the change.", metavar="BEFORE")],
    after: Annotated[str, typer.Argument(help="The same items after it.", metavar="AFTER")],
    margin: Margin,
    route: Annotated[
        str | None, typer.Option(help="The route, where they have several.", metavar="ROUTE")
    ] = None,
    protected: Protected = [],  # noqa: B006
    accepted_from: AcceptedFrom = None,
    as_json: AsJson = False,
) -> None:
    """Let a change of a prompt or a model pass only where it is shown to keep the margin.

    In a test: `assert gate("before.jsonl", "after.jsonl", margin_share=0.03).passes`, with
    `from llmstudy.evals.verdict import gate`.

    Exit codes: 0 it passes; 2 a file cannot be read, or its items cannot be paired; 3 it does not
    pass.

    JSON: `{passes, sentence, difference, low, high, margin, pass_mark, discordance, n, n_needed,
    slices: [as compare], flaws}`.
    """
    with mistakes(as_json):
        from llmstudy.evals.verdict import gate as gated

        result = gated(Path(before), Path(after), margin, route, protected, accepted_from)
    if as_json:
        overall, *slices = map(_part, result.parts)
        summary = {"passes": result.passes, "sentence": result.sentence, **overall}
        print_json({**summary, "slices": slices, "flaws": result.flaws})
    else:
        typer.echo(printable(f"{'PASSES' if result.passes else 'FAILS'}: {result.sentence}."))
    if not result.passes:
        raise typer.Exit(FINDINGS)


def _document(verdict: "Verdict") -> dict[str, Any]:
    overall, *slices = map(_part, verdict.parts)
    part = verdict.parts[0]
    return {
        "workload": verdict.workload,
        "baseline": verdict.baseline,
        "candidate": verdict.candidate,
        "sentence": verdict.sentence,
        **overall,
        "verdict": verdict.action,
        "n_independent": part.items.counts.n,
        "more_items": verdict.more_items,
        "looks": verdict.looks,
        "alpha": part.test.alpha,
        "noise_floor": verdict.noise_floor,
        "usd_per_accepted": verdict.costs,
        "slices": slices,
        "flaws": verdict.flaws,
        "not_scored": verdict.not_scored,
        "scorers": verdict.scorers,
        "anytime": verdict.anytime
        and {**asdict(verdict.anytime), "verdict": verdict.anytime.verdict},
    }


def _part(part: "Part") -> dict[str, Any]:
    interval, counts = part.test.difference, part.items.counts
    return {
        "slice": part.slice or None,
        "protected": part.protected,
        "verdict": part.test.verdict,
        "difference": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "margin": part.test.margin_share,
        "pass_mark": part.pass_mark,
        "discordance": counts.discordance_share,
        "n": part.items.items,
        "n_needed": part.test.n_needed,
    }


def _line(part: "Part") -> str:
    d = part.test.difference
    return (
        f"{part.test.verdict}, {100 * d.estimate:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}] "
        f"points on {part.items}"
    )
