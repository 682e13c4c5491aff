"""Which measured runs of its endpoints does a study name, and are they evidence for it?

A run enters a study only if its audit finds it valid. Several runs of a route are one sample of
one load, whose independent units are days, or else runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

import pandas as pd

from llmstudy.evidence.output_tokens import as_answered_by
from llmstudy.measures.latency import PERCENTILES, PercentileEstimate, percentile_minimum_n
from llmstudy.prices import Finding, same_model, same_weights
from llmstudy.probe.audit import audit
from llmstudy.probe.metrics import metrics_table
from llmstudy.probe.run import Run, read
from llmstudy.study import SelfHostedRoute, Study
from llmstudy.text import count

OLD_DAYS = 180
"""Age from which a run is in doubt; assumed: providers change models and hardware within months."""

LENGTH_RATIOS = {"input_tokens": 1.5, "output_tokens": 2.0}
"""Mean tokens of a run and of a workload, the larger to the smaller, beyond which the run is not
comparable with the workload; assumed. Reading the prompt is most of a first token and takes time in
proportion to it; longer answers share the server with more others, and slow each by less."""


@dataclass(frozen=True)
class RouteProbe:
    """The runs of one route, by the name of their folder, each found valid by its audit."""

    runs: Mapping[str, Run]

    @property
    def days(self) -> tuple[date, ...]:
        """The day (UTC) on which each run began."""
        return tuple(_day(run) for run in self.runs.values())

    @property
    def load(self) -> str:
        """The load on the endpoint, the same in every run."""
        return load_text(next(iter(self.runs.values())).facts)

    @property
    def closed_loop(self) -> bool:
        """Whether each request waited for another's answer: its wait before that is in no TTFT."""
        facts = next(iter(self.runs.values())).facts
        return bool((facts.get("load") or {}).get("process") == "closed")

    @property
    def endpoint_models(self) -> tuple[str, ...]:
        """The models that requests named, by their names at the endpoints."""
        endpoints = [run.facts.get("endpoint") or {} for run in self.runs.values()]
        return tuple(dict.fromkeys(str(endpoint.get("model")) for endpoint in endpoints))

    @property
    def models(self) -> tuple[str, ...]:
        """Every name of the model: as requested, as answered, and of the weights served."""
        serving = [(run.facts.get("serving") or {}).get("model") for run in self.runs.values()]
        served = self.samples["served_model"].dropna().astype(str)
        return tuple(dict.fromkeys([*self.endpoint_models, *served, *filter(None, serving)]))

    def mean_tokens(self, column: str) -> float | None:
        """Mean of `input_tokens` or `output_tokens` of an answer: the server's count, or else as
        requested; None without either.
        """
        answered = self.measured[self.measured["ok"]]
        for source in (column, f"asked_{column}"):
            if answered[source].notna().any():
                return float(answered[source].astype(float).mean())
        return None

    @cached_property
    def samples(self) -> pd.DataFrame:
        """The requests of all runs, in the columns of `Sample`, and run and day."""
        parts = zip(self.runs.items(), self.days, strict=True)
        return pd.concat(
            [run.samples.assign(run=name, day=day.isoformat()) for (name, run), day in parts],
            ignore_index=True,
        )

    @property
    def measured(self) -> pd.DataFrame:
        """The requests that count: those after the warm-up."""
        return self.samples[self.samples["phase"] == "measure"]

    def estimate_s(self, metric: str, percentile: str) -> PercentileEstimate:
        """A percentile of a metric, in seconds. metric: as `metrics.metrics_table`: ttft_ms."""
        table = self._metrics.set_index(["metric", "percentile"])
        row: Any = table.loc[(metric, percentile)]
        return PercentileEstimate(
            None if pd.isna(row["estimate"]) else row["estimate"] / 1e3,
            row["low"] / 1e3,
            row["high"] / 1e3,
            int(row["n"]),
            bool(row["supported"]),
            float(row["n_effective"]),
        )

    def needed(self, metric: str, percentile: str) -> "Needed | None":
        """What would support a percentile, None where it is supported."""
        estimate = self.estimate_s(metric, percentile)
        if estimate.supported:
            return None
        levels = (("days", len(set(self.days))), ("runs", len(self.runs)))
        several = (level for level in levels if level[1] >= 2)  # as `latency.units`
        unit, units = next(several, ("requests", estimate.n))
        return needed(estimate, percentile, unit, units)

    @cached_property
    def _metrics(self) -> pd.DataFrame:
        return metrics_table(self.samples)


