"""The facts of a memo: the study and the results of its chapters, and the choices that the memo
makes among them (which workload leads, how confident it is). There is no HTML here.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from llmstudy.chapters import BEFORE_MEMO, OF_RUN
from llmstudy.chapters.notebook import Chapter
from llmstudy.evidence.case import rows_of
from llmstudy.figure import Figure
from llmstudy.study import Study
from llmstudy.study.labelling import usd_per_item
from llmstudy.study.snapshot import from_json
from llmstudy.tables import inputs
from llmstudy.text import listed


@dataclass(frozen=True)
class Facts:
    """A study and the results of its chapters, by chapter name, as read from JSON."""

    study: Study
    chapters: Mapping[str, Mapping[str, Any]]

    def with_results(self, name: str, results: Mapping[str, Any]) -> "Facts":
        """The facts with the results of one more chapter."""
        return Facts(self.study, {**self.chapters, name: results})

    @property
    def decided(self) -> Mapping[str, Any]:
        """The results of chapter 07."""
        return self.chapters["07_triggers_and_routing"]

    @property
    def crossing(self) -> Mapping[str, Any]:
        """The results of chapter 06."""
        return self.chapters["06_crossover"]

    @property
    def verdicts(self) -> Mapping[str, Mapping[str, Any]]:
        """The verdict of each workload, in the study's order."""
        verdicts: Mapping[str, Mapping[str, Any]] = self.decided["verdicts"]
        return verdicts

    def deciding(self, decision: str) -> list[str]:
        """The workloads with this decision: stay, move or undecided."""
        return [name for name, v in self.verdicts.items() if v["decision"] == decision]

    @property
    def unknown(self) -> list[str]:
        """The paths of intake questions answered `unknown`."""
        return list(self.chapters["01_evidence"]["unknown"])

    @property
    def lead(self) -> str:
        """The workload that the memo leads with: the one whose move saves most, else the one with
        the largest bill. Once there are verdicts, only favoured moves count."""
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
        """The arm of today's route of a workload."""
        return self.study.routes[self.study.workloads[workload].current_route].arm

    @property
    def best_move(self) -> Mapping[str, Any] | None:
        """The savings row of the lead workload's best move, whose drivers chapter 06 ranks, or
        None."""
        ranked = self.rows("06_crossover", "sensitivity", workload=self.lead)
        place = {"workload": self.lead, "route": ranked[0]["route"]} if ranked else None
        return self.rows("06_crossover", "savings", **place)[0] if place else None

    @property
    def self_hosted_move(self) -> Mapping[str, Any] | None:
        """The self-hosted move with the largest saving (or smallest loss), or None."""
        rows = self.rows("06_crossover", "savings", arm="self_hosted")
        return max(rows, key=lambda row: row["saving_p50_usd"], default=None)

    @property
    def least_settled(self) -> Mapping[str, Any] | None:
        """The self-hosted move whose probability of ever paying off is nearest to one half, or
        None."""
        rows = [row for row in self.crossing["never"] if row["inputs"]]
        return min(rows, key=lambda row: abs(row["p_never"]["estimate"] - 0.5), default=None)

    @property
    def busiest_fleet(self) -> Mapping[str, Any] | None:
        """The sized fleet with the highest mean utilisation, or None."""
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
        """The number and length of the back-test's simulated futures, or why there are none."""
        about = self.decided["timing"]
        if about["reason"]:
            return str(about["reason"])
        length = f"{about['paths']:,} futures of {about['months']} months"
        return f"simulated: {length}, priors as graded"

    def sensitivity(self) -> Mapping[str, Any] | None:
        """The sensitivity of the saving of the lead workload's best move; None if the verdict
        favours another move."""
        row = next(iter(self.rows("06_crossover", "sensitivity", workload=self.lead)), None)
        if row is None or BEFORE_MEMO[-1] not in self.chapters:
            return row
        return row if self.verdicts[self.lead]["target"] in (None, row["route"]) else None

    @property
    def flips(self) -> list[Mapping[str, Any]]:
        """The inputs that can turn a verdict on cost, each with the value at which they do."""
        return [row for row in self.crossing["flips"] if row["flips_at"] is not None]

    def table(self, chapter: str, name: str) -> pd.DataFrame:
        """A table of a chapter, as a data frame."""
        return pd.DataFrame(self.chapters[chapter][name])

    def forced(self, workload: str) -> bool:
        """Whether a workload must move because today's route may not see its data."""
        current = self.study.workloads[workload].current_route
        return any(
            row["code"] == "privacy" and row["route"] == current
            for row in self.verdicts[workload]["reasons"]
        )

    def comparisons(self) -> pd.DataFrame:
        """The quality verdicts of permitted routes, one row per comparison; counts of comparisons
        are counts of these rows.

        Routes of a workload with the same items share a row, and so do those without any; `routes`
        lists them, `route` names them in short.
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
        """The scored comparisons of the workloads with the largest bills; at most this many."""
        table = self.comparisons()
        bills = self.crossing["month_usd"]["today_by_workload"]
        scored = table[table["verdict"] != "none"]
        order = scored["workload"].map(lambda name: -bills.get(name, 0.0))
        largest = order.sort_values(kind="stable").index[:most]
        return scored.loc[sorted(largest)].reset_index(drop=True)

    def fired(self) -> list[Mapping[str, Any]]:
        """The triggers that have fired."""
        return [row for row in self.decided["triggers"] if row["status"] == "fired"]

    def questions(self, workload: str) -> int:
        """The number of own questions to score on a workload's favoured route and today's."""
        verdict = self.verdicts[workload]
        for item in verdict["collect"]:
            mine = verdict["target"] and item["sentence"].startswith(f"{verdict['target']}:")
            if item["what"] == "golden items" and mine:
                return int(item["n"] or 0)
        return 0

    def questions_to_score(self) -> tuple[int, float]:
        """The own questions of all undecided workloads, and their cost. (questions, usd)."""
        needs = {name: self.questions(name) for name in self.deciding("undecided")}
        usd = sum(n * usd_per_item(self.study, name).value for name, n in needs.items())
        return sum(needs.values()), usd

    def watches(self, trigger: str) -> str:
        """The owner of a trigger."""
        return next(str(r["owner"]) for r in self.decided["triggers"] if r["id"] == trigger)

    def month_usd(self, routes: Mapping[str, str], on: str = "") -> float | None:
        """The monthly cost of workloads on routes, at today's volumes; None if a bill is unknown.
        usd.

        routes: workload -> route. on: the day of the prices (ISO); by default before any announced
        change. Fleets share one team.
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
        """The bills of workloads on routes after announced price changes, by date."""
        chosen = set(pairs)
        rows = self.chapters["02_cost"]["scheduled"]
        announced = [row for row in rows if (row["workload"], row["route"]) in chosen]
        return sorted(announced, key=lambda row: str(row["effective"]))

    def waiting_usd(self, decision: str) -> list[dict[str, Any]] | None:
        """The extra monthly cost without the moves of workloads with this decision.

        Today's bill minus the bill on their targets, at today's volumes, at least 0: from today,
        and from each day on which an announced price changes it. Rows: since (ISO date), usd,
        bill_usd (of today's routes). None if a bill is unknown.
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
        """The workloads whose data may not go to today's route, as rows of `permissions`."""
        return self.rows("06_crossover", "permissions", current=True, permitted=False)

    def barred(self) -> list[str]:
        """The workloads that no permitted route can serve today."""
        return [name for name, v in self.verdicts.items() if v["route"] is None]

    def confidence(self) -> tuple[str, str]:
        """The confidence in the verdict, and why: (level, reason).

        High if all volumes come from a log long enough to size a fleet and all comparisons are on
        own items; moderate if one of the two is so; else low.
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
        """The volume of a workload, from the log if there is one, else from the study."""
        rows = self.chapters["01_evidence"]["workloads"]
        return float(next(r["requests_per_month"] for r in rows if r["workload"] == workload))

    def unbilled(self) -> list[str]:
        """The workloads without a bill today, since the capacity of their fleet is unknown."""
        return [
            n for n in self.verdicts if n not in self.crossing["month_usd"]["today_by_workload"]
        ]

    def ending(self) -> list[str]:
        """Sentences on models in use that retire and must be replaced whatever else is decided."""
        return [
            item["sentence"]
            for verdict in self.verdicts.values()
            for item in verdict["collect"]
            if item["what"] == "successor"
        ]

    def stated(self, name: str) -> Mapping[str, Any]:
        """The ledger row of a figure, by its path in the study.

        Raises: StopIteration if the ledger has none.
        """
        return next(r for r in self.chapters["01_evidence"]["figures"] if r["name"] == name)

    def ledger(self) -> pd.DataFrame:
        """Every figure behind the memo: assumptions, prices, paired results, rents and
        capacities."""
        tables = [self.chapters[name]["figures"] for name in ("01_evidence", "05_self_hosting")]
        return pd.DataFrame([row for rows in tables for row in rows])

    def figure(self, short: str, workload: str) -> Figure | None:
        """The figure behind an input, from the ledger; None if it has none."""
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
    """The grades of volume and requests, as a note. row: of `workloads` or `fleets`."""
    requests = "simulated from published figures" if row["traffic"] == "simulated" else "measured"
    return f"volume: {row['volume_grade']} · requests: {requests}"


def read_facts(chapter: Chapter, names: Iterable[str] = ()) -> Facts:
    """The facts from earlier chapters: those named, or all.

    All of them include the change since the previous run and the gateway's files, if there are any.
    """
    chapters = {name: chapter.read(name) for name in names or BEFORE_MEMO}
    for name in () if names else OF_RUN:
        file = chapter.run / "results" / f"{name}.json"
        if file.is_file():
            chapters[name] = json.loads(file.read_text(encoding="utf-8"))
    return facts_of(chapter.study, chapters)


def facts_of(study: Study, chapters: Mapping[str, Mapping[str, Any]]) -> Facts:
    """The facts of a study and its results, with the log's figures in place of assumed ones.

    The latter come from the results of chapter 01, if they are among them.
    """
    if "01_evidence" in chapters:
        assessed = from_json(chapters["01_evidence"]["study"])
        study = study.model_copy(update={"workloads": assessed.workloads})
    return Facts(study, chapters)
