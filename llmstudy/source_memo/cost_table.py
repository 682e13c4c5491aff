"""T1, the memo's cost table: reproduced, set beside ours, and every difference in USD."""

import numpy as np
import pandas as pd

from llmstudy.measures.capacity import replicas
from llmstudy.source_memo.premises import BLEND, GPUS_PER_NODE, Mix, Premises
from llmstudy.source_memo.serving import Serving
from llmstudy.units import HOURS_PER_MONTH


def cost_table(
    table: pd.DataFrame,
    premises: Premises,
    mix: Mix,
    serving: Serving,
    peak_to_mean: float,
    target_utilisation: float,
) -> pd.DataFrame:
    """The memo's rows by its own rules, and by ours, at its prices.

    table: as `memo_table`. Its rules: the mini tier's output price on every token, and one to three
    reserved instances. Ours: the price of the blend 3:1 and of `mix`; whole instances that carry
    the peak hour with a spare replica, reserved at `serving`'s better end with the fewer engineers
    (low) to on demand at its worse end with the more (high).
    Columns: tokens_per_month; memo_api_usd, reproduced_api_usd, blend_api_usd, mix_api_usd;
    memo_hosting_low_usd, memo_hosting_high_usd (NaN: or more), reproduced_hosting_low_usd,
    reproduced_hosting_high_usd; nodes_low, nodes_high, our_hosting_low_usd, our_hosting_high_usd;
    memo_cheaper and our_cheaper (api, hosting, or either where the ranges meet).
    """
    tokens = table["tokens_per_month"].to_numpy(dtype=float)
    fleet = (tokens, mix, serving.gpus_per_replica, peak_to_mean, target_utilisation)
    nodes_low = nodes_needed(*fleet, serving.requests_per_s_high)
    nodes_high = nodes_needed(*fleet, serving.requests_per_s_low)
    staff_low, staff_high = premises.staff_month_usd
    rates = (premises.mini_input_usd_per_mtok, premises.mini_output_usd_per_mtok)
    costs = pd.DataFrame(
        {
            "tokens_per_month": table["tokens_per_month"],
            "memo_api_usd": table["api_usd"],
            "reproduced_api_usd": tokens / 1e6 * premises.mini_output_usd_per_mtok,
            "blend_api_usd": tokens / 1e6 * BLEND.usd_per_mtok(*rates),
            "mix_api_usd": tokens / 1e6 * mix.usd_per_mtok(*rates),
            "memo_hosting_low_usd": table["hosting_low_usd"],
            "memo_hosting_high_usd": table["hosting_high_usd"],
            "reproduced_hosting_low_usd": table["instances_low"] * premises.reserved_node_month_usd,
            "reproduced_hosting_high_usd": table["instances_high"]
            * premises.reserved_node_month_usd,
            "nodes_low": nodes_low,
            "nodes_high": nodes_high,
            "our_hosting_low_usd": nodes_low * premises.reserved_node_month_usd + staff_low,
            "our_hosting_high_usd": nodes_high * premises.node_month_usd + staff_high,
        }
    )
    memo_high = costs["memo_hosting_high_usd"].fillna(costs["memo_hosting_low_usd"])
    ours = costs[["our_hosting_low_usd", "our_hosting_high_usd"]]
    return costs.assign(
        memo_cheaper=_cheaper(costs["memo_api_usd"], costs["memo_hosting_low_usd"], memo_high),
        our_cheaper=_cheaper(costs["mix_api_usd"], *(ours[column] for column in ours)),
    )


def nodes_needed(
    tokens_per_month: np.ndarray,
    mix: Mix,
    gpus_per_replica: int,
    peak_to_mean: float,
    target_utilisation: float,
    requests_per_s: float,
) -> np.ndarray:
    """Whole instances that carry so many tokens a month in the peak hour, a spare replica included.

    tokens_per_month: (n,). requests_per_s: of one replica. Returns (n,).
    """
    mean_per_s = tokens_per_month / mix.tokens / (HOURS_PER_MONTH * 3600)
    running = replicas(mean_per_s * peak_to_mean, requests_per_s, target_utilisation, spare=1)
    return np.asarray(np.ceil(running * gpus_per_replica / GPUS_PER_NODE), dtype=np.int64)


def _cheaper(api: pd.Series, hosting_low: pd.Series, hosting_high: pd.Series) -> list[str]:
    sides = np.where(api < hosting_low, "api", np.where(api > hosting_high, "hosting", "either"))
    return [str(side) for side in sides]


