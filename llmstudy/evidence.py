"""What is known for a study: its traffic, what each route charges, and the ledger of figures.

This is where a study's names meet the tables: a log is read or traffic drawn, every request is
priced singly on every route, and each self-hosted route is sized from measured serving points.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from math import hypot, log
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from llmstudy import capacity, prices, rent
from llmstudy.cost import TokenPrice, token_price
from llmstudy.figure import Distribution, Figure, Grade
from llmstudy.output_tokens import as_answered_by
from llmstudy.probed import probe_findings
from llmstudy.requests import importers, plausible, summary, traffic
from llmstudy.study import ApiRoute, SelfHostedRoute, Study, Workload, bundled_figures
from llmstudy.text import listed, share
from llmstudy.uncertainty import Fleet

DRAWN_REQUESTS = 2000
"""Requests drawn per workload without a log: the mean bill is then within 2 % of the mix's own."""

MOST_LOST_SHARE = 0.05
"""Share of a log's rows, or of their tokens, that may be unusable before the rest misleads."""

FEWEST_FOR_A_RANGE = 100
"""Requests of a workload below which the range of its mean tokens is the study's, not the log's."""


@dataclass(frozen=True)
class Traffic:
    """The requests that a study rests on. `simulated` names the workloads that were drawn.

    quarantined: `row` and `reason` of each row set aside, with nothing of its text: that could be
    anything, and results are handed on. rows_lost: those of them whose request is in no other row.
    set_aside: what they are and do, in a sentence, if there are any. warnings: what the log cannot
    tell, and what looks wrong in it.
    """

    requests: pd.DataFrame
    quarantined: pd.DataFrame
    rows_read: int
    summary: pd.DataFrame
    simulated: tuple[str, ...]
    warnings: tuple[str, ...]
    rows_lost: int = 0
    set_aside: tuple[str, ...] = ()

    @property
    def lost_share(self) -> float:
        """Requests in unusable rows against those in usable ones."""
        usable = self.rows_read - len(self.quarantined)
        return self.rows_lost / usable if usable else 0.0

    def of(self, workload: str) -> pd.DataFrame:
        """The requests of one workload."""
        return self.requests.loc[self.requests["workload"] == workload]


def traffic_of(study: Study) -> Traffic:
    """The study's log where it names one, and requests drawn from published shapes elsewhere.

    Raises: ValueError if the log cannot be read, holds no usable row or too many unusable ones,
    sums requests up in buckets, or names a workload that the study lacks.
    """
    log_ = _log(study)
    logged = log_.accepted
    present = set(logged["workload"].unique()) if len(logged) else set()
    if strange := present - set(study.workloads):
        raise ValueError(
            f"{study.requests.path if study.requests else ''}: the log holds the workload "
            f"{sorted(strange)[0]!r}, which is not under workloads: {', '.join(study.workloads)}."
        )
    missing = [name for name in study.workloads if name not in present]
    drawn = [_drawn(study, name) for name in missing]
    requests = pd.concat([*([logged] if len(logged) else []), *drawn], ignore_index=True)
    measured = summary.summarise(logged) if len(logged) else pd.DataFrame()
    warnings = (
        (
            *summary.sufficiency(measured),
            *_thinness(measured),
            *plausible.doubts(logged),
            *_substitutes(study, logged),
        )
        if len(measured)
        else ()
    )
    return Traffic(
        requests=requests,
        quarantined=log_.quarantined[["row", "reason"]],
        rows_read=log_.rows_read,
        summary=measured,
        simulated=tuple(missing),
        warnings=(*warnings, *_undated(measured, study.as_of)),
        rows_lost=len(log_.lost),
        set_aside=_set_aside(log_),
    )


def _log(study: Study) -> importers.Log:
    if study.requests is None:
        return importers.Log(pd.DataFrame(), pd.DataFrame(columns=["row", "reason"]), 0)
    log_ = study.requests
    given = {
        "workload": log_.workload,
        "provider": log_.provider,
        "model_served": log_.model,
    }
    constants = {name: value for name, value in given.items() if value is not None}
    longest = max(int(route.context_tokens.value) for route in study.routes.values())
    read = importers.read_log(log_.path, log_.format, log_.columns, constants, longest)
    # a reason quotes the cell that it is about: "input_tokens is 'many', not a whole number"
    reasons = read.quarantined["reason"].astype(str)
    reasons = reasons.str.replace(r"(?s) is '.*', not ", " is not ", regex=True)
    read = replace(read, quarantined=read.quarantined.assign(reason=reasons))
    if fault := _unusable(read, longest) or plausible.bucket(read.accepted):
        raise ValueError(f"{log_.path}: {fault}")
    return read


