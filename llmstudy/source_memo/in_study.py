"""The source memo's cost figures and the usual web calculator, beside the results of this study."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any, Literal

import numpy as np
import pandas as pd

from llmstudy import prices
from llmstudy import source_memo as memo
from llmstudy.evidence.case import Case, Results, Tables, rows_of
from llmstudy.measures.cost import TokenPrice, api_usd_per_request
from llmstudy.simulate import drift
from llmstudy.source_memo import calculator
from llmstudy.source_memo.calculator import World
from llmstudy.study import SelfHostedRoute, Study, Workload, bundled_figures

QUERY = memo.Mix(1155, 211)
"""Mean tokens of a request of the Azure 2023 conversation trace: the memo names no mix."""

SHORT_COMPLETIONS = (memo.Mix(50, 20), memo.Mix(100, 50), memo.Mix(256, 64))
"""What "short completions" may mean; the memo gives no length. Assumed."""

TPOT_SLO_S = 0.1
"""Ten tokens a second, about the pace of reading: a target that favours the memo. Assumed."""


def source_memo_tables(case: Case, results: Results) -> Tables:
    """T1 and T2 at the memo's date and the study's, every advisor's threshold on the axis of each
    workload, and the usual calculator's answer taken apart for each sized fleet.

    results: of chapters 02, 04 and 05. Returns t1, t1_explanations, t1_memory, t1_card_rates, t2,
    claims, calculators, attribution, not_compared: tables as the functions of `source_memo` and
    `calculator` return them.
    """
    return {
        **_cost_tables(case.study),
        "claims": _claims(case.study, results),
        **_calculator_tables(case.study, results),
    }


def _cost_tables(study: Study) -> Tables:
    table, claims = memo.memo_table(), memo.memo_claims()
    mini = prices.rate("openai", "gpt-4o-mini", memo.MEMO_DATE)
    node = prices.gpu_price("a100_40gb_sxm", "aws", "on_demand")
    premises = memo.premises(claims, mini, node.value)
    serving = memo.a100_serving(QUERY, TPOT_SLO_S)
    rates = memo.card_rates(SHORT_COMPLETIONS)
    card_rate = (
        float(rates["requests_per_s_low"].min()),
        float(rates["requests_per_s_high"].max()),
    )
    peak = bundled_figures()["unknown.peak_to_mean"].value
    fleet = (peak, bundled_figures()["self_hosting.target_utilisation"].value)
    claim_ranges = memo.ranges_of(claims)
    volumes = (claim_ranges["mini_crossover"][0], claim_ranges["matrix_crossover"][0])

    def checked(era: Literal["memo", "successor"], on: date) -> pd.DataFrame:
        about = (premises, QUERY, serving, card_rate, *fleet, TPOT_SLO_S)
        return memo.price_claims(claims, memo.memo_models(era), on, *about)

    return {
        "t1": memo.cost_table(table, premises, QUERY, serving, *fleet),
        "t1_explanations": memo.explanations(
            table, premises, QUERY, card_rate, claim_ranges["card_rate"], volumes[1], *volumes
        ),
        "t1_memory": memo.memory_fits(),
        "t1_card_rates": rates,
        "t2": pd.concat(
            [checked("memo", memo.MEMO_DATE), checked("successor", study.as_of)], ignore_index=True
        ),
    }


def _claims(study: Study, results: Results) -> pd.DataFrame:
    """The advisors' thresholds in tokens a month of each workload that an API could bill."""
    rows = []
    for name, workload in study.workloads.items():
        billed = _api_bill(results, name)
        if billed is None:
            continue
        table = memo.claims_in_tokens(
            memo.crossover_claims(), _tokens(workload), billed["usd_per_request"]
        )
        rows.append(table.assign(workload=name, route=billed["route"]))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def _api_bill(results: Results, name: str) -> Mapping[str, Any] | None:
    """Today's bill where it is a token bill, else the cheapest that the workload could have."""
    bills = rows_of(results["02_cost"]["bills"], workload=name)
    bills.sort(key=lambda row: (not row["current"], row["usd_per_request"]))
    return bills[0] if bills else None


def _tokens(workload: Workload) -> float:
    return workload.intake.input_tokens.value + workload.intake.output_tokens.value


# --- the usual calculator -------------------------------------------------------------------------


def _calculator_tables(study: Study, results: Results) -> Tables:
    compared, parts, missing = [], [], []
    for fleet in results["05_self_hosting"]["fleets"]:
        at = {"workload": fleet["workload"], "route": fleet["route"]}
        worlds = _worlds(study, results, fleet)
        if isinstance(worlds, str):
            missing.append(at | {"reason": worlds})
            continue
        calculation, theirs, ours = worlds
        cap = study.volume_cap.value
        compared.append(at | _summary(study, results, fleet, calculation, ours, cap))
        parts.append(calculator.attribution(theirs, ours, cap).assign(**at))
    return {
        "calculators": pd.DataFrame(compared),
        "attribution": pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(),
        "not_compared": pd.DataFrame(missing, columns=["workload", "route", "reason"]),
    }


