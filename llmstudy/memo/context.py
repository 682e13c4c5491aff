"""The facts of a memo: the study and the results of its chapters, with the few choices that the
memo makes among them (which workload leads, how sure we are). No HTML here.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from llmstudy.chapters import BEFORE_MEMO
from llmstudy.chapters.notebook import Chapter
from llmstudy.evidence.case import rows_of
from llmstudy.figure import Figure
from llmstudy.study import Study
from llmstudy.study.snapshot import from_json
from llmstudy.tables import inputs
from llmstudy.text import listed


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
        verdicts: Mapping[str, Mapping[str, Any]] = self.decided["verdicts"]
        return verdicts

    def deciding(self, decision: str) -> list[str]:
        """Workloads with this decision: stay, move or undecided."""
        return [name for name, v in self.verdicts.items() if v["decision"] == decision]

    @property
    def unknown(self) -> list[str]:
        """Intake questions answered `unknown`, by path."""
        return list(self.chapters["01_evidence"]["unknown"])

    @property
    def lead(self) -> str:
        """The workload that the memo shows: the one whose move saves most (the favoured one, once
        there are verdicts), else the one with the largest bill."""
        decided = self.verdicts if BEFORE_MEMO[-1] in self.chapters else None
        gains: dict[str, float] = {}
        for row in self.crossing["savings"]:
            name, saving = str(row["workload"]), float(row["saving_p50_usd"])
            if decided is None or row["route"] == decided[name]["target"]:
                gains[name] = max(saving, gains.get(name, saving))
        bills: dict[str, float] = self.crossing["month_usd"]["today_by_workload"]
        sized = gains or bills or dict.fromkeys(self.study.workloads, 0.0)
        return max(sized, key=lambda name: sized[name])

    def rows(self, chapter: str, name: str, **values: Any) -> list[Mapping[str, Any]]:
        """The rows of a chapter's table with these values in these columns."""
        return list(rows_of(self.chapters[chapter][name], **values))

    def todays_arm(self, workload: str) -> str:
        """The arm of a workload's route of today."""
        return self.study.routes[self.study.workloads[workload].current_route].arm

    @property
    def best_move(self) -> Mapping[str, Any] | None:
        """The saving of the lead workload's best move, whose drivers chapter 06 ranks; None without
        one."""
        ranked = self.rows("06_crossover", "sensitivity", workload=self.lead)
        place = {"workload": self.lead, "route": ranked[0]["route"]} if ranked else None
        return self.rows("06_crossover", "savings", **place)[0] if place else None

    @property
    def self_hosted_move(self) -> Mapping[str, Any] | None:
        """The self-hosted move that comes nearest to paying."""
        rows = self.rows("06_crossover", "savings", arm="self_hosted")
        return max(rows, key=lambda row: row["saving_p50_usd"], default=None)

    @property
    def least_settled(self) -> Mapping[str, Any] | None:
        """The self-hosted move whose probability of ever paying is nearest to a half."""
        rows = [row for row in self.crossing["never"] if row["inputs"]]
        return min(rows, key=lambda row: abs(row["p_never"]["estimate"] - 0.5), default=None)

    @property
    def busiest_fleet(self) -> Mapping[str, Any] | None:
        """The sized fleet with the highest mean utilisation, where any can serve."""
        rows = self.rows("05_self_hosting", "fleets")
        return max(rows, key=lambda row: row["utilisation"], default=None)

    def evidence_note(self, workload: str) -> str:
        """The grades of the volume, the requests and the prices behind a workload's chart."""
        evidence, routes = self.chapters["01_evidence"], self.study.workloads[workload].routes
        starts = tuple(f"routes.{route}.price." for route in routes)
        grades = sorted({f["grade"] for f in evidence["figures"] if f["name"].startswith(starts)})
        (row,) = self.rows("01_evidence", "workloads", workload=workload)
        return f"{volume_note(row)} · prices: {', '.join(grades)}"

    @property
    def futures_note(self) -> str:
        """Number, length and priors of the back-test's simulated futures, or why there are none."""
        about = self.decided["timing"]
        if about["reason"]:
            return str(about["reason"])
        length = f"{about['paths']:,} futures of {about['months']} months"
        return f"simulated: {length}, priors as graded"

    def sensitivity(self) -> Mapping[str, Any] | None:
        """The sensitivity of the saving of the lead workload's best move; None where that is not
        the move that the verdict favours."""
        row = next(iter(self.rows("06_crossover", "sensitivity", workload=self.lead)), None)
        if row is None or BEFORE_MEMO[-1] not in self.chapters:
            return row
        return row if self.verdicts[self.lead]["target"] in (None, row["route"]) else None

    @property
    def flips(self) -> list[Mapping[str, Any]]:
        """The inputs that can turn a verdict on cost, each with the value at which it does."""
        return [row for row in self.crossing["flips"] if row["flips_at"] is not None]

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
        """The quality verdicts of routes that may serve, one row per comparison; every count of
        comparisons is a count of these rows.

        Routes of a workload that rest on the same items share a row, and so do those without any;
        `routes` lists them, `route` names them in short.
        """
        columns = ["workload", "route", "verdict", "grade", "n", "n_needed", "margin", "source"]
        columns += ["difference", "low", "high", "benchmark", "closeness"]
        table = pd.DataFrame(self.chapters["04_quality"]["quality"], columns=columns)
        same = table.groupby(["workload", "source", "n"], sort=False)
        lines = same.first().reset_index()
        lines["routes"] = list(same["route"].agg(list))
        lines["route"] = [
            f"{r[0]} and {len(r) - 1} more" if len(r) > 1 else r[0] for r in lines["routes"]
        ]
        return lines

    def largest_comparisons(self, most: int) -> pd.DataFrame:
        """Of the comparisons that are scored, those of the workloads with the largest bills."""
        table = self.comparisons()
        bills = self.crossing["month_usd"]["today_by_workload"]
        scored = table[table["verdict"] != "none"]
        order = scored["workload"].map(lambda name: -bills.get(name, 0.0))
        largest = order.sort_values(kind="stable").index[:most]
        return scored.loc[sorted(largest)].reset_index(drop=True)

    def fired(self) -> list[Mapping[str, Any]]:
        """Triggers that have fired."""
        return [row for row in self.decided["triggers"] if row["status"] == "fired"]

    def questions(self, workload: str) -> int:
        """Own questions to score on a workload's favoured route and on today's."""
        verdict = self.verdicts[workload]
        for item in verdict["collect"]:
            mine = verdict["target"] and item["sentence"].startswith(f"{verdict['target']}:")
            if item["what"] == "golden items" and mine:
                return int(item["n"] or 0)
        return 0

    def questions_to_score(self) -> tuple[int, float]:
        """Those of all undecided workloads, and what scoring them costs. (questions, usd)."""
        n = sum(map(self.questions, self.deciding("undecided")))
        return n, n * self.study.usd_per_golden_item.value

    def watches(self, trigger: str) -> str:
        """The owner of a trigger."""
        return next(str(r["owner"]) for r in self.decided["triggers"] if r["id"] == trigger)

    def month_usd(self, routes: Mapping[str, str], on: str = "") -> float | None:
        """A month of these workloads on these routes, at today's volumes and the prices of a day
        (ISO; by default today's, before any announced change). usd.

        Fleets share one team. None where a bill is not known.
        """
        rows = [*self.chapters["02_cost"]["bills"], *self.chapters["05_self_hosting"]["fleets"]]
        bills = {(row["workload"], row["route"]): row for row in rows}
        if not bills.keys() >= set(routes.items()):
            return None
        route_rows = [bills[pair] for pair in routes.items()]
        teams = [float(row.get("staff_month_usd", 0.0)) for row in route_rows]
        months = {pair: float(bills[pair]["month_usd"]) for pair in routes.items()}
        for row in self._scheduled(routes.items()):
            if row["effective"] <= on:
                months[row["workload"], row["route"]] = float(row["month_usd"])
        return sum(months.values()) - sum(teams) + max(teams, default=0.0)

    def _scheduled(self, pairs: Iterable[tuple[str, str]]) -> list[Mapping[str, Any]]:
        """The announced bills of workloads on routes, in the order of their days."""
        chosen = set(pairs)
        rows = self.chapters["02_cost"]["scheduled"]
        announced = [row for row in rows if (row["workload"], row["route"]) in chosen]
        return sorted(announced, key=lambda row: str(row["effective"]))

    def waiting_usd(self, decision: str) -> list[dict[str, Any]] | None:
        """What a month costs more without the moves of workloads with this decision: from today,
        and from each day on which an announced price changes that.

        Today's bill less the one on their targets, at today's volumes; at least nothing. Rows:
        since (ISO date), usd, bill_usd (today's routes). None where one of the bills is not known.
        """
        today = {
            name: self.study.workloads[name].current_route
            for name in self.crossing["month_usd"]["today_by_workload"]
        }
        targets = {name: self.verdicts[name]["target"] for name in self.deciding(decision)}
        moved = {name: target for name, target in targets.items() if target and name in today}
        changes = self._scheduled([*today.items(), *moved.items()])
        days = dict.fromkeys(row["effective"] for row in changes)
        rows: list[dict[str, Any]] = []
        for day in (self.study.as_of.isoformat(), *days):
            now, then = self.month_usd(today, day), self.month_usd(today | moved, day)
            if now is None or then is None:
                return None
            cost = max(now - then, 0.0)
            if not rows or abs(cost - rows[-1]["usd"]) >= 0.5:
                rows.append({"since": day, "usd": cost, "bill_usd": now})
        return rows

    def stops(self) -> list[Mapping[str, Any]]:
        """Workloads whose data may not go to today's route: rows of `permissions`."""
        return self.rows("06_crossover", "permissions", current=True, permitted=False)

    def barred(self) -> list[str]:
        """Workloads that no permitted route can serve today."""
        return [name for name, v in self.verdicts.items() if v["route"] is None]

    def confidence(self) -> tuple[str, str]:
        """How far the verdict can be trusted, and why: (level, reason).

        High when volumes rest on a log that can size a fleet and every comparison on own items;
        moderate when one of the two holds; else low.
        """
        rows = self.chapters["01_evidence"]["workloads"]
        logged = sum(row["traffic"] == "measured" for row in rows)
        compared = self.comparisons()
        n_own = int((compared["grade"] == "measured").sum())
        sized = logged == len(rows) and not self.chapters["01_evidence"]["warnings"]
        judged = n_own == len(compared) > 0
        why = [
            f"{logged} of {len(rows)} workloads logged" + (" for long enough" if sized else ""),
            f"{n_own} of {int((compared['verdict'] != 'none').sum())} scored comparisons on our "
            "own items",
        ]
        level = "high" if sized and judged else "moderate" if sized or judged else "low"
        return level, listed(why)

    def requests_per_month(self, workload: str) -> float:
        """Volume of a workload: the log's where there is one, else the study's."""
        rows = self.chapters["01_evidence"]["workloads"]
        return float(next(r["requests_per_month"] for r in rows if r["workload"] == workload))

    def unbilled(self) -> list[str]:
        """Workloads whose bill today cannot be stated: no capacity of their fleet is known."""
        return [
            n for n in self.verdicts if n not in self.crossing["month_usd"]["today_by_workload"]
        ]

    def ending(self) -> list[str]:
        """Models of today that retire and must be replaced whatever else is decided."""
        return [
            item["sentence"]
            for verdict in self.verdicts.values()
            for item in verdict["collect"]
            if item["what"] == "successor"
        ]

    def stated(self, name: str) -> Mapping[str, Any]:
        """The ledger's row of a figure, by its path in the study.

        Raises: StopIteration if the ledger has none.
        """
        return next(r for r in self.chapters["01_evidence"]["figures"] if r["name"] == name)

    def ledger(self) -> pd.DataFrame:
        """Every figure that the memo rests on: assumptions, prices, pairs, rents and capacities."""
        tables = [self.chapters[name]["figures"] for name in ("01_evidence", "05_self_hosting")]
        return pd.DataFrame([row for rows in tables for row in rows])

    def figure(self, short: str, workload: str) -> Figure | None:
        """The ledger's figure behind an input, where it states one."""
        sensitivity = self.sensitivity()
        route = sensitivity["route"] if sensitivity else ""
        arm = self.study.routes[route].arm if route else ""
        path = inputs()[short].place.format(arm=arm, route=route)
        if short == "dual_running":  # each kind of move has its own
            path = "self_hosting" if arm == "self_hosted" else "api_use"
            path += ".dual_running"
        names = ("01_evidence", "05_self_hosting")
        ledger = {row["name"]: row for name in names for row in self.chapters[name]["figures"]}
        row = ledger.get(f"workloads.{workload}.{path}") or ledger.get(path)
        return None if row is None else Figure(**{**row, "distribution": "fixed"})


def volume_note(row: Mapping[str, Any]) -> str:
    """The grades of the volume and the requests of a row. row: of `workloads` or `fleets`."""
    requests = "simulated from published figures" if row["traffic"] == "simulated" else "measured"
    return f"volume: {row['volume_grade']} · requests: {requests}"


def read_facts(chapter: Chapter, names: Iterable[str] = ()) -> Facts:
    """The facts that a chapter goes on from: all earlier chapters, or those named.

    All of them come with the change against the previous run, where the run has kept one.
    """
    chapters = {name: chapter.read(name) for name in names or BEFORE_MEMO}
    changes = chapter.run / "results" / "diff.json"
    if not names and changes.is_file():  # written by this run, of no chapter
        chapters["diff"] = json.loads(changes.read_text(encoding="utf-8"))
    return facts_of(chapter.study, chapters)


def facts_of(study: Study, chapters: Mapping[str, Mapping[str, Any]]) -> Facts:
    """The facts of a study file and its results, with what a log measured in place of what the file
    assumes, where the results hold chapter 01."""
    if "01_evidence" in chapters:
        assessed = from_json(chapters["01_evidence"]["study"])
        study = study.model_copy(update={"workloads": assessed.workloads})
    return Facts(study, chapters)