def _unusable(read: importers.Log, longest_tokens: int) -> str | None:
    """Why the log cannot stand for its requests; None if it can.

    longest_tokens: more of them in an unusable row are no measure of what is lost.
    """
    if not read.rows_read:
        return "the log holds no rows; give one with requests, or leave `requests` out."
    lost = read.lost
    cure = "mend the rows, or declare under `requests.columns` which column holds what."
    if read.accepted.empty:
        often = read.quarantined["reason"].value_counts().index[0]
        return (
            f"none of the {read.rows_read:,} rows of the log can be used, most often because "
            f"{often}; {cure}"
        )
    used_tokens = read.accepted[["input_tokens", "output_tokens"]].to_numpy().sum()
    tokens = lost["tokens"][lost["tokens"].between(0, longest_tokens)].sum()
    shares = {
        "rows": len(lost) / read.rows_read,
        "tokens": float(tokens / (used_tokens + tokens)) if tokens else 0.0,
    }
    what, part = max(shares.items(), key=lambda item: item[1])
    if part <= MOST_LOST_SHARE:
        return None
    reasons = lost["reason"].value_counts()
    return (
        f"{len(lost):,} of the {read.rows_read:,} rows of the log, {share(part)} of its {what}, "
        f"cannot be used, most often ({reasons.iloc[0]:,}) because {reasons.index[0]}; above "
        f"{share(MOST_LOST_SHARE)} the others mislead: {cure}"
    )


def _set_aside(read: importers.Log) -> tuple[str, ...]:
    """What became of the rows that no request of the study stands on, in a sentence."""
    if read.quarantined.empty:
        return ()
    reasons = (
        read.quarantined["reason"]
        .value_counts()
        .sort_index()
        .sort_values(ascending=False, kind="stable")
    )
    why = listed([f"{n:,} because {reason}" for reason, n in reasons.head(3).items()])
    n, usable = len(read.lost), len(read.accepted)
    more = f"; the volume may be {share(n / usable)} higher for them" if n else ""
    return (
        f"Set aside: {len(read.quarantined):,} of {read.rows_read:,} rows of the log, {why}{more}.",
    )


def _undated(measured: pd.DataFrame, as_of: date) -> list[str]:
    """A log that goes on after the day at which the study is judged."""
    last = measured["last"].max().date() if len(measured) else as_of
    if last <= as_of:
        return []
    return [
        f"The log goes on to {last}, after the study's own date {as_of}: set `as_of` to the day at "
        "which the study is judged, or check the log's clock."
    ]


def _drawn(study: Study, name: str) -> pd.DataFrame:
    workload = study.workloads[name]
    route = study.routes[workload.current_route]
    rng = np.random.default_rng([study.seed, *name.encode()])
    return traffic.draw_requests(
        mix=traffic.token_mix(workload.traffic.tokens),
        shape=traffic.hourly_shape(workload.traffic.hours),
        n=DRAWN_REQUESTS,
        start=pd.Timestamp(study.as_of, tz="UTC"),
        input_tokens_mean=workload.intake.input_tokens.value,
        output_tokens_mean=workload.intake.output_tokens.value,
        cached_input_share=workload.cached_input_share.value,
        workload=name,
        provider=route.provider if isinstance(route, ApiRoute) else route.host,
        model=route.model,
        rng=rng,
    )


def measured(study: Study, found: Traffic) -> Study:
    """The study with the log's own figures in place of its assumptions, where there is a log.

    Tokens and volume become measured, and so does what the log shows of caching and retries, at the
    day on which the log ends. A log shorter than a week saw unknown hours of it, so its volume
    keeps a range as wide as the study's weekly shape allows; unusable rows widen it upwards, holes
    in the log downwards. The model that answered most of it is the one whose output tokens were
    counted. Of too few requests only the mean is taken: the range stays the study's own, widened to
    hold it.
    """
    if found.summary.empty:
        return study
    workloads = dict(study.workloads)
    for _, row in found.summary.iterrows():
        name = str(row["workload"])
        workload = _with_log(workloads[name], row, found.lost_share)
        answered_by = _answered_by(study, workload, found.of(name)) or workload.answered_by
        workloads[name] = workload.model_copy(update={"answered_by": answered_by})
    return study.model_copy(update={"workloads": workloads})


