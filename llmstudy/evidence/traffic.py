"""The requests that a study rests on: its log, or simulated ones where it has none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import prices
from llmstudy.figure import Distribution, Figure
from llmstudy.measures import summary
from llmstudy.requests import draw, plausible
from llmstudy.requests.log_table import LogTable, log_table
from llmstudy.requests.mapping import LogMapping
from llmstudy.requests.schema import UNKNOWN, by_workload, empty, of_workload, stacked, weights
from llmstudy.study import ApiRoute, Study, Workload
from llmstudy.text import listed, share

DRAWN_REQUESTS = 2000
"""Simulated requests per workload: their mean bill is within 2 % of that of the whole mix."""

MOST_LOST_SHARE = 0.05
"""Highest share of a log's rows, or of its tokens, that may be unusable."""

FEWEST_FOR_A_RANGE = 100
"""Least requests of a workload for a range of mean tokens from the log instead of the study's."""


@dataclass(frozen=True)
class Traffic:
    """The requests that a study rests on.

    logged: the requests of the log, in order of workload and time, each row a single one; empty
    without a log. simulated: workload without a log -> requests drawn for it. quarantined: `row`
    and `reason` of each row set aside, without its text, since results are shared and the text may
    be private. rows_lost: how many of them have a request that is in no other row. set_aside: a
    sentence on them, if there are any. per_row: requests that a row of a workload stands for, 1
    where it is not there. warnings: sentences on what the log cannot show and what looks wrong in
    it. file: the rows of the log as they are, as Parquet; None without one. summed: whether the
    rows of the log sum many requests up, so that the single ones in `logged` are drawn.
    """

    logged: pd.DataFrame
    simulated: Mapping[str, pd.DataFrame]
    quarantined: pd.DataFrame
    rows_read: int
    summary: pd.DataFrame
    warnings: tuple[str, ...]
    rows_lost: int = 0
    set_aside: tuple[str, ...] = ()
    per_row: Mapping[str, float] = field(default_factory=dict)
    file: Path | None = None
    summed: bool = False

    @property
    def lost_share(self) -> float:
        """Requests lost in unusable rows, over those in usable rows."""
        usable = self.rows_read - len(self.quarantined)
        return self.rows_lost / usable if usable else 0.0

    @property
    def requests(self) -> pd.DataFrame:
        """The requests of all workloads, logged or simulated."""
        return stacked([self.logged, *self.simulated.values()])

    def of(self, workload: str) -> pd.DataFrame:
        """The requests of one workload, logged or simulated."""
        if workload in self.simulated:
            return self.simulated[workload]
        return of_workload(self.logged, workload)


def traffic_of(study: Study) -> Traffic:
    """Reads the study's log, and simulates requests of the workloads that it lacks.

    Raises: ValueError if the log cannot be read, has no usable row or too many unusable ones, has
    sums over many requests in its rows, or names a workload that the study lacks.
    """
    log_ = _log(study)
    logged = log_.accepted
    place = study.requests.path if study.requests else ""
    present = sorted(map(str, logged["workload"].unique())) if len(logged) else []
    if UNKNOWN in present:
        raise ValueError(
            f"{place}: the log does not say to which workload a request belongs: state "
            "`requests.workload`, or map its column under `requests.columns`."
        )
    if unknown := [name for name in present if name not in study.workloads]:
        raise ValueError(
            f"{place}: the log holds the workload "
            f"{unknown[0]!r}, which is not under workloads: {', '.join(study.workloads)}."
        )
    missing = [name for name in study.workloads if name not in present]
    logged_summary = _summary(log_)
    if log_.grain == "bucket" and len(logged):
        sized = _with_summary(study, logged_summary, 0.0)
        logged = pd.concat([_simulated(sized, name) for name in present], ignore_index=True)
    else:
        logged = _single(logged)
    warnings = (
        (
            *summary.sufficiency(logged_summary),
            *_thinness(logged_summary),
            *(
                log_.once("doubts", lambda: plausible.doubts(logged))
                if log_.grain == "request"
                else [_BUCKETS]
            ),
            *_substitutes(study, logged),
        )
        if len(logged_summary)
        else ()
    )
    return Traffic(
        logged=logged,
        simulated={name: _simulated(study, name) for name in missing},
        quarantined=log_.quarantined[["row", "reason"]],
        rows_read=log_.rows_read,
        summary=logged_summary,
        warnings=(*warnings, *_undated(logged_summary, study.as_of)),
        rows_lost=len(log_.lost) - len(log_.uncounted),
        set_aside=_set_aside(log_),
        per_row=_per_row(log_),
        file=log_.file,
        summed=log_.grain == "bucket",
    )


