"""How sure are we? Draws of every uncertain input, and what they make of the costs.

Every figure is drawn from a named uniform stream (common random numbers): what is one thing to two
routes or workloads has one stream and so the same draws, and adding a figure moves no other.
Shapes: (n_draws,) for an input, (n_draws, n_months) for a path.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pandas as pd
from SALib.analyze import sobol as sobol_analyze
from SALib.sample import sobol as sobol_sample

from llmstudy.capacity import replicas
from llmstudy.cost import (
    TokenPrice,
    api_usd_per_request,
    replica_month_usd,
    requests_per_replica,
)
from llmstudy.figure import Figure, FloatArray

Draws = Mapping[str, FloatArray]
"""Input name -> (n_draws,) values."""


@dataclass(frozen=True)
class Fleet:
    """A self-hosted route as its cost sees it: what one replica carries.

    Capacity changes with the mean lengths as a power law around the lengths it was solved for
    (elasticities by finite difference of the serving curve).
    """

    capacity_requests_per_s: float
    input_tokens: float
    output_tokens: float
    input_elasticity: float
    output_elasticity: float
    gpus_per_replica: int
    spare: int


Offer = TokenPrice | Fleet
"""What a route charges a workload: by the token, or by the replica."""


def draw(figure: Figure, stream: str, n: int, seed: int) -> FloatArray:
    """Draws of a figure from its distribution, by the uniforms of a named stream. (n,).

    >>> share = Figure("", 0.2, "share", 0.0, 0.6, "triangular")
    >>> cached, retries = (draw(share, stream, 4, seed=1) for stream in ("cached", "retries"))
    >>> bool((cached == draw(share, "cached", 4, seed=1)).all()), bool((cached == retries).any())
    (True, False)
    """
    return figure.quantile(np.random.default_rng([seed, crc32(stream.encode())]).random(n))


def central(figures: Mapping[str, Figure]) -> dict[str, FloatArray]:
    """Every figure at its stated value, as one draw: (1,) arrays for a point estimate."""
    return {name: np.array([figure.value]) for name, figure in figures.items()}


def drift(factor_per_year: FloatArray, months: int) -> FloatArray:
    """Price of each month against the first. (n,) yearly factors -> (n, months).

    >>> drift(np.array([0.5]), 13)[0, 12]
    np.float64(0.5)
    """
    return np.asarray(factor_per_year[:, None] ** (np.arange(months) / 12))


def volume(requests: FloatArray, growth: FloatArray, months: int) -> FloatArray:
    """Requests of each month under compound growth. (n,), (n,) -> (n, months)."""
    return np.asarray(requests[:, None] * (1 + growth[:, None]) ** np.arange(months))


def moved_share(ramp_months: FloatArray, months: int) -> FloatArray:
    """Share of each month that is served by the new route. (n,) -> (n, months).

    >>> moved_share(np.array([1.5]), 4).tolist()
    [[0.0, 0.5, 1.0, 1.0]]
    """
    return np.clip(np.arange(1, months + 1) - ramp_months[:, None], 0, 1)


def usd_per_request(price: TokenPrice, d: Draws, months: int) -> FloatArray:
    """API bill per request in each month: today's, drifted, with scheduled changes. (n, months)."""
    today = np.asarray(
        api_usd_per_request(
            price,
            d["input_tokens"],
            d["output_tokens"],
            d["cached_input_share"],
            d["retry_share"],
        )
    )
    return np.asarray(
        today[:, None]
        * drift(d[f"drift_{price.arm}"], months)
        * np.asarray(price.month_factors[:months])
    )


def fleet_unit(fleet: Fleet, d: Draws, months: int) -> tuple[FloatArray, FloatArray]:
    """Requests a month one replica carries (n,), and its rent in each month (n, months)."""
    capacity = (
        fleet.capacity_requests_per_s
        * (d["input_tokens"] / fleet.input_tokens) ** fleet.input_elasticity
        * (d["output_tokens"] / fleet.output_tokens) ** fleet.output_elasticity
        * d["capacity_factor"]
    )
    carries = requests_per_replica(capacity, d["peak_to_mean"], d["target_utilisation"])
    rent = replica_month_usd(d["usd_per_gpu_hour"], fleet.gpus_per_replica, d["overhead_share"])
    return np.asarray(carries), np.asarray(rent)[:, None] * drift(d["drift_gpu"], months)