def _answered_by(study: Study, workload: Workload, requests: pd.DataFrame) -> str | None:
    """The listed model that answered most of a workload's log, where it is not today's route's."""
    route = study.routes[workload.current_route]
    for key, rows in requests.groupby(["provider", "model_served"]):
        provider, model = map(str, key)
        if isinstance(route, ApiRoute) and len(rows) > len(requests) / 2:
            other = _other_model(route, provider, model, study.as_of)
            return other.model if other else None
    return None


def _with_log(workload: Workload, row: "pd.Series[Any]", lost_share: float) -> Workload:
    source = f"log: {int(row['requests']):,} requests in {row['span_h']:.1f} h"
    as_of = row["last"].date()

    def tokens(side: str, assumed: Figure) -> Figure:
        mean, low, high = (max(1.0, x) for x in row[_mean_columns(side)])
        said = source
        if _is_thin(row):
            own = [x for x in (assumed.value, assumed.low, assumed.high) if x is not None]
            low, high = min(mean, *own), max(mean, *own)
            said = f"{source}, too few for a range: the study's own"
        unit = "tokens/request"
        return Figure("", mean, unit, low, high, "triangular", "measured", said, as_of)

    updates = {
        "input_tokens": tokens("input", workload.intake.input_tokens),
        "output_tokens": tokens("output", workload.intake.output_tokens),
    }
    if np.isfinite(row["requests_per_month"]):
        updates["requests"] = _measured_volume(workload, row, lost_share, source, as_of)
    if row["covers_week"]:
        updates["peak_to_mean"] = Figure(
            "", row["peak_to_mean_hour"], "factor", grade="measured", source=source, as_of=as_of
        )
    found: dict[str, Any] = {"intake": workload.intake.model_copy(update=updates)}
    for share_ in ("cached_input_share", "retry_share"):
        if pd.notna(row[share_]):
            found[share_] = Figure(
                "", float(row[share_]), "share", grade="measured", source=source, as_of=as_of
            )
    return workload.model_copy(update=found)


def _mean_columns(side: str) -> list[str]:
    return [f"{side}_tokens_mean", f"{side}_tokens_mean_low", f"{side}_tokens_mean_high"]


def _is_thin(row: "pd.Series[Any]") -> bool:
    """Whether the log of a workload is too small for a range of its mean tokens."""
    ends = row[[*_mean_columns("input"), *_mean_columns("output")]].astype(float)
    return bool(row["requests"] < FEWEST_FOR_A_RANGE or not np.isfinite(ends).all())


def _thinness(measured: pd.DataFrame) -> list[str]:
    """What a small log leaves to the study, a sentence for each workload of which that holds."""
    sentences = []
    for _, row in measured.iterrows():
        if _is_thin(row):
            n, rated = int(row["requests"]), np.isfinite(row["requests_per_month"])
            sentences.append(
                f"The log holds too little of {row['workload']} (requests: {n:,}): only their mean "
                f"tokens are used, with the study's own range{'' if rated else ' and volume'}; log "
                f"at least {FEWEST_FOR_A_RANGE} over a week."
            )
    return sentences


def _measured_volume(
    workload: Workload, row: "pd.Series[Any]", lost_share: float, source: str, as_of: date
) -> Figure:
    rate = row["requests_per_month"]
    low, high = rate * (1 - row["hole_share"]), rate * (1 + lost_share)
    if not row["covers_week"]:
        shape = traffic.hourly_shape(workload.traffic.hours)["relative_to_mean"]
        low, high = low / shape.quantile(0.9), high / shape.quantile(0.1)
        source += f", its hours of the week unknown: scaled by {workload.traffic.hours}"
    unit = "requests/month"
    if low == high:
        return Figure("", rate, unit, grade="measured", source=source, as_of=as_of)
    kind: Distribution = "triangular" if row["covers_week"] else "lognormal"
    return Figure("", rate, unit, low, high, kind, "measured", source, as_of)


# --- what a route charges -------------------------------------------------------------------