def unlike(probe: RouteProbe, study: Study, route: str, workload: str) -> tuple[str, ...]:
    """Why the runs of a route are not comparable with a workload on it; empty where they are.

    They must be of the route's model, of lengths like the workload's on it (`LENGTH_RATIOS`; a
    length that is unknown in the study is not compared) and not too old (`OLD_DAYS`).
    """
    spec = study.routes[route]
    intake = as_answered_by(study, study.workloads[workload], spec).intake
    is_same_model = same_weights if isinstance(spec, SelfHostedRoute) else same_model
    reasons = []
    if not any(is_same_model(spec.model, model) for model in probe.models):
        reasons.append(f"it is of {', '.join(probe.models)} and the route is {spec.model}")
    for counted, most in LENGTH_RATIOS.items():
        target, mean = getattr(intake, counted), probe.mean_tokens(counted)
        words = counted.replace("_", " ")
        if target.name.startswith("unknown."):
            continue
        if not mean:
            reasons.append(f"its {words} are not known")
        elif max(mean / target.value, target.value / mean) > most:
            pair = f"{count(mean)} {words} against {count(target.value)}"
            reasons.append(f"it has {pair}, more than {most:g} times apart")
    age_days = (study.as_of - max(probe.days)).days
    if age_days > OLD_DAYS:
        reasons.append(f"it is {age_days} days old")
    return tuple(reasons)


def probes_of(study: Study) -> dict[str, RouteProbe]:
    """The probe runs of every route that names some.

    Raises: ValueError naming study, route and folder, for a folder that is no run, a run that its
    audit finds invalid or that is younger than the study, and for runs of different loads.
    """
    probes = {}
    for name, route in study.routes.items():
        if route.probe:
            where = f"{study.study}: routes.{name}.probe"
            runs = {_name(route.probe, at): _usable(where, at, study) for at in route.probe}
            _check_alike(where, runs, len(route.probe))
            probes[name] = RouteProbe(runs)
    return probes


def _name(folders: tuple[Path, ...], folder: Path) -> str:
    """The folder's own name, with its parent's where two runs are called the same."""
    namesakes = [other for other in folders if other.name == folder.name]
    return folder.name if len(namesakes) == 1 else f"{folder.parent.name}/{folder.name}"


def _usable(where: str, folder: Path, study: Study) -> Run:
    try:
        run = read(folder)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{where}: {error}. Name the folder that `llmstudy probe endpoint` wrote."
        ) from None
    verdict = audit(run)
    if not verdict.valid:
        raise ValueError(
            f"{where}: the run in {folder} is invalid: {'; '.join(verdict.reasons)}. Nothing may "
            "rest on it: probe again, or take it out of the study."
        )
    if not run.facts.get("started_at"):
        raise ValueError(
            f"{where}: the run in {folder} does not say when it began: add `started_at` to its "
            "run.json, or take it out of the study."
        )
    if _day(run) > study.as_of:
        raise ValueError(
            f"{where}: the run in {folder} is of {_day(run)}, after the study's day: set as_of to "
            f"{_day(run)} or later, or take it out of the study."
        )
    return run


def _check_alike(where: str, runs: Mapping[str, Run], folders: int) -> None:
    if len(runs) < folders:
        raise ValueError(
            f"{where} names one folder twice, or two of one name: runs count as independent, so "
            "name each once."
        )
    conditions = {name: _conditions(run.facts) for name, run in runs.items()}
    for what in _conditions({}):
        values = {name: of_run[what] for name, of_run in conditions.items()}
        if len(set(values.values())) > 1:
            listing = ", ".join(
                f"{name} ({value or 'not known'})" for name, value in values.items()
            )
            raise ValueError(
                f"{where} names runs of different {what}, which have no percentile in common: "
                f"{listing}. Keep those of one."
            )