def month_usd(offer: Offer, d: Draws, requests: FloatArray, months: int) -> FloatArray:
    """Bill of each month for a volume path. requests: (n, months). Returns usd, (n, months).

    A fleet's bill is its rent: its team runs every fleet there is, so it is no workload's own.
    """
    if isinstance(offer, TokenPrice):
        return requests * usd_per_request(offer, d, months)
    carries, rent = fleet_unit(offer, d, months)
    running = replicas(requests, carries[:, None], 1.0, offer.spare, minimum=1)
    return np.asarray(running * rent)


def staff_month_usd(d: Draws) -> FloatArray:
    """Salaries a month of the team that runs all fleets. (n,) usd."""
    return np.asarray(d["fte"] * d["usd_per_fte_year"] / 12)


TODAY = "today_"
"""Prefix of the inputs that only today's route has: its own rent and capacity."""


def of_today(d: Draws) -> dict[str, FloatArray]:
    """The draws as today's route sees them, with its own rent and capacity in place."""
    own = {name.removeprefix(TODAY): x for name, x in d.items() if name.startswith(TODAY)}
    return {**d, **own}


def bill_saving_usd(current: Offer, challenger: Offer, d: Draws, months: int) -> FloatArray:
    """What moving saves over the horizon against staying, staff apart. (n,) usd.

    Until the ramp is over the current route is still paid. Negative when moving loses.
    """
    requests = volume(d["requests"], d["growth"], months)
    moved = moved_share(d["ramp"], months)
    stay = month_usd(current, of_today(d), requests, months)
    go = month_usd(challenger, d, requests, months)
    return np.asarray(((stay - go) * moved).sum(axis=1) - d["moving_cost"])


def team_share(current: Offer, challenger: Offer, d: Draws, months: int) -> FloatArray:
    """Share of each month in which a moving workload needs the team of the fleets. (n, months).

    A new fleet needs it from the first month, since people are hired before the first request
    moves; one that is left needs it until the last request has moved.
    """
    if isinstance(challenger, Fleet):
        return np.ones((len(d["ramp"]), months))
    return float(isinstance(current, Fleet)) * (1 - moved_share(d["ramp"], months))


def move_saving_usd(current: Offer, challenger: Offer, d: Draws, months: int) -> FloatArray:
    """What moving saves over the horizon against staying, staff included. (n,) usd.

    The team is the workload's to pay or to save; where other fleets need it anyhow, give `fte` 0.
    """
    before = float(isinstance(current, Fleet))
    released = (before - team_share(current, challenger, d, months)).sum(axis=1)
    return np.asarray(
        bill_saving_usd(current, challenger, d, months) + released * staff_month_usd(d)
    )


def crossover_requests_per_month(
    current: TokenPrice, challenger: Offer, d: Draws, months: int, cap: float
) -> FloatArray:
    """Smallest constant volume from which the challenger stays cheaper over the horizon. (n,).

    Infinite means never: there is no volume up to `cap` from which it stays cheaper. Volume is
    constant here, so that the answer can be held against a month of the log; growth enters the
    saving instead. A fleet pays the team of `d`, from the first month.
    """
    moved = moved_share(d["ramp"], months)
    saved = moved * usd_per_request(current, d, months)
    if isinstance(challenger, TokenPrice):
        paid = moved * usd_per_request(challenger, d, months)
        return _linear_crossover((saved - paid).sum(axis=1), d["moving_cost"], cap)
    carries, rent = fleet_unit(challenger, d, months)
    return stepped_crossover(
        per_request=saved.sum(axis=1),
        per_replica=(moved * rent).sum(axis=1),
        carries=carries,
        spare=challenger.spare,
        fixed=d["moving_cost"] + staff_month_usd(d) * months,
        cap=cap,
    )


def _linear_crossover(per_request: FloatArray, fixed: FloatArray, cap: float) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        volume_ = np.where(per_request > 0, fixed / per_request, np.inf)
    return np.where(volume_ <= cap, volume_, np.inf)


