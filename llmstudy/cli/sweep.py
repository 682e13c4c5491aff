"""`llmstudy sweep`: runs many studies and compares them on one page."""

from pathlib import Path
from typing import Annotated

import typer

from llmstudy.cli.terminal import AsJson, Fresh, OutFolder, mistakes, print_json, say


def sweep(
    studies: Annotated[list[Path], typer.Argument(help="The study files.", metavar="STUDY...")],
    out: OutFolder = None,
    memos: Annotated[
        bool,
        typer.Option(
            "--memos/--no-memos",
            metavar="",
            help="Write a run with a memo for every study and link to it; or only compute the "
            "same figures, about ten times faster.",
        ),
    ] = True,
    fresh: Fresh = False,
    as_json: AsJson = False,
) -> None:
    """Run many studies and compare them on one page.

    The page has a row per study: its verdict, this month's bill, what staying costs, what moves
    save or better evidence could save, which triggers fired, what to collect first, and a link to
    its memo. Amounts are added up only where that is valid. It appears whole as
    `DIR/portfolio-ID/`, with `portfolio.html`, `portfolio.csv` and `portfolio.json`, beside the
    runs of the studies. The last line on stdout is the page's path.

    Studies run side by side on this machine's cores; stderr has a line for each that has ended. A
    run takes unchanged chapters from earlier runs, as `llmstudy run` does, unless `--fresh` is
    given. On a cluster, call `llmstudy.run.sweep.sweep` under `joblib.parallel_config("dask")`,
    with a folder that all workers share.

    Exit codes: 0 done; 1 a study failed: its row says why, and the others are there; 2 a study file
    cannot be used, and nothing was run.

    ```
    llmstudy sweep studies/*.yaml
    llmstudy sweep studies/*.yaml --out /srv/studies --json
    llmstudy sweep studies/*.yaml --fresh
    llmstudy sweep studies/*.yaml --no-memos
    ```

    JSON: `{portfolio, studies: [{study, company, question, as_of, horizon_months, overall,
    confidence, evidence, workloads: [{workload, decision, route, target, forced}], month_usd,
    stay_usd: {p10, p50, p90}, saving_usd, at_stake_usd, unbilled, runs_fleets,
    fired: [{id, name, workload}], collect_first, memo, error}],
    totals: {month_usd, stay_usd, saving_usd, at_stake_usd, why_not}}`; the other amounts over the
    horizon have the form of `stay_usd`, or are null where there is none.
    """
    with mistakes(as_json):
        import joblib

        from llmstudy.run import sweep as portfolios
        from llmstudy.run.chapters import AT_ONCE

        portfolios.planned(studies)  # a fault is reported before any study runs
        cores = joblib.cpu_count()
        at_once = max(1, cores // AT_ONCE) if memos else cores  # a run has AT_ONCE processes
        if len(studies) > 1:
            say(f"{len(studies)} studies, {min(at_once, len(studies))} at a time.")
        with joblib.parallel_config("loky", n_jobs=at_once):
            portfolio = portfolios.sweep(studies, out, memos, fresh=fresh)
    for row in portfolio.failures:
        say(f"{row.study} failed: {row.error}")
    if as_json:
        print_json(
            {
                "portfolio": portfolio.paths["portfolio"],
                "studies": portfolio.rows,
                "totals": portfolio.totals,
            }
        )
    else:
        typer.echo(portfolio.paths["portfolio"])
    raise typer.Exit(1 if portfolio.failures else 0)
