"""Chapter 07: the four advisors' rules on this study, and their disagreements."""

from collections.abc import Mapping, Sequence
from typing import Any

from llmstudy.decide import panel
from llmstudy.decide.disagreements import resolutions
from llmstudy.decide.plan import ALL
from llmstudy.decide.waiting import todays_signals, with_other_api
from llmstudy.evidence.case import Case, Results, Tables, rows_of
from llmstudy.study import ApiRoute, Study


def panel_tables(case: Case, results: Results, tables: Tables) -> dict[str, Any]:
    """What each advisor's rule decides, when it would switch, and what following it would cost.

    Returns: `panel` (a row per lens: its decision for all workloads together, whether this memo
    agrees, and the month of its switch and its regret in the back-test), `panel_workloads` (its
    decision for each workload alone), `agreement` (by workload: how far the advisors agree) and
    `disagreements` (D1 to D4).
    """
    study = case.study
    groups: dict[str, list[str]] = {ALL: list(study.workloads)}
    groups |= {name: [name] for name in study.workloads}
    answers = {
        label: panel.answers(facts_of(study, results, tables, names), _price(study, results, names))
        for label, names in groups.items()
    }
    leaves = _leaves(tables)
    by_workload = [
        {
            **{key: row[key] for key in ("lens", "advisor", "rule", "decides", "because")},
            "workload": name,
            "agrees": panel.agrees(row["decides"], leaves[name]),
        }
        for name in study.workloads
        for row in answers[name].to_dict("records")
    ]
    trial = _backtests(study, results, tables)
    rows = [
        row
        | {"agrees": panel.agrees(row["decides"], leaves[ALL])}
        | _agreement_with_memo(rows_of(by_workload, lens=row["lens"]))
        | trial.get(row["lens"], dict.fromkeys(_TRIAL))
        for row in answers[ALL].to_dict("records")
    ]
    return {
        "panel": rows,
        "panel_workloads": by_workload,
        "agreement": [
            {"workload": label, **panel.agreement(table)}
            | {advisor.lower(): answer for advisor, answer in panel.of_advisors(table).items()}
            | {"this_memo": "now" if leaves[label] else "no"}
            for label, table in answers.items()
        ],
        "disagreements": panel.disagreements(resolutions(case, results, tables, trial)),
    }


def _leaves(tables: Tables) -> dict[str, bool]:
    """Whether the verdict leaves the proprietary API, for each workload and (`ALL`) for any."""
    off = {
        name: v["route"] is not None and v["arm"] != "proprietary_api"
        for name, v in tables["verdicts"].items()
    }
    return {ALL: any(off.values()), **off}


def _agreement_with_memo(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many workloads a lens can judge, and on how many it decides as this memo does."""
    judged = [row for row in rows if row["agrees"] != "unknown"]
    agreed = sum(row["agrees"] == "yes" for row in judged)
    return {"workloads_agreed": agreed, "workloads_judged": len(judged)}


# --- the facts that rules read --------------------------------------------------------------


def facts_of(
    study: Study, results: Results, tables: Tables, names: Sequence[str]
) -> dict[str, float | None]:
    """The facts that the advisors' rules read, for some workloads together, today.

    Bills and volumes are summed; the highest utilisation counts. What rests on an unanswered intake
    question is None: a prior must not trigger a rule of thumb.
    """
    rows = [row for row in tables["triggers"] if row["workload"] in names]
    volume = _volumes(study, names)
    spend = None if volume is None else _bill(results, names)
    return {
        **todays_signals(rows, with_other_api(results)),
        **_utilisation(rows, has_volume=volume is not None),
        "api_usd_month": spend,
        "api_usd_year": None if spend is None else 12 * spend,
        **(volume or dict.fromkeys(_VOLUMES)),
    }


_VOLUMES = ("requests_month", "tokens_month", "tokens_month_in_12_months")


def _volumes(study: Study, names: Sequence[str]) -> dict[str, float] | None:
    """Requests and tokens a month, and tokens a month in a year; None if a question is open."""
    total = dict.fromkeys(_VOLUMES, 0.0)
    for name in names:
        workload = study.workloads[name]
        figures = (
            workload.intake.requests,
            workload.intake.input_tokens,
            workload.intake.output_tokens,
        )
        if any(figure.name.startswith("unknown.") for figure in figures):
            return None
        requests, tokens_in, tokens_out = (figure.value for figure in figures)
        tokens = requests * (tokens_in + tokens_out)
        grown = tokens * (1 + workload.growth.value) ** 12
        for key, value in zip(_VOLUMES, (requests, tokens, grown), strict=True):
            total[key] += value
    return total


def _bill(results: Results, names: Sequence[str]) -> float:
    """The monthly token bill of some workloads on today's routes. usd."""
    bills = rows_of(results["02_cost"]["bills"], current=True)
    return float(sum(row["month_usd"] for row in bills if row["workload"] in names))


def _price(study: Study, results: Results, names: Sequence[str]) -> float | None:
    """USD per million tokens on today's API routes of some workloads; None if none is an API."""
    billed = [
        name
        for name in names
        if isinstance(study.routes[study.workloads[name].current_route], ApiRoute)
    ]
    tokens = sum(
        w.intake.requests.value * (w.intake.input_tokens.value + w.intake.output_tokens.value)
        for w in (study.workloads[name] for name in billed)
    )
    return 1e6 * _bill(results, billed) / tokens if billed else None


def _utilisation(rows: Sequence[Mapping[str, Any]], has_volume: bool) -> dict[str, float | None]:
    """The highest utilisation over its break-even (G1); 0 if no fleet can serve."""
    g1 = [row for row in rows if row["id"] == "G1"]
    ratios = [row["value"] / row["threshold"] for row in g1 if row["threshold"] and row["value"]]
    blind = any(row["status"] == "unknown" for row in g1)
    ratio = max(ratios, default=0.0)
    if not has_volume:
        return {"utilisation_over_break_even": None}
    return {"utilisation_over_break_even": None if blind and ratio < 1 else ratio}


# --- the back-test ----------------------------------------------------------------------

_TRIAL = (
    "trial_rule",
    "switch_month_p50",
    "p_never",
    "regret_usd",
    "regret_se_usd",
    "regret_low_usd",
    "regret_high_usd",
    "regret_same_quality_usd",
    "false_alarm_share",
    "missed_share",
)


def _backtests(study: Study, results: Results, tables: Tables) -> dict[str, dict[str, Any]]:
    """The back-test of each lens, by its rule at the price of the models that would be left.

    Empty if no fleet may serve any workload: then no rule can be tested.
    """
    targets = list(tables["timing"]["targets"])
    if not targets:
        return {}
    backtests = {(row["buyer"], row["rule"]): row for row in tables["regret"]}
    rows = {}
    for about in panel.lenses(_price(study, results, targets)).to_dict("records"):
        row = backtests["named_model", about["rule"]]
        low, high, n = row["regret_low_usd"], row["regret_high_usd"], row["n_paths"]
        rows[str(about["lens"])] = {
            "trial_rule": about["rule"],
            "switch_month_p50": row["switch_month_p50"],
            "p_never": 1 - row["switch_share"],
            "regret_usd": row["regret_usd"],
            "regret_se_usd": panel.standard_error(low, high, n),
            "regret_low_usd": low,
            "regret_high_usd": high,
            "regret_same_quality_usd": backtests["same_quality", about["rule"]]["regret_usd"],
            "false_alarm_share": row["false_alarm_share"],
            "missed_share": row["missed_share"],
        }
    return rows
