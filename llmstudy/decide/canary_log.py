"""What does a log say of a running canary: who was sent where, at which step, and what follows?

A request counts for the route that it was first sent to, whoever answered it in the end: one that
today's route answered because the new route failed is a failure of the new route (intention to
treat). On both sides a request has failed where its first attempt did, so that the second attempt
that a gateway makes for one of them alone is no advantage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from llmstudy.decide.canary import canary_metrics, canary_plan, step_alpha
from llmstudy.decide.canary_check import (
    Counts,
    MetricState,
    Verdict,
    chances_by_step,
    metric_state,
    verdict_of,
)
from llmstudy.prices import PriceError, same_model
from llmstudy.prices.served import served_model
from llmstudy.requests.schema import UNKNOWN
from llmstudy.study import Study
from llmstudy.text import count, listed, share
from llmstudy.units import HOURS_PER_MONTH

FULL_TRAFFIC = 0.95
"""Share of the requests at which a move is complete: the fallback takes the rest."""

FEWEST_FOR_A_BASELINE = 100
"""Requests of today's route from which their share is the baseline of what follows."""

_LEAST_P = 1e-4
"""A share is not that of a planned step if counts as far off are less likely than this."""


# --- who was sent where -----------------------------------------------------------------------


def routes_of(models: "pd.Series[Any]", providers: Any, study: Study, workload: str) -> Any:
    """The route of a workload that each row's model is, None where none or more than one may be.

    models: as a log has them; a gateway that `llmstudy export` wrote names a self-hosted route
    itself. providers: (n,), which tell routes of one model apart, or None where the log does not
    name them beside the model. Returns: an array of objects, (n,).
    """
    places = pd.Series(UNKNOWN, index=models.index) if providers is None else providers
    (model_codes, names), (place_codes, hosts) = pd.factorize(models), pd.factorize(places)
    pairs, row_pairs = np.unique(model_codes * len(hosts) + place_codes, return_inverse=True)
    routes = np.full(len(pairs), None, dtype=object)
    for i, pair in enumerate(pairs):
        if pair < 0:
            continue  # no model is named
        model, place = str(names[pair // len(hosts)]), str(hosts[pair % len(hosts)])
        fits = [r for r in study.workloads[workload].routes if _named(model, r, study)]
        if len(fits) > 1:
            fits = [route for route in fits if _placed(place, model, route, study)]
        routes[i] = fits[0] if len(fits) == 1 else None
    return routes[row_pairs]


def _named(model: str, route: str, study: Study) -> bool:
    return model.rpartition("/")[2] == route or same_model(model, study.routes[route].model)


def _placed(place: str, model: str, route: str, study: Study) -> bool:
    if model.rpartition("/")[2] == route:
        return True
    provider = getattr(study.routes[route], "provider", None)  # a fleet has none
    try:
        served = served_model(place, model, study.as_of)
    except PriceError:
        return place.strip().lower() == provider
    return (served and served.provider) == provider


def sent_of(rows: pd.DataFrame, study: Study, workload: str, route: str) -> pd.DataFrame:
    """To which route each request of a workload was sent first, and how it went.

    rows: ts_start, provider, model_served, ok, ttft_s, and where the log has them first_model,
    model_requested and attempts. Returns: ts_start, to (a route; None where the log does not tell
    one), errors and slow_first_token (0, 1, or NaN where none was timed).
    """
    blank = pd.Series(None, index=rows.index, dtype=object)
    first, asked = (rows.get(name, blank) for name in ("first_model", "model_requested"))
    served = routes_of(rows["model_served"], rows["provider"], study, workload)
    fell = first.notna().to_numpy()
    to = np.where(fell, routes_of(first, None, study, workload), served)
    # whoever asks for the new route by its model and is answered by another has seen it fail
    missed = ~fell & (routes_of(asked, None, study, workload) == route) & (served != route)
    again = pd.to_numeric(rows.get("attempts", blank)).fillna(1).to_numpy(dtype=float) > 1
    failed = ~rows["ok"].to_numpy(dtype=bool) | fell | missed | again
    late = rows["ttft_s"] > study.workloads[workload].slo.ttft_p95.value
    return pd.DataFrame(
        {
            "ts_start": rows["ts_start"].to_numpy(),
            "to": np.where(missed, route, to),
            "errors": failed.astype(float),
            "slow_first_token": late.astype(float).where(rows["ttft_s"].notna()).to_numpy(),
        }
    )


def counts_of(sent: pd.DataFrame, metric: str, route: str, today: str) -> Counts:
    """The counts of a metric by day (UTC). sent: as `sent_of`."""
    seen = sent[sent[metric].notna()]
    days = seen["ts_start"].dt.floor("D")
    every = pd.Index(sorted(days.unique()))
    columns = []
    for side in (route, today):
        mine = seen["to"] == side
        grouped = seen.loc[mine, metric].groupby(days[mine])
        columns += [
            each.reindex(every, fill_value=0).astype(int).tolist()
            for each in (grouped.sum(), grouped.count())
        ]
    return Counts(*columns)


class Parts(NamedTuple):
    """The counts of a metric before the requests that are judged, and of these."""

    before: Counts
    judged: Counts

    @property
    def baselines(self) -> list[float]:
        """Today's share before each period of those judged, kept off 0 and 1.

        >>> Parts(Counts([], [], [4], [98]), Counts([0, 0], [9, 9], [30, 50], [400, 500])).baselines
        [0.05, 0.07]
        """
        yes = np.cumsum([sum(self.before.stays_yes), *self.judged.stays_yes])
        every = np.cumsum([sum(self.before.stays_all), *self.judged.stays_all])
        # Laplace's rule: a baseline of 0 would make the first failure decisive
        return [float((n + 1) / (m + 2)) for n, m in zip(yes[:-1], every[:-1], strict=True)]

    @property
    def against_history(self) -> "Parts":
        """At full traffic: the requests of the new route against those of today's before."""
        (_, _, old_yes, old), (new_yes, new, _, _) = self
        totals = Counts(*([int(np.sum(each))] for each in (new_yes, new, old_yes, old)))
        return Parts(self.before, totals)


def parts_of(sent: pd.DataFrame, begin: pd.Timestamp, metric: str, route: str, today: str) -> Parts:
    """A metric before a step and in it. sent: as `sent_of`.

    The first requests of today's route in the log give the baseline and are no evidence: where they
    are in the step, what comes before the last of them is not judged.
    """
    seen = sent[sent[metric].notna()]
    first = seen.loc[seen["to"] == today, "ts_start"].nsmallest(FEWEST_FOR_A_BASELINE)
    late = seen["ts_start"] >= begin
    late &= (seen["ts_start"] > first.max()) & (len(first) == FEWEST_FOR_A_BASELINE)
    return Parts(*(counts_of(rows, metric, route, today) for rows in (seen[~late], seen[late])))


def parts_of_scores(scores: pd.DataFrame, route: str, today: str) -> Parts:
    """Accepted answers likewise. scores: route and score (0 or 1), a row for each answer."""
    new, old = (scores.loc[scores["route"] == each, "score"].astype(int) for each in (route, today))
    first, rest = old.iloc[:FEWEST_FOR_A_BASELINE], old.iloc[FEWEST_FOR_A_BASELINE:]
    before = Counts([0], [0], [int(first.sum())], [len(first)])
    return Parts(before, Counts([int(new.sum())], [len(new)], [int(rest.sum())], [len(rest)]))


# --- a step -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """What a log says of a canary's present step.

    since, until: of the requests that are judged. step, traffic_share: of the planned step; share:
    of the workload's requests that was sent to the new route. next_share: of the traffic, of the
    step that follows; None at the last. states: of the metrics that can be judged; not_judged: why
    not, by metric. chances: as `chances_by_step`, of the metrics that are judged. notes:
    sentences. may_return: whether today's route may see the data, so that requests can go back.
    """

    verdict: Verdict
    workload: str
    route: str
    today: str
    since: pd.Timestamp
    until: pd.Timestamp
    step: int
    traffic_share: float
    share: float
    next_share: float | None
    states: tuple[MetricState, ...]
    not_judged: Mapping[str, str]
    chances: pd.DataFrame
    notes: tuple[str, ...]
    may_return: bool

    @property
    def left(self) -> int | None:
        """Requests to the new route that the step still needs; None if no number suffices."""
        lefts = [state.left for state in self.states]
        return None if None in lefts else max(filter(None, lefts), default=0)

    @property
    def sentence(self) -> str:
        """What to do, and why."""
        at = f"step {self.step} of {self.workload}, {share(self.traffic_share)} to {self.route}"
        if self.verdict == "roll back":
            worse = [
                f"{WORDS[s.metric]} {share(s.canary_share, s.stays_share)} against "
                f"{share(s.stays_share, s.canary_share)} (evidence {count(min(s.evidence, 1e6))}"
                f"{' and more' * (s.evidence > 1e6)}, {count(s.limit)} ends it)"
                for s in self.states
                if s.ends
            ]
            what = f"Roll back to {self.today}" if self.may_return else "Stop the workload"
            return f"{what}: {at}: {listed(worse)}."
        rests = f"it rests on {listed([WORDS[state.metric] for state in self.states])}"
        if self.verdict == "undecided":
            more = f"{count(self.left)} more requests" if self.left else "no number of requests"
            return f"Undecided: {at}: {more} to {self.route} settle it; {rests} so far."
        after = (
            "the canary is over" if self.next_share is None else f"go to {share(self.next_share)}"
        )
        return f"Continue: {at}: {after}; {rests}."


WORDS = {
    "acceptance": "accepted answers",
    "errors": "failures",
    "slow_first_token": "late first tokens",
}
"""The metrics as a sentence has them."""


def check(
    study: Study,
    workload: str,
    route: str,
    rows: pd.DataFrame,
    assumed: Mapping[str, float],
    *,
    since: pd.Timestamp | None = None,
    scores: pd.DataFrame | None = None,
    unknown: Sequence[str] = (),
    may_return: bool = True,
    set_aside: int = 0,
) -> Check:
    """Judges the present step of a canary from a log's requests.

    rows: of the canonical table, of all workloads. assumed: today's share of each metric, for the
    plan of those that cannot be judged. since: when the present step began, by default with the
    first request to the new route. scores: as `parts_of_scores`. unknown: columns that the log does
    not tell. may_return: whether today's route may see the data. set_aside: rows of the log that
    may be requests, but cannot be read as such.
    Raises: ValueError if the log has no request of the workload or the route, if nothing can be
    judged, or if the weight changed since the step began.
    """
    today = study.workloads[workload].current_route
    own, named = own_requests(rows, study, workload)
    sent = sent_of(own, study, workload, route)
    begin = since if since is not None else sent.loc[sent["to"] == route, "ts_start"].min()
    step = sent[sent["ts_start"] >= begin]
    if not (step["to"] == route).any():
        models = listed([str(name) for name in own["model_served"].unique()[:5]])
        raise ValueError(
            f"the log has no request of {workload} that was sent to {route}"
            f"{'' if since is None else f' since {since}'}; it names {models}."
        )
    parts = {each: parts_of(sent, begin, each, route, today) for each in _COLUMNS}
    if scores is not None:
        parts["acceptance"] = parts_of_scores(scores, route, today)
    learnt = {each: of_days[-1] for each, p in parts.items() if (of_days := p.baselines)}
    latest = {**assumed, **learnt}
    margin = study.workloads[workload].quality.margin.value
    per_day = study.workloads[workload].intake.requests.value * 24 / HOURS_PER_MONTH
    plan = canary_plan(per_day, margin, latest)
    if not may_return:
        plan = plan[plan["traffic_share"] == 1]
    n, total = int((step["to"] == route).sum()), int(step["to"].notna().sum())
    planned = _planned(plan["traffic_share"], n, total)
    traffic = planned if _fits(planned, n, total) else n / total
    if planned == 1:
        parts |= {each: parts[each].against_history for each in _COLUMNS}
    notes = [*_notes(step, named, route, workload, own)]
    if set_aside:
        notes.append(
            f"{count(set_aside)} rows of the log cannot be read as requests, so that failures may "
            "be among them: `llmstudy requests import` says why."
        )
    if traffic != planned:
        steps = listed([share(each) for each in plan["traffic_share"]])
        notes.append(
            f"{share(n / total)} of the requests went to {route}, which is no planned step "
            f"({steps}): its weight is another, or the gateway left it out for a while after "
            "failures, which leaves no row in a log."
        )
    states: list[MetricState] = []
    not_judged: dict[str, str] = {}
    for metric in canary_metrics()["metric"]:
        of_metric = parts.get(metric)
        if why := _why_not(metric, of_metric, unknown, planned == 1):
            not_judged[metric] = why
            continue
        assert of_metric is not None
        counts, baselines = of_metric.judged, of_metric.baselines
        # scores may be of other requests than the log's
        at = counts.sent_share if metric == "acceptance" else 1.0 if planned == 1 else traffic
        state = metric_state(metric, counts, baselines, margin, at, step_alpha())
        if state is None:
            not_judged[metric] = f"{WORDS[metric]} cannot get worse than they are today"
        else:
            states.append(state)
    if not states:
        raise ValueError(
            f"{workload}: nothing of the canary can be judged: {'; '.join(not_judged.values())}."
        )
    verdict = verdict_of(states)
    changed = _changed(step, route, plan["traffic_share"])
    if changed is not None and verdict != "roll back":
        raise ValueError(changed)
    chances = chances_by_step(plan, latest, margin)
    later = plan.loc[plan["traffic_share"] > planned, "traffic_share"]
    return Check(
        verdict,
        workload,
        route,
        today,
        step["ts_start"].min(),
        step["ts_start"].max(),
        int(plan.loc[plan["traffic_share"] == planned, "step"].iloc[0]),
        planned,
        n / total,
        float(later.min()) if len(later) else None,
        tuple(states),
        not_judged,
        chances[chances["metric"].isin([state.metric for state in states])],
        tuple(notes),
        may_return,
    )


def own_requests(
    rows: pd.DataFrame, study: Study, workload: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The requests of a workload that a gateway shared out, and how many named a route themselves.

    Callers of an exported gateway name the workload as their model, or `WORKLOAD.ROUTE` for shadow
    traffic and for a test. A study of one workload has all requests.
    Raises: ValueError if there are none.
    """
    names = {name: name for name in study.workloads}
    routes = {f"{name}.{route}": (name, route) for name in names for route in study.routes}
    asked = rows.get("model_requested", pd.Series(None, index=rows.index, dtype=object))
    labels = [each.astype(object) for each in (asked, rows["workload"])]
    every = names | {label: name for label, (name, _) in routes.items()}
    of = labels[1].map(names).fillna(labels[0].map(every)).fillna(labels[1].map(every))
    if len(names) == 1:
        of = of.fillna(workload)
    mine = of == workload
    direct = labels[0].where(labels[0].isin(routes), labels[1])[mine]
    direct = direct[direct.isin(routes)]
    own = rows[mine & ~rows.index.isin(direct.index)]
    if own.empty:
        there = listed([str(each) for each in rows["workload"].unique()[:5]])
        raise ValueError(
            f"the log has no request of {workload}: its workloads are {there}. Name the field that "
            "has it: --set columns.workload=FIELD."
        )
    return own, {routes[str(label)][1]: int(n) for label, n in direct.value_counts().items()}


def _planned(shares: "pd.Series[float]", n: int, total: int) -> float:
    """The planned step whose share is nearest, by their ratio."""
    seen = n / total
    if seen >= FULL_TRAFFIC:
        return float(shares.max())
    below = shares[shares < 1] if (shares < 1).any() else shares
    return float(below.iloc[int(np.argmin(np.abs(np.log(below / seen))))])


def _fits(planned: float, n: int, total: int) -> bool:
    if planned == 1:
        return n / total >= FULL_TRAFFIC
    return bool(binomtest(n, total, planned).pvalue >= _LEAST_P)


def _changed(step: pd.DataFrame, route: str, shares: "pd.Series[float]") -> str | None:
    """Why days cannot be of one step: their shares are nearest to different planned ones."""
    routed = step[step["to"].notna()]
    days = (routed["to"] == route).groupby(routed["ts_start"].dt.floor("D")).agg(["sum", "count"])
    overall = days["sum"].sum() / days["count"].sum()
    of_day = [_planned(shares, max(int(n), 1), int(total)) for n, total in days.to_numpy()]
    far = [
        binomtest(int(n), int(total), min(overall, 1.0)).pvalue < _LEAST_P
        for n, total in days.to_numpy()
    ]
    if len(set(of_day)) == 1 or not any(far):
        return None
    last = len(of_day) - next(
        (i for i, each in enumerate(reversed(of_day)) if each != of_day[-1]), len(of_day)
    )
    first, then = (days["sum"] / days["count"]).iloc[[0, -1]]
    return (
        f"the share of the requests that went to {route} changed from {share(float(first))} to "
        f"{share(float(then))}: judge one step at a time, such as --since "
        f"{days.index[last].date()}, or the time at which the present step began. A gateway also "
        "lowers the share by itself, where it leaves a route out for a while after failures."
    )


def _why_not(metric: str, parts: Parts | None, unknown: Sequence[str], full: bool) -> str | None:
    """Why a metric cannot be judged; None where it can."""
    if parts is None:
        return "a log has no accepted answers: give the scores of both routes' answers"
    if metric != "acceptance" and (column := _COLUMNS[metric]) in unknown:
        return f"{WORDS[metric]}: the log does not tell {column}"
    (_, new, _, old), before = parts.judged, sum(parts.before.stays_all)
    if full and metric != "acceptance":
        old = [before] if before >= FEWEST_FOR_A_BASELINE else []
    if not sum(old):
        when = " from before the step" if full else ""
        return (
            f"{WORDS[metric]}: it takes more than {FEWEST_FOR_A_BASELINE} requests of today's "
            f"route{when} to compare with"
        )
    return None if sum(new) else f"{WORDS[metric]}: too few requests of the new route show it"


_COLUMNS = {"errors": "ok", "slow_first_token": "ttft_s"}
"""Columns of a request by the metric that needs them."""


def _notes(
    step: pd.DataFrame, named: Mapping[str, int], route: str, workload: str, own: pd.DataFrame
) -> list[str]:
    """What of the log is not judged, and what it cannot show, in sentences."""
    notes = []
    if named:
        words = [f"{count(n)} asked for {each}" for each, n in named.items()]
        notes.append(
            f"{listed(words)} by name, as shadow traffic and tests do: they are left out, since "
            "no one was sent there at random."
        )
    nowhere = step["to"].isna()
    if nowhere.any():
        failed = int(step.loc[nowhere, "errors"].sum())
        notes.append(
            f"{count(int(nowhere.sum()))} requests, {count(failed)} of them failed, name no route "
            f"of {workload}: they count for neither side."
        )
    if not step["errors"].any():
        notes.append(
            "No request failed on either side: if the log leaves failures out, nothing here rests "
            "on them."
        )
    return notes