_BUCKETS = (
    "The log sums requests up: volume, mean tokens and cached share are measured; how long single "
    "requests are and when in a bucket they come is simulated."
)


def _summary(log_: LogTable) -> pd.DataFrame:
    """The summary of each workload; requests without token counts add to the volume of all."""
    if log_.accepted.empty:
        return pd.DataFrame()
    table = log_.once("summary", lambda: summary.summarise(log_.accepted, log_.grain))
    return table.assign(requests_per_month=table["requests_per_month"] * _with_uncounted(log_))


def _with_uncounted(log_: LogTable) -> float:
    """All requests of a log over those with token counts."""
    return float(1 + weights(log_.uncounted).sum() / weights(log_.accepted).sum())


def _per_row(log_: LogTable) -> dict[str, float]:
    """Requests that a row of each workload stands for, where that is not one."""
    if log_.accepted.empty or log_.grain == "bucket":
        return {}
    each = weights(log_.accepted).groupby(log_.accepted["workload"]).mean() * _with_uncounted(log_)
    return {str(name): n for name, n in each.items() if n != 1}


def _single(logged: pd.DataFrame) -> pd.DataFrame:
    """Rows as single requests: a sampled one with its own tokens, drawn as often as it counts."""
    if logged.empty or logged["n_requests"].isna().all():
        return logged
    weight = weights(logged)
    tokens = [str(name) for name in logged if str(name).endswith("_tokens")]
    each = logged.assign(
        **{name: (logged[name] / weight).round().astype(logged[name].dtype) for name in tokens},
        n_requests=np.nan,
    )
    if (weight == weight.iloc[0]).all():
        return each
    places = (np.arange(len(each)) + 0.5) / len(each) * weight.sum()
    drawn = each.iloc[np.searchsorted(weight.cumsum().to_numpy(), places)]
    return drawn.reset_index(drop=True)


def _log(study: Study) -> LogTable:
    if study.requests is None:
        return LogTable(empty(), pd.DataFrame(columns=["row", "reason"]), 0)
    log_ = study.requests
    names = {"workload": log_.workload, "provider": log_.provider, "model_served": log_.model}
    constants = {column: name for column, name in names.items() if name is not None}
    longest = max(int(route.context_tokens.value) for route in study.routes.values())
    declared = {
        key: getattr(log_, key) for key in LogMapping.model_fields if key in log_.model_fields_set
    }
    constants = {**declared.pop("constants", {}), **constants}
    if len(study.workloads) == 1 and "workload" not in {*constants, *declared.get("columns", {})}:
        constants["workload"] = next(iter(study.workloads))
    read = log_table(
        log_.path, log_.format, longest, _served(study), constants=constants, **declared
    )
    fault = _unusable(read, longest)
    if read.grain == "request":
        fault = fault or plausible.bucket(read.accepted)
    if fault:
        raise ValueError(f"{log_.path}: {fault}")
    return read


def _served(study: Study) -> dict[str, tuple[str, str]]:
    """The provider and the model of today's route of each workload, for a log without them."""
    routes = {name: study.routes[w.current_route] for name, w in study.workloads.items()}
    return {
        name: (route.provider if isinstance(route, ApiRoute) else route.host, route.model)
        for name, route in routes.items()
    }


def _unusable(read: LogTable, longest_tokens: int) -> str | None:
    """Why too much of the log is unusable; None if it is not.

    longest_tokens: unusable rows with more tokens do not count as lost tokens.
    """
    if not read.rows_read:
        return "the log has no rows: give one with requests, or leave `requests` out."
    if "n_requests" in read.unknown:
        return (
            "the log does not count its requests: give one that does, or state the volume and the "
            "tokens a request and leave `requests` out."
        )
    lost = read.lost.drop(read.uncounted.index)
    cure = "correct the rows, or map their columns under `requests.columns`."
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


