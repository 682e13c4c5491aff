"""How sure are we? Draws of every uncertain input, and what they make of the costs.

Every figure is drawn from a named uniform stream (common random numbers): what is one thing to two
routes or workloads has one stream and so the same draws, and adding a figure moves no other.

`draws` makes the draws, `paths` the way of prices and volumes, `bills` the bill of each month,
`crossover` the volume from which another route is cheaper, `sensitivity` the ranking of the inputs
that decide.
"""

from llmstudy.uncertainty.bills import (
    TODAY,
    Fleet,
    Offer,
    api_month_usd,
    bill_saving_usd,
    drift,
    dual_months,
    fleet_month_usd,
    fleet_unit,
    month_usd,
    move_saving_usd,
    moved_share,
    of_today,
    prompt_lengths,
    staff_month_usd,
    team_share,
    usd_per_request,
    volume,
    volumes,
)
from llmstudy.uncertainty.crossover import crossover_requests_per_month, stepped_crossover
from llmstudy.uncertainty.draws import Draws, band, central, draw
from llmstudy.uncertainty.paths import PATH, drawn_paths, follow, noise, same_quality
from llmstudy.uncertainty.sensitivity import sensitivity

__all__ = [
    "PATH",
    "TODAY",
    "Draws",
    "Fleet",
    "Offer",
    "api_month_usd",
    "band",
    "bill_saving_usd",
    "central",
    "crossover_requests_per_month",
    "draw",
    "drawn_paths",
    "drift",
    "dual_months",
    "fleet_month_usd",
    "fleet_unit",
    "follow",
    "month_usd",
    "move_saving_usd",
    "moved_share",
    "noise",
    "of_today",
    "prompt_lengths",
    "same_quality",
    "sensitivity",
    "staff_month_usd",
    "stepped_crossover",
    "team_share",
    "usd_per_request",
    "volume",
    "volumes",
]
