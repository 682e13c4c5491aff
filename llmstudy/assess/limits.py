"""Chapter 02: when does the traffic reach the rate limit of a route, and what to do before it does?

A limit excludes no route: providers raise it on request. One that a study does not state is said
not to be known, and never passes for one that holds.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from llmstudy import limits
from llmstudy import uncertainty as mc
from llmstudy.assess.case import Case, contenders, covers_week, rows_of
from llmstudy.assess.market import futures_of, inputs, spread
from llmstudy.capacity.sizing import Burstiness, burstiness_of, published_burstiness
from llmstudy.decision import Collect, Reason
from llmstudy.figure import FloatArray
from llmstudy.study import ApiRoute
from llmstudy.text import count, share
from llmstudy.units import HOURS_PER_MONTH

NOT_STATED = "not stated"


def rate_limit_rows(case: Case) -> list[dict[str, Any]]:
    """The busiest minute of each workload on each API route against what the route lets through.

    A route carries what it carries today and the workload, all of it, as if they had their peaks
    together. No rows where no route of the study states a limit.

    Rows: workload, route, counted (requests, tokens, or "not stated": the rest is null), per_minute
    (what is let through), busiest_p10, busiest_p50, busiest_p90 (a minute, today), p_reached_today,
    from_month_p10, from_month_p50, from_month_p90 (month, from 1, in which it is reached; null: not
    within the horizon), beside (other workloads on the route).
    """
    routes = case.study.routes
    if not any(isinstance(spec, ApiRoute) and spec.rate_limit for spec in routes.values()):
        return []
    return [
        row
        for name, known in contenders(case.study).items()
        for route in known
        for row in _rows(case, name, route)
    ]


def _rows(case: Case, name: str, route: str) -> list[dict[str, Any]]:
    study, spec = case.study, case.study.routes[route]
    if not isinstance(spec, ApiRoute):
        return []
    beside = [n for n, w in study.workloads.items() if w.current_route == route and n != name]
    about = {"workload": name, "route": route}
    if spec.rate_limit is None:
        nothing = ("per_minute", *_keys("busiest"), "p_reached_today", *_keys("from_month"))
        return [about | {"counted": NOT_STATED} | dict.fromkeys(nothing) | {"beside": ""}]
    stated = {
        "requests": spec.rate_limit.requests_per_minute,
        "tokens": spec.rate_limit.tokens_per_minute,
    }
    rows = []
    for counted, limit in stated.items():
        if limit is None:
            continue
        asked = sum(_busiest(case, each, route, counted) for each in (name, *beside))
        assert isinstance(asked, np.ndarray)
        months = mc.band(limits.reached_from(asked, limit.value))
        rows.append(
            about
            | {"counted": counted, "per_minute": limit.value}
            | {f"busiest_{end}": x for end, x in spread(asked[:, 0]).items()}
            | {"p_reached_today": float((asked[:, 0] >= limit.value).mean())}
            | dict(zip(_keys("from_month"), months, strict=True))
            | {"beside": ", ".join(beside)}
        )
    return rows


def _keys(of: str) -> list[str]:
    return [f"{of}_{end}" for end in ("p10", "p50", "p90")]


def _busiest(case: Case, name: str, route: str, counted: str) -> FloatArray:
    """What the busiest minute of each month asks of a route for a workload. (n, months)."""
    study = case.study
    d = futures_of(study, name, inputs(study, name, route, None))
    months, bursts = study.months, _bursts(case, name)
    sent = mc.volumes(d, months) * (1 + d["retry_share"][:, None])
    per_minute = sent * d["peak_to_mean"][:, None] / (HOURS_PER_MONTH * 60)
    size, size_cv = np.ones_like(per_minute), 0.0
    if counted == "tokens":
        prompts = (d["input_tokens"] * d["tokenizer"])[:, None] * mc.prompt_lengths(d, months)
        size = prompts + mc.answer_tokens(d)[:, None]
        rows = case.traffic.of(name)
        tokens = (rows["input_tokens"] + rows["output_tokens"]).to_numpy(dtype=float)
        size_cv = float(tokens.std() / tokens.mean()) if tokens.mean() else 0.0
    burst_cv = limits.minute_cv(bursts.cv_10min, bursts.cv_10s)
    return limits.busiest_minute(per_minute, size, size_cv, burst_cv)


def _bursts(case: Case, name: str) -> Burstiness:
    """The log's own where it covers a week, else those of the published shape."""
    if not covers_week(case, name):
        return published_burstiness(case.study.workloads[name].traffic.hours)
    times = case.traffic.of(name)["ts_start"]
    return burstiness_of((times - times.min().floor("h")).dt.total_seconds().to_numpy())


# --- what the verdict says of it ----------------------------------------------------------------


def higher_tiers(
    rows: Iterable[Mapping[str, Any]], name: str, routes: Iterable[str | None]
) -> list[tuple[Collect, Reason]]:
    """What to ask for, and why, where the busiest minute may outgrow a route of the verdict.

    rows: as `rate_limit_rows`. Of a route's limits the one that is reached first counts, in the
    tenth of the draws that reach it first. No limit stated: nothing is said.
    """
    found = []
    for route in dict.fromkeys(route for route in routes if route):
        reached = [
            row
            for row in rows_of(rows, workload=name, route=route)
            if row["from_month_p10"] is not None
        ]
        if not reached:
            continue
        row = min(reached, key=lambda row: (row["from_month_p10"], -_asked(row)))
        month = int(row["from_month_p10"])
        ask = f"{route}: ask for a higher tier {'now' if month == 1 else f'before month {month}'}"
        said = (
            f"{route}: its busiest minute asks for {share(_asked(row))} of the "
            f"{count(row['per_minute'])} {row['counted']} a minute that are let through"
        )
        if month > 1:
            said += f", and may ask for all of them in month {month}"
        found.append((Collect("rate limit", None, None, ask), Reason("rate limit", route, said)))
    return found


def _asked(row: Mapping[str, Any]) -> float:
    return float(row["busiest_p50"] / row["per_minute"])
