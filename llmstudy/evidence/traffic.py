"""Which requests does a study rest on? Its log where it names one, drawn from published shapes
where not.
"""

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from llmstudy import prices
from llmstudy.figure import Distribution, Figure
from llmstudy.measures import summary
from llmstudy.requests import draw, importers, plausible
from llmstudy.study import ApiRoute, LogMapping, Study, Workload
from llmstudy.text import listed, share

DRAWN_REQUESTS = 2000
"""Requests drawn per workload without a log: the mean bill is then within 2 % of the mix's own."""

MOST_LOST_SHARE = 0.05
"""Share of a log's rows, or of their tokens, that may be unusable before the rest misleads."""

FEWEST_FOR_A_RANGE = 100
"""Requests of a workload below which the range of its mean tokens is the study's, not the log's."""


@dataclass(frozen=True)
class Traffic:
    """The requests that a study rests on. `simulated` names the workloads that were drawn.

    quarantined: `row` and `reason` of each row set aside, without its text, which may be private
    while results are passed on. rows_lost: those of them whose request is in no other row.
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
    names = {"workload": log_.workload, "provider": log_.provider, "model_served": log_.model}
    constants = {column: name for column, name in names.items() if name is not None}
    longest = max(int(route.context_tokens.value) for route in study.routes.values())
    declared = {
        key: getattr(log_, key) for key in LogMapping.model_fields if key in log_.model_fields_set
    }
    constants = {**declared.pop("constants", {}), **constants}
    read = importers.read_log(
        log_.path, log_.format, constants=constants, longest_tokens=longest, **declared
    )
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
    """A sentence on the rows that were set aside, and why."""
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
    """A warning where the log goes on after the study's day."""
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
    """The study with the log's own figures in place of its assumptions, where there is a log.

    Tokens and volume become measured, and so do cached and retried shares that the log has, at the
    day on which the log ends. A log shorter than a week covers unknown hours of it, so its volume
    keeps a range as wide as the study's weekly shape allows; unusable rows widen it upwards, holes
    in the log downwards. The model that answered most of it is the one whose output tokens were
    counted. Too few requests give only a mean: the range stays the study's, widened to hold it.
    What was set for this run (`Study.with_`) stays as it was set.
    """
    if traffic.summary.empty:
        return study
    workloads = dict(study.workloads)
    for _, row in traffic.summary.iterrows():
        name = str(row["workload"])
        workload = _with_log(study, name, row, traffic.lost_share)
        answered_by = _answered_by(study, workload, traffic.of(name)) or workload.answered_by
        workloads[name] = workload.model_copy(update={"answered_by": answered_by})
    return study.model_copy(update={"workloads": workloads})


def _answered_by(study: Study, workload: Workload, requests: pd.DataFrame) -> str | None:
    """The listed model that answered most of a workload's log, where it is not today's route's."""
    route = study.routes[workload.current_route]
    for key, rows in requests.groupby(["provider", "model_served"]):
        provider, model = map(str, key)
        if isinstance(route, ApiRoute) and len(rows) > len(requests) / 2:
            other = other_model(route, provider, model, study.as_of)
            return other.model if other else None
    return None


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
    if row["covers_week"]:
        intake["peak_to_mean"] = Figure(
            "", row["peak_to_mean_hour"], "factor", grade="measured", source=source, as_of=as_of
        )
    shares = {}
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


def _mean_columns(side: str) -> list[str]:
    return [f"{side}_tokens_mean", f"{side}_tokens_mean_low", f"{side}_tokens_mean_high"]


def _is_thin(row: "pd.Series[Any]") -> bool:
    """Whether the log of a workload is too small for a range of its mean tokens."""
    ends = row[[*_mean_columns("input"), *_mean_columns("output")]].astype(float)
    return bool(row["requests"] < FEWEST_FOR_A_RANGE or not np.isfinite(ends).all())


def _thinness(measured: pd.DataFrame) -> list[str]:
    """A sentence for each workload whose log is too small: what stays as the study has it."""
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
    if not row["covers_week"]:
        shape = draw.hourly_shape(workload.traffic.hours)["relative_to_mean"]
        low, high = low / shape.quantile(0.9), high / shape.quantile(0.1)
        source += f", its hours of the week unknown: scaled by {workload.traffic.hours}"
    unit = "requests/month"
    if low == high:
        return Figure("", rate, unit, grade="measured", source=source, as_of=as_of)
    kind: Distribution = "triangular" if row["covers_week"] else "lognormal"
    return Figure("", rate, unit, low, high, kind, "measured", source, as_of)


def other_model(route: ApiRoute, provider: str, model: str, on: date) -> ApiRoute | None:
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
    """Which models other than the route's answered a log's requests, and how they are billed."""
    sentences = []
    for name, requests in logged.groupby("workload"):
        route = study.routes[study.workloads[str(name)].current_route]
        for key, rows in requests.groupby(["provider", "model_served"]):
            provider, model = map(str, key)
            part = len(rows) / len(requests)
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
