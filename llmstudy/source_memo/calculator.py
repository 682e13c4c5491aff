"""What does the usual web calculator say of a workload, and why is our answer another?

Its formula: GPUs x hourly price x hours for self-hosting, tokens x blended list price for the API,
and a break-even volume that is the first divided by the second. Throughput is a vendor's peak and
utilisation is typed in. `attribution` changes its assumptions into ours, item by item.
"""

from dataclasses import dataclass, replace
from math import log

import numpy as np
import pandas as pd

from llmstudy import paths
from llmstudy.figure import Figure
from llmstudy.measures.capacity import published_throughput, replicas
from llmstudy.measures.cost import replica_month_usd, usd_per_accepted_answer
from llmstudy.simulate import stepped_crossover
from llmstudy.simulate.breakdown import in_order, shapley
from llmstudy.units import HOURS_PER_MONTH

_SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600


@dataclass(frozen=True)
class Calculation:
    """What a web calculator prints. Tokens are input and output alike, a month."""

    gpus: int
    month_usd: float
    api_month_usd: float
    blended_usd_per_mtok: float
    break_even_tokens: float


def web_calculator(
    tokens_per_month: float,
    input_share: float,
    input_usd_per_mtok: float,
    output_usd_per_mtok: float,
    usd_per_gpu_hour: float,
    tokens_per_s_per_gpu: float,
    utilisation_share: float,
    staff_month_usd: float = 0.0,
    overhead_share: float = 0.0,
) -> Calculation:
    """The usual formula: break-even tokens = monthly cost of the GPUs / blended API price.

    Whole GPUs carry all tokens of the month at the typed throughput and utilisation, prompts at the
    speed of answers, as the pages have it. No traffic shape, no spare, no price change, no quality.

    Raises: ValueError for a throughput, price or share that is none.
    Source: ai-costcalculator.com (break-even, blended price, required utilisation), codeswap.net
    (whole GPUs, 730 hours), induwara.lk (overhead), all read 2026-11-26; cost.md 1.3.

    >>> page = web_calculator(160e6, 0.75, 0.25, 2.0, 1.19, 2500, 1.0, overhead_share=0.15)
    >>> page.gpus, round(page.month_usd), round(page.api_month_usd)
    (1, 999, 110)
    >>> round(page.break_even_tokens / 1e9, 2)
    1.45
    """
    if not (tokens_per_s_per_gpu > 0 and 0 < utilisation_share <= 1 and 0 <= input_share <= 1):
        raise ValueError(
            "web_calculator: give a throughput above 0, a utilisation_share in (0, 1] and an "
            "input_share in [0, 1]"
        )
    blended = input_share * input_usd_per_mtok + (1 - input_share) * output_usd_per_mtok
    if not blended > 0:
        raise ValueError("web_calculator: a free API is never dearer: give prices above 0")
    tokens_per_s = tokens_per_month / _SECONDS_PER_MONTH
    gpus = _whole(tokens_per_s, tokens_per_s_per_gpu, utilisation_share)
    month = gpus * float(replica_month_usd(usd_per_gpu_hour, 1, overhead_share)) + staff_month_usd
    return Calculation(
        gpus=gpus,
        month_usd=month,
        api_month_usd=tokens_per_month / 1e6 * blended,
        blended_usd_per_mtok=blended,
        break_even_tokens=month / blended * 1e6,
    )


def typed_defaults() -> pd.DataFrame:
    """What is typed into such pages: name, value, low, high, unit, claim, source."""
    return pd.read_csv(paths.data("web_calculator.csv"))


def vendor_peak(model: str, gpu: str) -> Figure | None:
    """The highest throughput that a vendor published of a model on a GPU, output tokens/s per GPU.

    None where the contest has no such pair.

    >>> vendor_peak("meta-llama/Llama-3.1-70B", "h100_sxm").value
    3902.0
    """
    named = pd.read_csv(paths.data("vendor_peaks.csv")).set_index("model")["contest_model"]
    results = published_throughput()
    alike = results[(results["model"] == named.get(model)) & (results["gpu"] == gpu)]
    if alike.empty:
        return None
    best = alike.sort_values("output_tokens_per_s_per_gpu", kind="stable").iloc[-1]
    return Figure(
        name=f"vendor_peak {model} {gpu}",
        value=float(best["output_tokens_per_s_per_gpu"]),
        unit="tokens/s",
        grade="published",
        source=f"{best['source']}, {best['scenario']}, {best['engine']}",
    )


@dataclass(frozen=True)
class World:
    """All that the two bills of a month rest on, by one model of them.

    `requests_per_s_per_gpu` is what a busy GPU carries; `target_utilisation` is that of the busiest
    hour, `peak_to_mean` times the mean. A fleet that does not follow the volume keeps the size that
    it has at `requests_per_month`. The price factors are the mean month of the horizon against
    today. `accepted_ratio` is the self-hosted route's share of accepted answers against the API's.
    """

    requests_per_month: float
    requests_per_s_per_gpu: float
    peak_to_mean: float
    target_utilisation: float
    gpus_per_replica: int
    spare: int
    follows_volume: bool
    usd_per_gpu_hour: float
    overhead_share: float
    staff_month_usd: float
    other_month_usd: float
    api_usd_per_request: float
    api_other_month_usd: float
    api_price_factor: float
    gpu_price_factor: float
    accepted_ratio: float