def _set_aside(read: LogTable) -> tuple[str, ...]:
    """A sentence on the rows that were set aside, if any."""
    if read.quarantined.empty:
        return ()
    reasons = (
        read.quarantined["reason"]
        .value_counts()
        .sort_index()
        .sort_values(ascending=False, kind="stable")
    )
    why = listed([f"{n:,} because {reason}" for reason, n in reasons.head(3).items()])
    n, usable = len(read.lost) - len(read.uncounted), len(read.accepted)
    more = f"; the volume may be {share(n / usable)} higher for them" if n else ""
    return (
        f"Set aside: {len(read.quarantined):,} of {read.rows_read:,} rows of the log, {why}{more}.",
    )


def _undated(measured: pd.DataFrame, as_of: date) -> list[str]:
    """A warning if the log ends after the study's day."""
    last = measured["last"].max().date() if len(measured) else as_of
    if last <= as_of:
        return []
    return [
        f"The log goes on to {last}, after the study's own date {as_of}: set `as_of` to the day at "
        "which the study is judged, or check the log's clock."
    ]


def _simulated(study: Study, name: str) -> pd.DataFrame:
    workload = study.workloads[name]
    route = study.routes[workload.current_route]
    rng = np.random.default_rng([study.seed, *name.encode()])
    return draw.draw_requests(
        mix=draw.token_mix(workload.traffic.tokens),
        shape=draw.hourly_shape(workload.traffic.hours),
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


def measured(study: Study, traffic: Traffic) -> Study:
    """The study with the log's figures in place of its assumptions; itself without a log.

    Tokens and volume become measured figures, and so do the cached and retried shares if the log
    has them, as of the last day of the log; from four weeks on also the growth and the peak of a
    week, with their intervals. The hours of a log shorter than a week may be busy or
    quiet ones, so its volume gets the range of the study's weekly shape; unusable rows widen the
    range upwards, holes downwards. `answered_by` becomes the model that answered most requests. Too
    few requests give only a mean, and the study's range is widened to include it. Values set for
    this run (`Study.with_`) are not replaced.
    """
    if traffic.summary.empty:
        return study
    workloads = dict(_with_summary(study, traffic.summary, traffic.lost_share).workloads)
    for name in traffic.summary["workload"]:
        workload = workloads[name]
        answered_by = _answered_by(study, workload, traffic.of(name)) or workload.answered_by
        workloads[name] = workload.model_copy(update={"answered_by": answered_by})
    return study.model_copy(update={"workloads": workloads})


def _with_summary(study: Study, table: pd.DataFrame, lost_share: float) -> Study:
    workloads = dict(study.workloads)
    for _, row in table.iterrows():
        name = str(row["workload"])
        workloads[name] = _with_log(study, name, row, lost_share)
    return study.model_copy(update={"workloads": workloads})


def _answered_by(study: Study, workload: Workload, requests: pd.DataFrame) -> str | None:
    """The listed model that answered most logged requests; None if it is that of today's route."""
    route = study.routes[workload.current_route]
    for (provider, model), part in _models_served(requests).items():
        if isinstance(route, ApiRoute) and part > 1 / 2:
            other = other_model(route, provider, model, study.as_of)
            return other.model if other else None
    return None


def _models_served(requests: pd.DataFrame) -> dict[Any, float]:
    """The share of requests that each provider and model answered."""
    names = ["provider", "model_served"]
    counts = requests[names].groupby(names, observed=True).size()
    return {key: n / len(requests) for key, n in counts.to_dict().items()}


def _with_log(study: Study, name: str, row: "pd.Series[Any]", lost_share: float) -> Workload:
    workload = study.workloads[name]
    source = f"log: {int(row['requests']):,} requests in {row['span_h']:.1f} h"
    as_of = row["last"].date()

    def tokens(side: str, assumed: Figure) -> Figure:
        mean, low, high = (max(1.0, x) for x in row[_mean_columns(side)])
        basis = source
        if _is_thin(row):
            ends = [x for x in (assumed.value, assumed.low, assumed.high) if x is not None]
            low, high = min(mean, *ends), max(mean, *ends)
            basis = f"{source}, too few for a range: the study's own"
        unit = "tokens/request"
        return Figure("", mean, unit, low, high, "triangular", "measured", basis, as_of)

    intake = {
        "input_tokens": tokens("input", workload.intake.input_tokens),
        "output_tokens": tokens("output", workload.intake.output_tokens),
    }
    if np.isfinite(row["requests_per_month"]):
        intake["requests"] = _measured_volume(workload, row, lost_share, source, as_of)
    if pd.notna(row["peak_to_mean_week"]):
        intake["peak_to_mean"] = _with_interval(row, "peak_to_mean_week", "factor", source)
    elif row["covers_week"]:
        intake["peak_to_mean"] = Figure(
            "", row["peak_to_mean_hour"], "factor", grade="measured", source=source, as_of=as_of
        )
    shares = {}
    if pd.notna(row["growth_per_month"]):
        shares["growth"] = _with_interval(row, "growth_per_month", "share/month", source)
    for share_ in ("cached_input_share", "retry_share"):
        if pd.notna(row[share_]):
            shares[share_] = Figure(
                "", float(row[share_]), "share", grade="measured", source=source, as_of=as_of
            )

    def unset(figures: dict[str, Figure], place: str) -> dict[str, Figure]:
        return {key: f for key, f in figures.items() if not study.is_set(f"{place}.{key}")}

    intake = unset(intake, f"workloads.{name}.intake")
    updates = {"intake": workload.intake.model_copy(update=intake)}
    return workload.model_copy(update=updates | unset(shares, f"workloads.{name}"))


def _with_interval(row: "pd.Series[Any]", column: str, unit: str, source: str) -> Figure:
    """A figure of the log with its 95 % interval, within what a study may state."""
    least, most = (-0.5, 1.0) if unit == "share/month" else (1.0, 100.0)
    value, low, high = (
        float(np.clip(row[name], least, most))
        for name in (column, f"{column}_low", f"{column}_high")
    )
    if low == high:
        return Figure("", value, unit, grade="measured", source=source, as_of=row["last"].date())
    kind: Distribution = "triangular"
    return Figure("", value, unit, low, high, kind, "measured", source, row["last"].date())


def _mean_columns(side: str) -> list[str]:
    return [f"{side}_tokens_mean", f"{side}_tokens_mean_low", f"{side}_tokens_mean_high"]


def _is_thin(row: "pd.Series[Any]") -> bool:
    """Whether a workload has too few logged requests for a range of its mean tokens."""
    ends = row[[*_mean_columns("input"), *_mean_columns("output")]].astype(float)
    return bool(row["requests"] < FEWEST_FOR_A_RANGE or not np.isfinite(ends).all())


def _thinness(measured: pd.DataFrame) -> list[str]:
    """A sentence for each workload with too few logged requests: which figures stay the study's."""
    sentences = []
    for _, row in measured.iterrows():
        if _is_thin(row):
            n = int(row["requests"])
            volume = "" if np.isfinite(row["requests_per_month"]) else " and volume"
            sentences.append(
                f"The log holds too little of {row['workload']} (requests: {n:,}): only their mean "
                f"tokens are used, with the study's own range{volume}; log "
                f"at least {FEWEST_FOR_A_RANGE} over a week."
            )
    return sentences


def _measured_volume(
    workload: Workload, row: "pd.Series[Any]", lost_share: float, source: str, as_of: date
) -> Figure:
    rate = row["requests_per_month"]
    low, high = rate * (1 - row["hole_share"]), rate * (1 + lost_share)
    exact = row["covers_week"] or row["whole_days"]
    if not exact:
        shape = draw.hourly_shape(workload.traffic.hours)["relative_to_mean"]
        low, high = low / shape.quantile(0.9), high / shape.quantile(0.1)
        source += f", its hours of the week unknown: scaled by {workload.traffic.hours}"
    unit = "requests/month"
    if low == high:
        return Figure("", rate, unit, grade="measured", source=source, as_of=as_of)
    kind: Distribution = "triangular" if exact else "lognormal"
    return Figure("", rate, unit, low, high, kind, "measured", source, as_of)


def other_model(route: ApiRoute, provider: str, model: str, on: date) -> ApiRoute | None:
    """The route with the model that answered; None if it is the route's own or in no price list."""
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
    """Sentences on other models that answered logged requests, and how those are billed."""
    sentences = []
    for name, requests in by_workload(logged):
        route = study.routes[study.workloads[name].current_route]
        for (provider, model), part in _models_served(requests).items():
            if part < plausible.DOUBTFUL_SHARE or prices.same_model(model, route.model):
                continue
            if not isinstance(route, ApiRoute):
                bill = "the fleet of today is sized for them all the same"
            elif other_model(route, provider, model, study.as_of):
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
