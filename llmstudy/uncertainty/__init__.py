"""How sure are we? Draws of every uncertain input, and what they make of the costs.

Every figure is drawn from a named uniform stream (common random numbers): what is one thing to two
routes or workloads has one stream and so the same draws, and adding a figure moves no other.

`draws` makes the draws, `bills` the bill of each month, `crossover` the volume from which another
route is cheaper, `sensitivity` the ranking of the inputs that decide.
"""

from llmstudy.uncertainty.bills import (
    TODAY,
    Fleet,
    Offer,
    bill_saving_usd,
    drift,
    fleet_unit,
    month_usd,
    move_saving_usd,
    moved_share,
    of_today,
    staff_month_usd,
    team_share,
    usd_per_request,
    volume,
)
from llmstudy.uncertainty.crossover import crossover_requests_per_month, stepped_crossover
from llmstudy.uncertainty.draws import Draws, band, central, draw
from llmstudy.uncertainty.sensitivity import sensitivity

__all__ = [
    "TODAY",
    "Draws",
    "Fleet",
    "Offer",
    "band",
    "bill_saving_usd",
    "central",
    "crossover_requests_per_month",
    "draw",
    "drift",
    "fleet_unit",
    "month_usd",
    "move_saving_usd",
    "moved_share",
    "of_today",
    "sensitivity",
    "staff_month_usd",
    "stepped_crossover",
    "team_share",
    "usd_per_request",
    "volume",
]
