"""Every named fact of a study, each once: the memo's matrices compare these with thresholds."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import get_args

from llmstudy.decide.facts import data, latency, log, quality, spend, team, vendors, volume
from llmstudy.decide.facts.grounds import Grounds
from llmstudy.decide.judge import Fact
from llmstudy.study import ArmName

__all__ = ["FACTS", "Facts", "Grounds"]

_OF_ARM: Mapping[str, Callable[..., Fact]] = {
    "time_to_first_value": team.ramp,
    "upfront_cost": spend.upfront,
    "marginal_low_volume": spend.usd_per_request_today,
    "marginal_high_volume": spend.usd_per_request_at_high_volume,
    "quality_ceiling": quality.best_of_arm,
    "operations": spend.operations,
    "sovereignty": data.workloads_permitted,
    "dependency": vendors.vendors_of_arm,
    "availability": partial(vendors.points_earned, dimension="model availability"),
    "compatibility": partial(vendors.points_earned, dimension="API compatibility"),
    "switching": partial(vendors.points_earned, dimension="switching cost"),
    "pricing": partial(vendors.points_earned, dimension="pricing power"),
    "data": partial(vendors.points_earned, dimension="data lock-in"),
}

FACTS: Mapping[str, Callable[[Grounds], Fact]] = {
    "engineers": team.engineers,
    "prompting_insufficient": team.prompting_insufficient,
    "gpu_platform": team.gpu_platform,
    "staffing": team.staffing,
    "fleet_ramp_months": partial(team.ramp, arm="self_hosted"),
    "api_ramp_months": partial(team.ramp, arm="proprietary_api"),
    "headcount_cost": team.headcount_cost,
    "regulated": data.regulated,
    "sensitive_workloads": data.sensitive,
    "forbidden_workloads": data.forbidden,
    "residency_workloads": data.residency,
    "missing_contracts": data.missing_contracts,
    "contract_months": data.contract_months,
    "control_needed": data.control_needed,
    "ten_billion_tokens": volume.ten_billion_tokens,
    "token_growth": volume.token_growth,
    "prompt_growth": volume.prompt_growth,
    "kinds_of_task": volume.kinds_of_task,
    "logged_requests": log.logged_requests,
    "retry_share": log.retry_share,
    "failed_share": log.failed_share,
    "outage_minutes": log.outage_minutes,
    "format_failures": log.format_failures,
    "tightest_first_token": latency.tightest_first_token,
    "tightest_answer": latency.tightest_answer,
    "api_first_token_p50": latency.api_p50,
    "api_first_token_p95": latency.api_p95,
    "fleet_first_token_p50": latency.fleet_p50,
    "quality_gap": quality.gap,
    "unscored_share": quality.unscored_share,
    "open_models_behind": quality.open_models_behind,
    "spend_year_usd": spend.spend_year,
    "at_stake_usd": spend.at_stake,
    "token_bill": spend.token_bill,
    "platform_cost": spend.platform_cost,
    "fixed_cost": spend.fixed_cost,
    "utilisation": spend.utilisation,
    "upgrades": spend.upgrades,
    "watching": spend.watching,
    "vendor_share": vendors.vendor_share,
    "model_share": vendors.model_share,
    "covered_bill": vendors.covered_bill,
    "routes_to_run": vendors.routes_to_run,
    "fleet_candidates": vendors.fleet_candidates,
    "api_vendors": vendors.api_vendors,
    "moves_off_api": vendors.moves_off_api,
    "price_rise": vendors.price_rise,
    "retirements": vendors.retirements,
    "gpu_price_spread": vendors.gpu_price_spread,
    "days_to_leave": vendors.days_to_leave,
    **{
        f"{name}.{arm}": partial(fact, arm=arm)
        for name, fact in _OF_ARM.items()
        for arm in get_args(ArmName)
    },
    "customisation.proprietary_api": team.prompting_insufficient,
    "team.self_hosted": team.staffing_beside_engineers,
}
"""The function that reads each fact, by the fact's name."""


class Facts(Mapping[str, Fact]):
    """The facts of a study by name; each is computed on first access."""

    def __init__(self, grounds: Grounds) -> None:
        """grounds: the evidence that the facts are computed from."""
        self._grounds = grounds
        self._facts: dict[str, Fact] = {}

    def __getitem__(self, name: str) -> Fact:
        """The fact of this name. Raises: KeyError if there is none."""
        if name not in self._facts:
            self._facts[name] = FACTS[name](self._grounds)
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        """Iterates over the names, in the order of `FACTS`."""
        return iter(FACTS)

    def __len__(self) -> int:
        """The number of names."""
        return len(FACTS)
