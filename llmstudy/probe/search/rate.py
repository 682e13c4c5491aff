"""Searches a real endpoint for the highest rate within an SLO; every step is an audited run."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from llmstudy.probe.audit import Audit, audit
from llmstudy.probe.design import announce, opened, plan_of, run
from llmstudy.probe.endpoint import Endpoint
from llmstudy.probe.load import Progress
from llmstudy.probe.metrics import metrics
from llmstudy.probe.options import SLO, Billing, Limits, Load, Prompts, Rates, built, takes
from llmstudy.probe.report import rows_of
from llmstudy.probe.result import Probe, probe_of
from llmstudy.probe.run import AT_SPEND_CAP, Run
from llmstudy.probe.search.goodput import EndOfSearch, max_goodput
from llmstudy.probe.search.knee import knee, load_point
from llmstudy.probe.spend import checks_usd, token_price

FIRST_LOOK, LONGEST_LOOK = 100, 3200
"""Requests of the first run at a rate, and of all at one rate."""


@takes(Endpoint, SLO, Rates, Prompts, Limits, Billing)
def search_rate(
    url: str,
    model: str,
    *,
    out: Path | str | None = None,
    say: Callable[[str], None] = print,
    on_progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Probe:
    """Finds the highest rate of Poisson arrivals at which enough requests are good.

    A request is good when it meets every limit, timed from its scheduled time. Rates are doubled
    until one fails, then bisected; each step goes on until its interval separates passing from
    failing. An invalid step ends the search, and so does the spend cap: the steps so far are then
    the result.

    url, model, out, say, on_progress: as `probe_endpoint`.

    Returns: one point per run, those of one rate being looks at it; in `report`: `passing_per_s`,
    `failing_per_s`, `goodput_per_s`, `stopped`, `steps`, `knee`, as `search.Goodput` and `Knee`.
    Raises: ValueError as `probe_endpoint`, at the first step.

    >>> probe = search_rate("http://localhost:8000/v1", "llama", ttft_s=1.0, input_tokens=1200,
    ...                     output_tokens=200)  # doctest: +SKIP
    >>> probe.report["passing_per_s"]  # doctest: +SKIP
    """
    kinds = (Endpoint, SLO, Rates, Prompts, Limits, Billing)
    values = {"max_errors": None, "base_url": url.rstrip("/"), "model": model, **options}
    endpoint, slo, rates, prompts, limits, billing = built(kinds, values)
    price = token_price(endpoint, billing)
    load = opened(Load(**vars(prompts), rate_per_s=rates.low_per_s, requests=rates.max_requests))
    announce(load, price, limits, say)
    folder = None if out is None else Path(out)
    runs: list[Run] = []
    audits: list[Audit] = []
    invalid: list[str] = []

    def measure(rate: float, n: int) -> Run:
        step = replace(load, rate_per_s=rate, requests=n, seed=load.seed + len(runs))
        left_usd = limits.max_spend_usd
        if left_usd is not None and runs:
            left_usd -= sum(each.facts["spend"]["spent_usd"] for each in runs)
            at_cap = runs[-1].facts["ended"] == AT_SPEND_CAP
            if at_cap or left_usd <= checks_usd(plan_of(step), price):
                raise EndOfSearch("spend cap")
        say(f"{rate:.3g} requests/s, {n} requests")
        place = None if folder is None else folder / f"step-{len(runs):02d}"
        here = f"the step at {rate:.3g} requests/s"
        try:
            limits_left = replace(limits, max_spend_usd=left_usd)
            step_run = run(endpoint, step, limits_left, price, place, on_progress=on_progress)
        except ValueError as error:
            if not runs:
                raise
            invalid.append(f"{here}: {error}")
            raise EndOfSearch("invalid step") from error
        judgement = audit(step_run)
        if judgement.reasons and step_run.facts["ended"] == AT_SPEND_CAP:
            raise EndOfSearch("spend cap")  # too few were sent to be judged
        if judgement.reasons:
            invalid.extend(f"{here}: {why}" for why in judgement.reasons)
            raise EndOfSearch("invalid step")
        runs.append(step_run)
        audits.append(judgement)
        return step_run

    longest = min(LONGEST_LOOK, rates.max_requests)
    sizes = {"n_first": FIRST_LOOK, "n_cap": longest, "max_requests": rates.max_requests}
    goodput = max_goodput(
        measure, slo, rates.low_per_s, rates.high_per_s, rates.resolution_share, **sizes
    )
    best = [each for each in runs if each.facts["load"]["rate_per_s"] == goodput.passing_per_s]
    report = {
        **{name: value for name, value in vars(goodput).items() if name != "steps"},
        "steps": rows_of(goodput.steps),
        "knee": _knee(runs),
        "audit": {"valid": not invalid, "reasons": invalid},
        "metrics": metrics(best[-1]) if best else None,
        "runs": None if folder is None else str(folder),
    }
    probe = probe_of(runs, folder, audits, report)
    return replace(probe, audit=Audit(not invalid, tuple(invalid), probe.audit.checks))


def _knee(runs: list[Run]) -> dict[str, Any] | None:
    """The knee of the steps; None where they are too few, or too short, for one."""
    complete = [each for each in runs if each.facts["ended"] == "complete"]
    if not complete:
        return None
    try:
        points = [load_point(each.facts["load"]["rate_per_s"], each) for each in complete]
        return asdict(knee(pd.DataFrame(points)))
    except ValueError:
        return None