def token_offer(study: Study, route_name: str, requests: pd.DataFrame) -> TokenPrice:
    """What an API route charges for these requests, today and after each scheduled change.

    Raises: PriceError for a price that cannot be given without guessing.
    """
    route = study.routes[route_name]
    assert isinstance(route, ApiRoute)
    tokens = requests.assign(cache_write_tokens=0)
    uncached = tokens.assign(cached_input_tokens=0)
    cached = tokens.assign(cached_input_tokens=tokens["input_tokens"])
    written = uncached.assign(cache_write_tokens=tokens["input_tokens"])
    return token_price(
        route.arm,
        requests,
        billed(study, route_name, uncached, study.as_of),
        billed(study, route_name, cached, study.as_of),
        billed(study, route_name, written, study.as_of),
        _month_factors(study, scheduled_prices(study, route_name, requests)),
        _context_factors(study, route_name, uncached),
    )


def billed(study: Study, route_name: str, requests: pd.DataFrame, on: date) -> pd.DataFrame:
    """The bill of each request on a route: input_usd, output_usd, by the model that answers it."""
    parts = _by_model(study, route_name, requests)
    bills = [priced(route, requests.loc[index], on) for route, index in parts]
    return pd.concat(bills).reindex(requests.index)


def _by_model(
    study: Study, route_name: str, requests: pd.DataFrame
) -> list[tuple[ApiRoute, "pd.Index[Any]"]]:
    """Which requests are billed as what: all as the route, but for those of today's log that
    another model answered, each at that model's list price where it has one."""
    route = study.routes[route_name]
    assert isinstance(route, ApiRoute)
    current = {name for name, w in study.workloads.items() if w.current_route == route_name}
    if "workload" not in requests or not current:
        return [(route, requests.index)]
    logged = requests[requests["workload"].isin(current)]
    own, parts = requests.index, []
    for (provider, model), rows in logged.groupby(["provider", "model_served"]):
        other = _other_model(route, str(provider), str(model), study.as_of)
        if other is not None:
            own = own.difference(rows.index, sort=False)
            parts.append((other, rows.index))
    return [(route, own), *parts] if len(own) or not parts else parts


def _other_model(route: ApiRoute, provider: str, model: str, on: date) -> ApiRoute | None:
    """The route with another model that answered, if prices list it; None for its own model."""
    name = model.rpartition("/")[2]
    if prices.same_model(name, route.model):
        return None
    for seller in dict.fromkeys((provider, route.provider)):
        try:
            prices.check_listed(seller, name, on, route.tier)
        except prices.PriceError:
            continue
        return route.model_copy(update={"provider": seller, "model": name, "price": None})
    return None


def _substitutes(study: Study, logged: pd.DataFrame) -> list[str]:
    """Which models other than the route's answered a log's requests, and what they are billed."""
    sentences = []
    for name, own in logged.groupby("workload"):
        route = study.routes[study.workloads[str(name)].current_route]
        for key, rows in own.groupby(["provider", "model_served"]):
            provider, model = map(str, key)
            part = len(rows) / len(own)
            if part < plausible.DOUBTFUL_SHARE or prices.same_model(model, route.model):
                continue
            if not isinstance(route, ApiRoute):
                bill = "the fleet of today is sized for them all the same"
            elif _other_model(route, provider, model, study.as_of):
                bill = "they are billed at its list price, and candidates judged against the latter"
            else:
                bill = (
                    f"no price list has it, so they are billed as {route.model}; give the name of "
                    "the model in its place"
                )
            sentences.append(
                f"Of the requests of {name} {share(part)} were answered by {model}, not by "
                f"{route.model}: {bill}."
            )
    return sentences


def priced(route: ApiRoute, requests: pd.DataFrame, on: date) -> pd.DataFrame:
    """The bill of each request: input_usd, output_usd, with what its region costs."""
    premium = route.regional_premium.value if route.regional_premium else 1.0
    if route.price is None:
        billed = prices.price_requests(requests, route.provider, route.model, on, route.tier)
        return billed[["input_usd", "output_usd"]] * premium
    rates = route.price
    cached = requests["cached_input_tokens"]
    input_usd = (requests["input_tokens"] - cached) * rates.input.value
    return pd.DataFrame(
        {
            "input_usd": (input_usd + cached * rates.cached_input.value) / 1e6 * premium,
            "output_usd": requests["output_tokens"] * rates.output.value / 1e6 * premium,
        }
    )