def _conditions(facts: Mapping[str, Any]) -> dict[str, str]:
    """What the runs of one route must share, in words, by its plural."""
    endpoint, lengths = facts.get("endpoint") or {}, facts.get("lengths") or {}
    serving = facts.get("serving") or {}
    return {
        "endpoints": str(endpoint.get("base_url") or "").rstrip("/"),
        "models": str(endpoint.get("model") or ""),
        "loads": load_text(facts),
        "sources of lengths": str(lengths.get("source") or ""),
        "weights": str(serving.get("weights") or ""),
    }


def load_text(facts: Mapping[str, Any]) -> str:
    """The load of a run in a few words: process, rate or concurrency, mean lengths, shared prefix.

    >>> load_text({"load": {"process": "poisson", "rate_per_s": 4.0},
    ...             "lengths": {"input_tokens": 1155.0, "output_tokens": 211.0}})
    'poisson, 4 per s, 1155 in, 211 out'
    >>> load_text({"load": {"process": "closed", "concurrency": 8},
    ...             "lengths": {"input_tokens": 512, "shared_prefix_share": 0.9}})
    'closed, 8 at once, 512 in, 90 % of the input shared'
    """
    load, lengths = facts.get("load") or {}, facts.get("lengths") or {}
    closed = load.get("process") == "closed"  # in open loop, concurrency is a cap
    scale = load.get("time_scale") or 1.0
    shared = lengths.get("shared_prefix_share")
    parts = {
        "{}": load.get("process"),
        "{:.4g} times as fast as the log": None if scale == 1 else scale,
        "{:.4g} per s": load.get("rate_per_s"),
        "rising to {:.4g} per s": load.get("ramp_to_per_s"),
        "burstiness {:.4g}": load.get("burstiness") if load.get("process") == "gamma" else None,
        "{} at once": load.get("concurrency") if closed else None,
        "{:.0f} in": lengths.get("input_tokens"),
        "{:.0f} out": lengths.get("output_tokens"),
        "{:.3g} % of the input shared": 100 * shared if shared else None,
    }
    return ", ".join(form.format(value) for form, value in parts.items() if value is not None)


@dataclass(frozen=True)
class Needed:
    """What an unsupported percentile lacks: requests, or another day or run.

    unit: what counts as independent ("days", "runs", "requests"), of which there are `units`.
    requests: like these, that would bound the percentile on both sides; None where they would not
    do, as days or runs are too few, or where there is none to go by.
    """

    unit: str
    units: int
    requests: int | None


FEW_UNITS = 5
"""Days or runs below which more of them are needed and not more requests; assumed: a variance of
fewer is known to a factor of three or worse."""


def needed(estimate: PercentileEstimate, percentile: str, unit: str, units: int) -> Needed:
    """What would bound a percentile on both sides.

    >>> short = PercentileEstimate(None, 0.2, 0.9, 40, False, 20.0)
    >>> needed(short, "p95", "requests", 40).requests
    144
    >>> needed(short, "p95", "days", 2)
    Needed(unit='days', units=2, requests=None)
    """
    if not estimate.n or (unit != "requests" and units < FEW_UNITS):
        return Needed(unit, units, None)
    least = percentile_minimum_n(PERCENTILES[percentile])
    return Needed(unit, units, ceil(least * estimate.n / max(estimate.n_effective, 1.0)))


def probe_findings(study: Study) -> list[Finding]:
    """A warning for each route whose newest probe run is old at the study's day, or not comparable
    with a workload that may run on it.

    Raises: ValueError as `probes_of`.
    """
    findings = []
    for name, probe in probes_of(study).items():
        newest = max(probe.days)
        age_days = (study.as_of - newest).days
        if age_days > OLD_DAYS:
            sentence = f"The probe of {name} is {age_days} days old ({newest}): probe again."
            findings.append(Finding("warning", f"routes.{name}.probe", sentence))
            continue
        for workload, spec in study.workloads.items():
            if name not in (spec.current_route, *spec.candidates):
                continue
            if reasons := unlike(probe, study, name, workload):
                sentence = f"{not_comparable(name, workload, reasons)}: probe at its own load."
                findings.append(Finding("warning", f"routes.{name}.probe", sentence))
    return findings


def not_comparable(route: str, workload: str, reasons: Sequence[str]) -> str:
    """The sentence, without its full stop, that says why a probe is not used for a workload."""
    return f"The probe of {route} is not comparable with {workload}: {'; '.join(reasons)}"


def _day(run: Run) -> date:
    return datetime.fromisoformat(run.facts["started_at"]).date()
