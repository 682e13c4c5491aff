"""The facts of a memo: the study and the results of its chapters, with the few choices that the
memo makes among them (which workload leads, how sure we are). No HTML here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from llmstudy.chapter import Chapter
from llmstudy.figure import Figure
from llmstudy.study import Study

ARMS = {
    "proprietary_api": "a proprietary API",
    "hosted_open": "hosted open weights",
    "self_hosted": "self-hosting",
}

INPUTS = {
    "requests": ("requests a month", "intake.requests"),
    "input_tokens": ("input tokens a request", "intake.input_tokens"),
    "output_tokens": ("output tokens a request", "intake.output_tokens"),
    "peak_to_mean": ("peak hour against mean", "intake.peak_to_mean"),
    "growth": ("growth of volume", "growth"),
    "cached_input_share": ("cached share of input", "cached_input_share"),
    "retry_share": ("retried requests", "retry_share"),
    "drift_proprietary_api": ("API price drift", "price_drift.proprietary_api"),
    "drift_hosted_open": ("hosted price drift", "price_drift.hosted_open"),
    "drift_gpu": ("GPU price drift", "price_drift.gpu"),
    "fte": ("staff of the fleet", "self_hosting.fte"),
    "usd_per_fte_year": ("salary", "team.usd_per_fte_year"),
    "overhead_share": ("overheads of the fleet", "self_hosting.overhead_share"),
    "target_utilisation": ("target utilisation", "self_hosting.target_utilisation"),
    "usd_per_gpu_hour": ("GPU rent", ""),
    "capacity_factor": ("error of capacity", ""),
    "today_usd_per_gpu_hour": ("today's GPU rent", ""),
    "today_capacity_factor": ("error of today's capacity", ""),
    "moving_cost": ("one-off cost of moving", ""),
    "ramp": ("months until moved", ""),
}
"""What an input is called, and where the study file states it (in its workload or at the root)."""

BEFORE_MEMO = (
    "01_evidence",
    "02_cost",
    "03_latency",
    "04_quality",
    "05_self_hosting",
    "06_crossover",
    "07_triggers_and_routing",
)

LIKELIHOODS = (
    (0.05, "almost no chance"),
    (0.20, "very unlikely"),
    (0.45, "unlikely"),
    (0.55, "a roughly even chance"),
    (0.80, "likely"),
    (0.95, "very likely"),
    (1.01, "almost certain"),
)
"""Upper bounds of the words for a likelihood. Source: ICD 203, Analytic Standards (2015), 6.a."""


def likelihood(p: float) -> str:
    """The fixed word for a probability.

    >>> likelihood(0.93), likelihood(0.5)
    ('very likely', 'a roughly even chance')
    """
    return next(word for bound, word in LIKELIHOODS if p < bound)


def opening(text: str) -> str:
    """A text as the start of a sentence.

    >>> opening("API price drift"), opening("growth")
    ('API price drift', 'Growth')
    """
    return text[:1].upper() + text[1:]


def listed(names: list[str]) -> str:
    """Names as prose.

    >>> listed(["chat", "search", "tagging"])
    'chat, search and tagging'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