def stepped_crossover(
    per_request: FloatArray,
    per_replica: FloatArray,
    carries: FloatArray,
    spare: int,
    fixed: FloatArray,
    cap: float,
) -> FloatArray:
    """The volume N from which per_request * N stays above the bill of whole replicas.

    All arrays (n,), in usd over the horizon and requests a month; inf where there is none up to
    `cap`. With a = per_request, k = per_replica, q = carries, s = spare and f = fixed, the saving
    a*N - (ceil(N/q) + s)*k - f climbs within a replica and drops by k when one is added. If a full
    replica earns its rent (a*q > k), its value at the start of the r-th replica climbs with r, and
    the last change of sign lies within the replica before the first start that is not negative.

    >>> one = np.array([1.0])
    >>> stepped_crossover(one, 3 * one, 10 * one, 1, 8 * one, 1e6)
    array([17.])
    """
    a, k, q, s, f = per_request, per_replica, carries, spare, fixed
    margin = a * q - k  # what one more full replica adds
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.ceil((a * q + s * k + f) / margin)
        found = np.where(first > 1, ((first - 1 + s) * k + f) / a, 0.0)
    found = np.where(margin > 0, found, np.inf)
    return np.where(found <= cap, found, np.inf)


def band(draws: FloatArray, shares: tuple[float, ...] = (0.1, 0.5, 0.9)) -> list[float | None]:
    """Quantiles of draws that may be infinite; None where the quantile is "never".

    >>> band(np.array([1.0, 2.0, 3.0, np.inf]), (0.25, 0.9))
    [1.0, None]
    """
    ordered = np.sort(draws)
    # the draw itself, not a mean of two: half of "never" is still never
    picks = [ordered[max(0, int(np.ceil(p * len(ordered))) - 1)] for p in shares]
    return [float(x) if np.isfinite(x) else None for x in picks]


_SENSITIVITY = (
    "input",
    "first_order",
    "total_effect",
    "total_effect_error",
    "low_usd",
    "high_usd",
)


def sensitivity(
    figures: Mapping[str, Figure],
    outcome: Callable[[Draws], FloatArray],
    n: int,
    seed: int,
) -> pd.DataFrame:
    """Which inputs decide: Sobol indices of an outcome over the uncertain figures.

    figures: name -> Figure; certain ones are held. outcome: draws -> (n,). n: a power of two.
    Returns: one row per uncertain input, largest total effect first: input, first_order,
    total_effect, total_effect_error (half-width of the 95 % interval), low_usd, high_usd (the
    outcome with this input at its 10th and 90th percentile and the others at their medians).
    The outcome is clipped to its central 98 % first: in a heavy tail a few draws would decide.
    Source: Saltelli et al. (2010), Computer Physics Communications 181:259-270; SALib 1.6.
    """
    names = [name for name, figure in figures.items() if figure.uncertain]
    if not names:
        return pd.DataFrame(columns=list(_SENSITIVITY))
    problem = {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}
    uniforms = sobol_sample.sample(problem, n, calc_second_order=False, seed=seed)

    def at(u: FloatArray) -> FloatArray:
        held = {k: np.full(len(u), f.value) for k, f in figures.items() if not f.uncertain}
        return outcome({**held, **{k: figures[k].quantile(u[:, i]) for i, k in enumerate(names)}})

    outcomes = at(np.asarray(uniforms))
    results = np.clip(outcomes, *np.quantile(outcomes, [0.01, 0.99]))
    if np.ptp(results) == 0:  # nothing decides what does not vary; its indices would be 0/0
        found = dict.fromkeys(("S1", "ST", "ST_conf"), np.zeros(len(names)))
    else:
        found = sobol_analyze.analyze(
            problem, results, calc_second_order=False, seed=seed, num_resamples=100
        )
    middle = np.full((2 * len(names), len(names)), 0.5)
    for i in range(len(names)):
        middle[2 * i, i], middle[2 * i + 1, i] = 0.1, 0.9
    swings = at(middle).reshape(-1, 2)
    parts = (names, found["S1"], found["ST"], found["ST_conf"], swings[:, 0], swings[:, 1])
    table = pd.DataFrame(dict(zip(_SENSITIVITY, parts, strict=True)))
    return table.sort_values("total_effect", ascending=False, ignore_index=True)