def explanations(
    table: pd.DataFrame,
    premises: Premises,
    mix: Mix,
    card_rate: tuple[float, float],
    claimed_rate: tuple[float, float],
    at_tokens: float,
    crossover_tokens: float,
    threshold_tokens: float,
) -> pd.DataFrame:
    """Why our figures differ from T1's: one row a reason, with its amount in USD a month.

    card_rate: what one A100 of 80 GB carries of short completions (requests/s, low and high);
    claimed_rate: the memo's 30 to 50. at_tokens: the volume at which the API's price is judged;
    crossover_tokens: where the memo has the mini tier cross; threshold_tokens: its fifth question's
    volume (10B). A positive amount is a cost that the memo leaves out or a bill that it overstates.
    Columns: id, says, low_usd, high_usd, tokens_per_month (the volume that the amount is of, or the
    crossover that it speaks of; NaN where none).
    Raises: ValueError if the table has no row of `threshold_tokens`.
    """
    reserved, usd_per_mtok = premises.reserved_node_month_usd, premises.mini_output_usd_per_mtok
    card = reserved / GPUS_PER_NODE
    rates = (premises.mini_input_usd_per_mtok, usd_per_mtok)
    blend, mixed = BLEND.usd_per_mtok(*rates), mix.usd_per_mtok(*rates)
    staff = premises.staff_month_usd
    hosting = float(table["hosting_low_usd"].iloc[0])
    rows_there = table[table["tokens_per_month"] == threshold_tokens].to_dict("records")
    if not rows_there:
        raise ValueError(f"the memo's table has no row of {threshold_tokens:g} tokens a month")
    row = rows_there[0]
    billed = at_tokens / 1e6
    crosses = [k * hosting / usd_per_mtok * 1e6 for k in (1, 2)]
    more_cards = [
        max(float(np.ceil(claim / rate)) - 1, 0.0)
        for claim, rate in zip(claimed_rate, reversed(card_rate), strict=True)
    ]
    rows = [
        (
            "node_not_card",
            f"a p4d is {GPUS_PER_NODE} A100 of 40 GB at USD {premises.usd_per_gpu_hour:.2f} per "
            "GPU-hour, not one of 80 GB: the row pays for cards that it does not name",
            *[reserved - card] * 2,
            np.nan,
        ),
        (
            "second_card",
            "the weights of a 70B do not fit on one card of 40 GB, not even in INT4: a replica is "
            "two cards at least",
            *[card] * 2,
            np.nan,
        ),
        (
            "output_price_blend",
            f"USD {usd_per_mtok:.2f} per Mtok is the output price on every token; the 3:1 blend is "
            f"USD {blend:.2f}",
            *[billed * (usd_per_mtok - blend)] * 2,
            at_tokens,
        ),
        (
            "output_price_mix",
            f"at {mix.input_tokens:.0f} tokens in and {mix.output_tokens:.0f} out the price is "
            f"USD {mixed:.2f} per Mtok",
            *[billed * (usd_per_mtok - mixed)] * 2,
            at_tokens,
        ),
        (
            "no_engineers",
            f"USD {hosting:,.0f} is the reserved instance alone; {premises.engineers[0]:g} to "
            f"{premises.engineers[1]:g} engineers come on top",
            *staff,
            np.nan,
        ),
        (
            "own_crossover",
            f"at USD {hosting:,.0f} and {usd_per_mtok:.2f} per Mtok its own table crosses at "
            f"{crosses[0] / 1e9:.0f}B tokens ({crosses[1] / 1e9:.0f}B at twice that), not at "
            f"{crossover_tokens / 1e9:.0f}B, where its API already costs so much more",
            *(crossover_tokens / 1e6 * usd_per_mtok - k * hosting for k in (2, 1)),
            crosses[0],
        ),
        (
            "threshold_contradicts",
            f'above {threshold_tokens / 1e9:.0f}B tokens "self-hosted has cost advantage", yet in '
            "its own row of that volume self-hosting costs so much more",
            *[float(row["hosting_low_usd"] - row["api_usd"])] * 2,
            threshold_tokens,
        ),
        (
            "card_rate",
            f"{claimed_rate[0]:g} to {claimed_rate[1]:g} requests/s of short completions take more "
            f"than the one A100 of the claim, which carries {card_rate[0]:.1f} to "
            f"{card_rate[1]:.1f} by our curve",
            *(cards * card for cards in more_cards),
            np.nan,
        ),
    ]
    return pd.DataFrame(rows, columns=["id", "says", "low_usd", "high_usd", "tokens_per_month"])