@dataclass(frozen=True)
class Facts:
    """A study and the results of its chapters, by chapter name, as their JSON reads."""

    study: Study
    chapters: Mapping[str, Mapping[str, Any]]

    def with_results(self, name: str, results: Mapping[str, Any]) -> "Facts":
        """The facts with one more chapter's results."""
        return Facts(self.study, {**self.chapters, name: results})

    @property
    def decided(self) -> Mapping[str, Any]:
        """Results of the last analysis chapter."""
        return self.chapters["07_triggers_and_routing"]

    @property
    def crossing(self) -> Mapping[str, Any]:
        """Results of the crossover chapter."""
        return self.chapters["06_crossover"]

    @property
    def verdicts(self) -> Mapping[str, Mapping[str, Any]]:
        """Verdict of each workload, in the study's order."""
        found: Mapping[str, Mapping[str, Any]] = self.decided["verdicts"]
        return found

    def deciding(self, decision: str) -> list[str]:
        """Workloads with this decision: stay, move or undecided."""
        return [name for name, v in self.verdicts.items() if v["decision"] == decision]

    @property
    def unknown(self) -> list[str]:
        """Intake questions answered `unknown`, by path."""
        return list(self.chapters["01_evidence"]["unknown"])

    @property
    def lead(self) -> str:
        """The workload that the memo shows: the one with most to gain from a move, else the
        largest bill."""
        gains = {str(r["workload"]): float(r["base_usd"]) for r in self.crossing["sensitivity"]}
        bills: dict[str, float] = self.crossing["month_usd"]["today_by_workload"]
        sized = gains or bills
        return max(sized, key=lambda name: sized[name])

    def sensitivity(self) -> Mapping[str, Any] | None:
        """What decides the saving of the lead workload's best move."""
        rows = [r for r in self.crossing["sensitivity"] if r["workload"] == self.lead]
        return rows[0] if rows else None

    def crossovers(self, workload: str) -> list[Mapping[str, Any]]:
        """The crossovers of one workload."""
        return [row for row in self.crossing["crossover"] if row["workload"] == workload]

    def table(self, chapter: str, name: str) -> pd.DataFrame:
        """A table of a chapter."""
        return pd.DataFrame(self.chapters[chapter][name])

    def forced(self, workload: str) -> bool:
        """Whether a workload must move because today's route may not see its data."""
        current = self.study.workloads[workload].current_route
        return any(
            row["code"] == "privacy" and row["route"] == current
            for row in self.verdicts[workload]["reasons"]
        )

    def comparisons(self) -> pd.DataFrame:
        """The quality verdicts of routes that may serve, one row per comparison.

        Routes of a workload that rest on the same items share a row, and so do those without any;
        `routes` lists them, `route` names them in short.
        """
        key = ["workload", "route"]
        allowed = pd.DataFrame(self.crossing["permissions"])
        allowed = allowed[allowed["permitted"] & allowed["fits_context"]]
        table = self.table("04_quality", "quality").merge(allowed[key], on=key)
        same = table.groupby(["workload", "difference"], dropna=False, sort=False)
        lines = same.first().reset_index()
        lines["routes"] = list(same["route"].agg(list))
        lines["route"] = [
            f"{r[0]} and {len(r) - 1} more" if len(r) > 1 else r[0] for r in lines["routes"]
        ]
        return lines

    def fired(self) -> list[Mapping[str, Any]]:
        """Triggers that have fired."""
        return [row for row in self.decided["triggers"] if row["status"] == "fired"]

    def items_to_collect(self) -> tuple[int, float]:
        """Golden items that the undecided workloads need, and what they cost. (items, usd).

        One set of items serves every candidate of a workload, so the largest need counts.
        """
        n, usd = 0, 0.0
        for verdict in self.verdicts.values():
            needs = [c for c in verdict["collect"] if c["what"] == "golden items"]
            if needs:
                most = max(needs, key=lambda c: c["n"])
                n, usd = n + most["n"], usd + most["usd"]
        return n, usd

    def confidence(self) -> tuple[str, str]:
        """How far the evidence carries the verdict, and why: (level, reason).

        High when volumes and quality are measured, moderate when one of them is, else low.
        """
        volumes = self.table("01_evidence", "workloads")["volume_grade"]
        quality = self.table("04_quality", "quality")
        scored = quality[quality["verdict"] != "none"]
        sized = bool((volumes == "measured").all())
        judged = len(scored) > 0 and bool((scored["grade"] == "measured").all())
        why = [
            "volumes come from the log" if sized else "volumes are not all measured",
            "quality was scored on our own items" if judged else "no item of ours has been scored",
        ]
        level = "high" if sized and judged else "moderate" if sized or judged else "low"
        return level, listed(why)

    def requests_per_month(self, workload: str) -> float:
        """Volume of a workload: the log's where there is one, else the study's."""
        rows = self.chapters["01_evidence"]["workloads"]
        return float(next(r["requests_per_month"] for r in rows if r["workload"] == workload))

    def figure(self, short: str, workload: str) -> Figure | None:
        """The ledger's figure behind an input, where it states one."""
        path = INPUTS[short][1]
        if short in ("moving_cost", "ramp"):
            sensitivity = self.sensitivity()
            arm = self.study.routes[sensitivity["route"]].arm if sensitivity else ""
            path = f"moving.{arm}.{'cost' if short == 'moving_cost' else 'ramp'}"
        ledger = {row["name"]: row for row in self.chapters["01_evidence"]["figures"]}
        row = ledger.get(f"workloads.{workload}.{path}") or ledger.get(path)
        return None if row is None else Figure(**{**row, "distribution": "fixed"})


def read_facts(chapter: Chapter, names: Iterable[str] = ()) -> Facts:
    """The facts that a chapter goes on from: all earlier chapters, or those named."""
    return Facts(chapter.study, {name: chapter.read(name) for name in names or BEFORE_MEMO})
