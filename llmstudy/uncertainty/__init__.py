"""How sure are we? Draws of every uncertain input, and what they make of the costs.

Every figure is drawn from a named uniform stream (common random numbers): what is one thing to two
routes or workloads has one stream and so the same draws, and adding a figure moves no other.

`draws` makes the draws, `paths` the way of prices and volumes, `bills` the bill of each month,
`crossover` the volume from which another route is cheaper; `ranking` ranks the inputs that decide,
`thresholds` finds where each flips the answer, `sufficiency` says whether the draws suffice;
`information` values what could be measured next, and `waiting` what waiting is worth.
"""

from llmstudy.uncertainty.bills import (
    TODAY,
    Bill,
    Fleet,
    FleetBill,
    Offer,
    TokenBill,
    api_month_usd,
    bill,
    bill_saving_usd,
    drift,
    dual_months,
    fleet_month_usd,
    fleet_rent_usd,
    fleet_unit,
    month_usd,
    move_saving_usd,
    moved_share,
    of_today,
    price_factor,
    prompt_lengths,
    rent_market,
    rent_path,
    saved_usd,
    staff_month_usd,
    team_share,
    usd_per_request,
    volume,
    volumes,
)
from llmstudy.uncertainty.crossover import crossover_requests_per_month, stepped_crossover
from llmstudy.uncertainty.draws import Draws, band, central, draw
from llmstudy.uncertainty.information import (
    Measurement,
    against_cost,
    evpi,
    measure_next,
    value_of_information,
    worth_measuring,
)
from llmstudy.uncertainty.paths import (
    PATH,
    PATH_INPUTS,
    drawn_paths,
    follow,
    noise,
    same_quality,
    without_paths,
)
from llmstudy.uncertainty.ranking import never_by_input, never_effects, pawn, sensitivity
from llmstudy.uncertainty.sufficiency import convergence
from llmstudy.uncertainty.thresholds import solve_thresholds
from llmstudy.uncertainty.waiting import threshold_rule, value_of_waiting

__all__ = [
    "PATH",
    "PATH_INPUTS",
    "TODAY",
    "Bill",
    "Draws",
    "Fleet",
    "FleetBill",
    "Measurement",
    "Offer",
    "TokenBill",
    "against_cost",
    "api_month_usd",
    "band",
    "bill",
    "bill_saving_usd",
    "central",
    "convergence",
    "crossover_requests_per_month",
    "draw",
    "drawn_paths",
    "drift",
    "dual_months",
    "evpi",
    "fleet_month_usd",
    "fleet_rent_usd",
    "fleet_unit",
    "follow",
    "measure_next",
    "month_usd",
    "move_saving_usd",
    "moved_share",
    "never_by_input",
    "never_effects",
    "noise",
    "of_today",
    "pawn",
    "price_factor",
    "prompt_lengths",
    "rent_market",
    "rent_path",
    "same_quality",
    "saved_usd",
    "sensitivity",
    "solve_thresholds",
    "staff_month_usd",
    "stepped_crossover",
    "team_share",
    "threshold_rule",
    "usd_per_request",
    "value_of_information",
    "value_of_waiting",
    "volume",
    "volumes",
    "without_paths",
    "worth_measuring",
]
