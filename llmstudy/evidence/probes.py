"""The probe runs that a study names for its routes, and whether they are comparable with workloads.

A run counts only if its audit finds it valid. Several runs of a route are one sample under one
load, whose independent units are days, or else runs.
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
"""Age above which a run no longer counts. Assumed: models and hardware change within months."""

LENGTH_RATIOS = {"input_tokens": 1.5, "output_tokens": 2.0}
"""Highest ratio of the mean tokens of a run and of a workload, either way, at which they are
comparable. Assumed: most of the time to a first token is spent on the prompt, in proportion to its
length, whereas the length of answers changes latency by less."""


@dataclass(frozen=True)
class RouteProbe:
    """The valid runs of one route, by the name of their folder."""

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
        """Whether the load was a closed loop: a wait before dispatch is then not part of TTFT."""
        facts = next(iter(self.runs.values())).facts
        return bool((facts.get("load") or {}).get("process") == "closed")

    @property
    def endpoint_models(self) -> tuple[str, ...]:
        """The model names that were requested."""
        endpoints = [run.facts.get("endpoint") or {} for run in self.runs.values()]
        return tuple(dict.fromkeys(str(endpoint.get("model")) for endpoint in endpoints))

    @property
    def models(self) -> tuple[str, ...]:
        """All names of the model: as requested, as in the answers, and of the weights served."""
        serving = [(run.facts.get("serving") or {}).get("model") for run in self.runs.values()]
        served = self.samples["served_model"].dropna().astype(str)
        return tuple(dict.fromkeys([*self.endpoint_models, *served, *filter(None, serving)]))

    def mean_tokens(self, column: str) -> float | None:
        """Mean `input_tokens` or `output_tokens` of the answers.

        By the server's count, or else as requested; None without either.
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
        """What a percentile lacks to be supported; None if it is supported."""
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
    """Reasons why the runs of a route are not comparable with a workload; empty if they are.

    They must be of the route's model, of similar lengths (`LENGTH_RATIOS`; lengths that the study
    answers `unknown` are not compared) and not too old (`OLD_DAYS`).
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
    """The probe runs of a study by route.

    Raises: ValueError that names study, route and folder, for a folder that is not a run, a run
    that is invalid or later than the study's day, and runs under different loads.
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
    """The folder's name, with its parent's if two runs have the same name."""
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
            f"{where}: the run in {folder} is invalid: {'; '.join(verdict.reasons)}. Probe "
            "again, or remove it from the study."
        )
    if not run.facts.get("started_at"):
        raise ValueError(
            f"{where}: the run in {folder} does not say when it began: add `started_at` to its "
            "run.json, or remove it from the study."
        )
    if _day(run) > study.as_of:
        raise ValueError(
            f"{where}: the run in {folder} is of {_day(run)}, after the study's day: set as_of to "
            f"{_day(run)} or later, or remove it from the study."
        )
    return run


def _check_alike(where: str, runs: Mapping[str, Run], folders: int) -> None:
    if len(runs) < folders:
        raise ValueError(
            f"{where} names a folder twice, or two with the same name: runs count as independent, "
            "so name each once."
        )
    conditions = {name: _conditions(run.facts) for name, run in runs.items()}
    for what in _conditions({}):
        values = {name: of_run[what] for name, of_run in conditions.items()}
        if len(set(values.values())) > 1:
            listing = ", ".join(
                f"{name} ({value or 'not known'})" for name, value in values.items()
            )
            raise ValueError(
                f"{where} names runs with different {what}, which cannot share a percentile: "
                f"{listing}. Keep those that agree."
            )


def _conditions(facts: Mapping[str, Any]) -> dict[str, str]:
    """Conditions that all runs of a route must share: plural name -> value of this run."""
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
    """The load of a run in words: process, rate or concurrency, mean lengths, shared prefix.

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
    """What an unsupported percentile lacks: more requests, or more days or runs.

    unit: what counts as independent ("days", "runs", "requests"); units: how many there are.
    requests: total that would bound the percentile on both sides; None if more days or runs are
    needed instead, or if there are no requests to extrapolate from.
    """

    unit: str
    units: int
    requests: int | None


FEW_UNITS = 5
"""Fewest days or runs to estimate a variance from; assumed: with fewer it is uncertain by a factor
of three or more, so that more of them are needed, not more requests."""


def needed(estimate: PercentileEstimate, percentile: str, unit: str, units: int) -> Needed:
    """What is needed to bound a percentile on both sides.

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
    """Warnings on probe runs that are too old or not comparable with a workload of their route.

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
    """Why a probe is not used for a workload, as a sentence without its full stop."""
    return f"The probe of {route} is not comparable with {workload}: {'; '.join(reasons)}"


def _day(run: Run) -> date:
    return datetime.fromisoformat(run.facts["started_at"]).date()