def _worlds(
    study: Study, results: Results, fleet: Mapping[str, Any]
) -> tuple[calculator.Calculation, World, World] | str:
    """What the page prints, its world and ours for a sized fleet; or why there is no comparison."""
    name, spec = fleet["workload"], study.routes[fleet["route"]]
    assert isinstance(spec, SelfHostedRoute)
    workload, bill = study.workloads[name], _api_bill(results, name)
    if bill is None:
        return "no API may serve it, so that there is nothing to break even with"
    if not bill["usd_per_request"] > 0:
        return "the API is free"
    peak = calculator.vendor_peak(spec.model, spec.gpu)
    if peak is None:
        return f"no vendor published a peak of {spec.model} on {spec.gpu}"
    price = TokenPrice.of(results["02_cost"]["offers"][name][bill["route"]])
    typed = calculator.typed_defaults().set_index("name")["value"]
    rent = fleet["usd_per_gpu_hour"]
    if spec.rented_from:
        rent = prices.gpu_price(spec.gpu, spec.rented_from, "on_demand").value
    tokens_in, tokens_out = workload.intake.input_tokens.value, workload.intake.output_tokens.value
    listed = float(api_usd_per_request(price, tokens_in, tokens_out))
    requests, tokens = workload.intake.requests.value, tokens_in + tokens_out
    per_mtok = listed / tokens * 1e6  # blended already, context tiers and all
    calculation = calculator.web_calculator(
        tokens_per_month=requests * tokens,
        input_share=tokens_in / tokens,
        input_usd_per_mtok=per_mtok,
        output_usd_per_mtok=per_mtok,
        usd_per_gpu_hour=rent,
        tokens_per_s_per_gpu=peak.value,
        utilisation_share=float(typed["utilisation_share"]),
        staff_month_usd=float(typed["staff_month_usd"]),
        overhead_share=float(typed["overhead_share"]),
    )
    theirs = World(
        requests_per_month=requests,
        requests_per_s_per_gpu=peak.value / tokens,
        peak_to_mean=1.0,
        target_utilisation=float(typed["utilisation_share"]),
        gpus_per_replica=1,
        spare=0,
        follows_volume=False,
        usd_per_gpu_hour=rent,
        overhead_share=float(typed["overhead_share"]),
        staff_month_usd=float(typed["staff_month_usd"]),
        other_month_usd=0.0,
        api_usd_per_request=listed,
        api_other_month_usd=0.0,
        api_price_factor=1.0,
        gpu_price_factor=1.0,
        accepted_ratio=1.0,
    )
    return calculation, theirs, _our_world(study, results, fleet, spec, bill, price)


def _our_world(
    study: Study,
    results: Results,
    fleet: Mapping[str, Any],
    spec: SelfHostedRoute,
    bill: Mapping[str, Any],
    price: TokenPrice,
) -> World:
    """The world by this study's figures; `other` is a fleet's month without rent and staff."""
    workload, size = study.workloads[fleet["workload"]], spec.tensor_parallel
    requests = workload.intake.requests.value
    api_path = drift(np.array([_drift(study, price.arm)]), study.months)[0]
    overhead, rent_drift = study.self_hosting.overhead_share, study.price_drift.gpu.value
    if spec.owned:
        overhead, rent_drift = spec.owned.overhead_share, 1.0
    today = World(
        requests_per_month=requests,
        requests_per_s_per_gpu=fleet["capacity_requests_per_s"] / size,
        peak_to_mean=workload.intake.peak_to_mean.value,
        target_utilisation=fleet["sustained_utilisation"],
        gpus_per_replica=size,
        spare=fleet["spare"],
        follows_volume=True,
        usd_per_gpu_hour=fleet["usd_per_gpu_hour"],
        overhead_share=overhead.value,
        staff_month_usd=fleet["staff_month_usd"],
        other_month_usd=0.0,
        api_usd_per_request=bill["usd_per_request"],
        api_other_month_usd=bill["month_usd"] - requests * bill["usd_per_request"],
        api_price_factor=1.0,
        gpu_price_factor=1.0,
        accepted_ratio=1.0,
    )
    return replace(
        today,
        other_month_usd=fleet["month_usd"] - calculator.fleet_month_usd(today),
        api_price_factor=float((api_path * np.array(price.month_factors[: study.months])).mean()),
        gpu_price_factor=float(drift(np.array([rent_drift]), study.months).mean()),
        accepted_ratio=_accepted_ratio(results, fleet) or 1.0,
    )


def _drift(study: Study, arm: str) -> float:
    path = study.price_drift
    return (path.hosted_open if arm == "hosted_open" else path.proprietary_api).value


def _accepted_ratio(results: Results, fleet: Mapping[str, Any]) -> float | None:
    """Accepted answers of the fleet's model for each of today's route; None where not scored, or
    where the API compared with is not today's route."""
    bill = _api_bill(results, fleet["workload"])
    scored = rows_of(
        results["04_quality"]["quality"], workload=fleet["workload"], route=fleet["route"]
    )
    if not (scored and bill and bill["current"]):
        return None
    today, theirs = scored[0]["acceptance_current"], scored[0]["acceptance_route"]
    return theirs / today if today and theirs else None


def _summary(
    study: Study,
    results: Results,
    fleet: Mapping[str, Any],
    calculation: calculator.Calculation,
    ours: World,
    cap: float,
) -> dict[str, Any]:
    tokens = _tokens(study.workloads[fleet["workload"]])
    volume = calculator.break_even_requests(ours, cap)
    return {
        "calculator_gpus": calculation.gpus,
        "our_gpus": fleet["gpus"],
        "calculator_month_usd": calculation.month_usd,
        "our_month_usd": calculator.fleet_month_usd(ours),
        "fleet_month_usd": fleet["month_usd"],
        "calculator_api_month_usd": calculation.api_month_usd,
        "our_api_month_usd": calculator.api_month_usd(ours),
        "calculator_break_even_tokens": calculation.break_even_tokens,
        "our_break_even_tokens": volume * tokens if np.isfinite(volume) else None,
        "tokens_per_month": ours.requests_per_month * tokens,
        "quality_scored": _accepted_ratio(results, fleet) is not None,
    }