ITEMS: dict[str, tuple[str, ...]] = {
    "throughput": ("requests_per_s_per_gpu",),
    "idle": ("peak_to_mean", "target_utilisation"),
    "redundancy": ("gpus_per_replica", "spare", "follows_volume"),
    "gpu_price": ("usd_per_gpu_hour",),
    "overhead": ("overhead_share",),
    "staff": ("staff_month_usd",),
    "other": ("other_month_usd",),
    "api_bill": ("api_usd_per_request", "api_other_month_usd"),
    "price_drift": ("api_price_factor", "gpu_price_factor"),
    "quality": ("accepted_ratio",),
}
"""Item -> the fields that it changes, in the order of presentation.

throughput: a vendor's peak becomes what was measured within the SLO. idle: typed utilisation
becomes the traffic's. redundancy: whole replicas that follow the volume, and the spare. other: the
rest of the fleet's month, taken as fixed. api_bill: the list price becomes the bill with
cache and retries, and what the API costs a month beside its requests.
"""


def fleet_month_usd(world: World) -> float:
    """What the fleet costs for as many accepted answers as the API gives. Unit: usd a month.

    Staff and the rest included, at the mean month's prices.

    Raises: ValueError if the route has no accepted answer.
    """
    month = _running(world) * _rent(world) + _fixed(world)
    return float(usd_per_accepted_answer(month, world.accepted_ratio))


def saving_month_usd(world: World) -> float:
    """The API's bill less the fleet's, for the same accepted answers. Unit: usd a month."""
    return api_month_usd(world) - fleet_month_usd(world)


def api_month_usd(world: World) -> float:
    """The API's bill at the mean month's prices. Unit: usd a month."""
    per_request = world.api_usd_per_request * world.api_price_factor
    return world.requests_per_month * per_request + world.api_other_month_usd


def break_even_requests(world: World, cap: float) -> float:
    """Requests a month from which the fleet stays cheaper; infinite if it never does up to `cap`.

    A fleet that does not follow the volume gives the web formula, fixed cost / price per request.
    """
    per_request = world.api_usd_per_request * world.api_price_factor * world.accepted_ratio
    spared = world.api_other_month_usd * world.accepted_ratio
    if not world.follows_volume:
        fixed = _running(world) * _rent(world) + _fixed(world) - spared
        volume = max(fixed, 0.0) / per_request if per_request > 0 else np.inf
        return float(volume) if volume <= cap else np.inf
    carries = _per_replica(world) * world.target_utilisation / world.peak_to_mean
    volumes = stepped_crossover(
        per_request=np.array([per_request]),
        per_replica=np.array([_rent(world)]),
        carries=np.array([carries * _SECONDS_PER_MONTH]),
        spare=world.spare,
        fixed=np.array([_fixed(world) - spared]),
        cap=cap,
    )
    return float(volumes[0])


def attribution(calculator: World, ours: World, cap: float) -> pd.DataFrame:
    """The difference between the calculator's answers and ours, item by item.

    Columns: item, changes (what it turns into what), and for the fleet's month both attributions:
    in_order_usd (items changed one after another as in `ITEMS`) and shapley_usd (over all orders);
    saving_usd, Shapley's for the API's bill less the fleet's; break_even_factor, by which the item
    multiplies the break-even volume (Shapley's for its logarithm; never counts as `cap`); and
    break_even_after, the volume in requests a month once this item and those above are ours (NaN:
    never). Sums of the usd columns and the product of the factors are the whole differences.
    """

    def mixed(changed: frozenset[str]) -> World:
        fields = [field for item in changed for field in ITEMS[item]]
        return replace(calculator, **{field: getattr(ours, field) for field in fields})

    def log_break_even(changed: frozenset[str]) -> float:
        return log(min(max(break_even_requests(mixed(changed), cap), 1.0), cap))

    items = list(ITEMS)
    moved = [item for item in items if _changes(calculator, ours, item)]  # the rest explain nothing
    walk = in_order(lambda s: fleet_month_usd(mixed(s)), items)
    month = shapley(lambda s: fleet_month_usd(mixed(s)), moved)
    saving = shapley(lambda s: saving_month_usd(mixed(s)), moved)
    volume = shapley(log_break_even, moved)
    after = [break_even_requests(mixed(frozenset(items[: k + 1])), cap) for k in range(len(items))]
    rows = [
        {
            "item": item,
            "changes": _changes(calculator, ours, item) or "nothing",
            "in_order_usd": walk[item],
            "shapley_usd": month.get(item, 0.0),
            "saving_usd": saving.get(item, 0.0),
            "break_even_factor": float(np.exp(volume.get(item, 0.0))),
            "break_even_after": after[k] if np.isfinite(after[k]) else np.nan,
        }
        for k, item in enumerate(items)
    ]
    return pd.DataFrame(rows)


def _running(world: World) -> int:
    mean_per_s = world.requests_per_month / _SECONDS_PER_MONTH
    peak = mean_per_s * world.peak_to_mean
    return int(_whole(peak, _per_replica(world), world.target_utilisation, world.spare))


def _whole(peak: float, capacity: float, target: float, spare: int = 0) -> int:
    return int(replicas(peak, capacity, target, spare, minimum=1))


def _per_replica(world: World) -> float:
    """Requests per second of a replica."""
    return world.requests_per_s_per_gpu * world.gpus_per_replica


def _rent(world: World) -> float:
    hour = world.usd_per_gpu_hour * world.gpu_price_factor
    return float(replica_month_usd(hour, world.gpus_per_replica, world.overhead_share))


def _fixed(world: World) -> float:
    return world.staff_month_usd + world.other_month_usd


def _changes(calculator: World, ours: World, item: str) -> str:
    pairs = [(field, getattr(calculator, field), getattr(ours, field)) for field in ITEMS[item]]
    return "; ".join(f"{field} {a:.4g} to {b:.4g}" for field, a, b in pairs if a != b)