def scheduled_prices(
    study: Study, route_name: str, requests: pd.DataFrame
) -> list[tuple[date, float]]:
    """Days within the horizon on which a route's price changes, as announced, and its price from
    then on over today's, for this mix of tokens and models, none of them cached."""
    uncached = requests.assign(cached_input_tokens=0, cache_write_tokens=0)
    until = month_start(study.as_of, study.months)
    days = {
        day
        for route, _ in _by_model(study, route_name, requests)
        if route.price is None
        for day in prices.scheduled_changes(
            route.provider, route.model, study.as_of, until, route.tier
        )["effective"]
    }
    if not days:
        return []

    def bill(on: date) -> float:
        return float(billed(study, route_name, uncached, on).sum().sum())

    today = bill(study.as_of)
    return [(day, bill(day) / today) for day in sorted(days)]


def _month_factors(study: Study, steps: list[tuple[date, float]]) -> tuple[float, ...]:
    """Price of each month over today's, by the days before and after a change that falls in it; and
    that of all months after the horizon."""
    grid = [month_start(study.as_of, m) for m in range(study.months + 1)]
    within = [
        sum(_last(steps, begins + timedelta(days=day)) for day in range((ends - begins).days))
        / (ends - begins).days
        for begins, ends in pairwise(grid)
    ]
    return (*within, _last(steps, grid[-1]))


_LENGTHS = (0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Lengths of a prompt over today's at which a model with price thresholds is priced."""


def _context_factors(
    study: Study, route_name: str, requests: pd.DataFrame
) -> tuple[tuple[float, float, float], ...]:
    """What longer prompts cost a token, as `TokenPrice.context_factors`; none without tiers."""
    listed = [r for r, _ in _by_model(study, route_name, requests) if r.price is None]
    rates = (prices.rate(r.provider, r.model, study.as_of, r.tier) for r in listed)
    if not any(rate.has_context_tiers for rate in rates):
        return ()

    def bill(longer: float) -> "pd.Series[float]":
        prompts = (requests["input_tokens"] * longer).round().astype("int64")
        usd = billed(study, route_name, requests.assign(input_tokens=prompts), study.as_of).sum()
        return usd / pd.Series({"input_usd": prompts.sum(), "output_usd": 1})

    today = bill(1.0).replace(0, np.nan)
    factors = {longer: (bill(longer) / today).fillna(1.0) for longer in _LENGTHS}
    return tuple((longer, float(f.iloc[0]), float(f.iloc[1])) for longer, f in factors.items())


def _last(steps: Iterable[tuple[date, float]], on: date) -> float:
    value = 1.0
    for day, factor in steps:
        if day <= on:
            value = factor
    return value


def month_start(as_of: date, months: int) -> date:
    """The same day of the month, some months on (the last day where a month is shorter).

    >>> month_start(date(2026, 11, 30), 3)
    datetime.date(2027, 2, 28)
    """
    return (pd.Timestamp(as_of) + pd.DateOffset(months=months)).date()


def months_until(as_of: date, day: date) -> float:
    """Months from a day to a later one, its part of the last month by days; 0 once it is past.

    >>> months_until(date(2026, 11, 23), date(2026, 12, 8))
    0.5
    """
    whole = 12 * (day.year - as_of.year) + day.month - as_of.month
    whole -= month_start(as_of, whole) > day
    begins, ends = month_start(as_of, whole), month_start(as_of, whole + 1)
    return max(whole + (day - begins) / (ends - begins), 0.0)


@dataclass(frozen=True)
class FleetOffer:
    """A self-hosted route sized for a workload: what a replica carries and costs, with ranges.

    target_utilisation: how full the fleet may be in its busiest hour, a bundled assumption until
    a replay of the workload's traffic takes its place.
    """

    fleet: Fleet
    capacity_factor: Figure
    usd_per_gpu_hour: Figure
    target_utilisation: Figure


_CACHED_SHARES = tuple(tenths / 10 for tenths in range(11))
"""Cached shares of the input at which a fleet is solved, beside the study's own."""


def fleet_offer(
    study: Study, workload: Workload, route: SelfHostedRoute, fits: pd.DataFrame
) -> tuple[FleetOffer, capacity.Capacity]:
    """What one replica of a self-hosted route carries within a workload's SLO, and its GPUs' hour.

    Its answers are as long as its own model's (`output_tokens`).

    Returns the offer, and the operating point that it was solved at.

    fits: as `capacity.serving_fits()`, for the error of the curve.
    Raises: capacity.CannotServe if the model does not fit its GPUs or cannot meet the SLO at all;
    ValueError for a model, GPU, precision, engine or host of which nothing is known.
    """
    curve, drawn = _curve_within_prior(route)
    workload = as_answered_by(study, workload, route)
    tokens_in, tokens_out = workload.intake.input_tokens.value, workload.intake.output_tokens.value

    tpot_s, ttft_s = workload.slo.tpot_p95.value, workload.slo.ttft_p95.value
    size, cached = route.tensor_parallel, workload.cached_input_share.value
    # the first token of a prompt that nothing is cached of must be in time as well
    cold = capacity.capacity_at_slo(curve, tokens_in, tokens_out, tpot_s, size, ttft_s)

    def at(
        in_factor: float,
        out_factor: float,
        of: capacity.ServingCurve = curve,
        cached_share: float = cached,
    ) -> capacity.Capacity:
        lengths = (tokens_in * in_factor, tokens_out * out_factor)
        return capacity.capacity_at_slo(of, *lengths, tpot_s, size, cached_share=cached_share)

    centre = at(1, 1)
    # one spread to the better side only: on the other it might not serve at all
    better = [at(1, 1, of=capacity.one_spread_better(curve, name)) for name in drawn]
    rises = [log(found.requests_per_s / centre.requests_per_s) for found in better]
    shorter = 0.75  # only shorter: a longer request might not fit at all

    def elasticity(probe: capacity.Capacity) -> float:
        return log(probe.requests_per_s / centre.requests_per_s) / log(shorter)

    cached_shares = sorted({*_CACHED_SHARES, cached})
    by_cached = [at(1, 1, cached_share=part).requests_per_s for part in cached_shares]
    factors = [rate / centre.requests_per_s for rate in by_cached]

    offer = FleetOffer(
        fleet=Fleet(
            capacity_requests_per_s=centre.requests_per_s,
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            input_elasticity=elasticity(at(shorter, 1)),
            output_elasticity=elasticity(at(1, shorter)),
            gpus_per_replica=route.tensor_parallel,
            spare=study.self_hosting.spare_replicas,
            reserved_share=rent.reserved_share(route),
            reserved_price_share=prices.RESERVED_PRICE_SHARE.value,
            term_months=rent.term_months(route),
            capital_share=rent.capital_share(route),
            cached_factors=tuple(zip(cached_shares, factors, strict=True)),
        ),
        capacity_factor=_capacity_factor(
            route, curve, workload, centre, fits, dict(zip(drawn, rises, strict=True))
        ),
        usd_per_gpu_hour=rent.gpu_hour(route, study.self_hosting.spot_rerun.value),
        target_utilisation=bundled_figures()["self_hosting.target_utilisation"],
    )
    return offer, replace(centre, ttft_lower_bound_s=cold.ttft_lower_bound_s)


def fitted_curve(route: SelfHostedRoute) -> capacity.ServingCurve:
    """The curve fitted to all measured points of a route's model, GPU, precision and engine."""
    return capacity.fit_serving_curve(
        serving_points(route),
        capacity.model_shape(route.model),
        capacity.gpu(route.gpu),
        route.precision,
    )


def serving_curve(route: SelfHostedRoute) -> capacity.ServingCurve:
    """The curve that a route is sized by: `fitted_curve`, or what the other groups make of it.

    The latter where its points contradict them without determining a parameter
    (`capacity.within_prior`).
    """
    return _curve_within_prior(route)[0]


def _curve_within_prior(
    route: SelfHostedRoute,
) -> tuple[capacity.ServingCurve, tuple[str, ...]]:
    return capacity.within_prior(fitted_curve(route), serving_points(route))


def serving_points(route: SelfHostedRoute) -> pd.DataFrame:
    """The measured points of a route's model, GPU, precision and engine."""
    return capacity.serving_points(route.model, route.gpu, route.precision, route.engine_version)


def _capacity_factor(
    route: SelfHostedRoute,
    curve: capacity.ServingCurve,
    workload: Workload,
    found: capacity.Capacity,
    fits: pd.DataFrame,
    drawn: dict[str, float],
) -> Figure:
    """How far true capacity may lie from the curve's, as a factor.

    Inside the measured hull the held-out error; outside it wider, by how far outside; without a
    held-out error the error of an untested model (`capacity.scope`). drawn: what one spread of each
    parameter drawn from the prior adds to the logarithm of capacity.
    """
    group = ["model", "gpu", "precision", "engine_version"]
    wanted = [route.model, route.gpu, route.precision, route.engine_version]
    match = fits[(fits[group] == wanted).all(axis=1)]
    error = None if match.empty else float(match.iloc[0]["median_abs_error_share"])
    intake = workload.intake
    lengths = (intake.input_tokens.value, intake.output_tokens.value)
    seen = capacity.scope(
        curve,
        error,
        found.concurrency,
        *lengths,
        route.tensor_parallel,
        prior_error_share=float(ndtri(0.75)) * hypot(*drawn.values()),
    )
    grade: Grade = "assumed" if seen.outside or error is None or drawn else "published"
    why = seen.why
    if drawn:
        names = ", ".join(name.removesuffix("_s").replace("_", " ") for name in drawn)
        why += f"; drawn from other models, whom the points contradict without proof: {names}"
    return Figure("", 1.0, "factor", seen.low, seen.high, "lognormal", grade, why)


# --- findings and the ledger ----------------------------------------------------------------


def findings(study: Study) -> list[prices.Finding]:
    """What a reader must know of the prices used: ends of introductory rates, retirements, age.

    So, too, of the age of probe runs. Raises: ValueError as `probed.probes_of`.
    """
    until = month_start(study.as_of, study.months)
    found: list[prices.Finding] = []
    for route in study.routes.values():
        if isinstance(route, ApiRoute) and route.price is None:
            found += prices.price_findings(route.provider, route.model, study.as_of, until)
    table, listed = prices.gpu_prices(), _listed_rents(study)
    offers = zip(table["gpu"], table["provider"], table["commitment"], strict=True)
    paid = [offer in listed for offer in offers]
    # the spread is the market's; age and doubt concern only what is paid by the list
    rented = {
        r.gpu for r in study.routes.values() if isinstance(r, SelfHostedRoute) and r.rented_from
    }
    market = prices.gpu_price_findings(table[table["gpu"].isin(rented)], study.as_of)
    hosts = prices.gpu_price_findings(table[paid], study.as_of)
    found += [f for f in market if f.severity == "info"]
    found += [f for f in hosts if f.severity != "info"]
    found += probe_findings(study)
    return list(dict.fromkeys(found))


def _listed_rents(study: Study) -> set[tuple[str, str, str]]:
    """GPU, host and commitment of each hour that a route pays by the list, not by its own quote.

    What a reservation costs is a share of the same hour on demand.
    """
    found = set()
    for route in study.routes.values():
        if not isinstance(route, SelfHostedRoute) or route.rented_from is None:
            continue
        assert route.commitment is not None
        spot = route.commitment.spot.value
        if route.on_demand_quote is None and spot < 1:
            found.add((route.gpu, route.rented_from, "on_demand"))
        if spot:
            found.add((route.gpu, route.rented_from, "spot"))
    return found


def retires_within_horizon(study: Study, route_name: str) -> date | None:
    """The day on which a list-priced route's model retires, if the horizon reaches it."""
    route = study.routes[route_name]
    if not isinstance(route, ApiRoute) or route.price is not None:
        return None
    day = prices.retirement(route.provider, route.model)
    until = month_start(study.as_of, study.months)
    return day if day is not None and day <= until else None


def ledger(figures: dict[str, Figure]) -> pd.DataFrame:
    """The table of figures: name, value, low, high, unit, grade, source, as_of, expires."""
    rows = [{**figure.row(), "name": name} for name, figure in figures.items()]
    columns = ["name", "value", "low", "high", "unit", "grade", "source", "as_of", "expires"]
    return pd.DataFrame(rows, columns=columns)


def rate_figures(study: Study) -> dict[str, Figure]:
    """The list prices of every API route, as figures that expire with the next dated change."""
    found: dict[str, Figure] = {}
    for name, route in study.routes.items():
        if not isinstance(route, ApiRoute) or route.price is not None:
            continue
        rate = prices.rate(route.provider, route.model, study.as_of, route.tier)
        source = f"genai-prices {rate.package_version}, data {rate.data_sha256[:12]}"
        for part in ("input", "cached_input", "output"):
            value = getattr(rate, f"{part}_usd_per_mtok")
            found[f"routes.{name}.price.{part}"] = Figure(
                "",
                value,
                "USD/Mtok",
                grade="published",
                source=f"{source}, {rate.matched_id}",
                as_of=rate.on,
                expires=rate.expires,
            )
    return found
