"""How sure are we? Draws of every uncertain input, and what they make of the costs.

Every figure is drawn from a named uniform stream (common random numbers): what is one thing to two
routes or workloads has one stream and so the same draws, and adding a figure moves no other.

`inputs` lists the uncertain inputs of a route; `draws` draws them, with the paths of prices and
volumes; `bills` makes the bill of each month, `reuse` only what another input has changed of it;
`futures` makes the bill of a move in each future, `projection` says what each arm will have cost,
`breakdown` of what a bill consists; `crossover` finds the volume from which another route is
cheaper, and where each input flips the answer; `ranking` ranks the inputs that decide and `drivers`
those of a study; `sufficiency` says whether the draws suffice; `information` values what could be
measured next and `measurements` what a study could measure; `waiting` values waiting, `invoices`
predicts the invoices, `quality` draws paired differences.
"""

from llmstudy.simulate.bills import (
    CANARY,
    START,
    TODAY,
    Bill,
    FleetBill,
    Terms,
    TokenBill,
    answer_tokens,
    api_month_usd,
    at_cutover,
    begun_share,
    bill,
    discount,
    discount_once,
    drift,
    dual_months,
    fleet_month_usd,
    fleet_rent_usd,
    fleet_unit,
    month_usd,
    move_saving_usd,
    move_terms,
    moved_share,
    of_today,
    price_factor,
    prompt_lengths,
    rent_market,
    served_from,
    staff_month_usd,
    starts,
    terms,
    usd_per_request,
    volume,
    volumes,
    worth_today,
)
from llmstudy.simulate.crossover import (
    crossover_requests_per_month,
    solve_thresholds,
    stepped_crossover,
    turning_point,
)
from llmstudy.simulate.draws import (
    PATH,
    PATH_INPUTS,
    Draws,
    band,
    central,
    draw,
    drawn_paths,
    follow,
    noise,
    same_quality,
)
from llmstudy.simulate.information import against_cost, evpi, measure_next, value_of_information
from llmstudy.simulate.ranking import at_medians, never_by_input, pawn, sensitivity
from llmstudy.simulate.sufficiency import convergence
from llmstudy.simulate.waiting import value_of_waiting

__all__ = [
    "CANARY",
    "PATH",
    "PATH_INPUTS",
    "START",
    "TODAY",
    "Bill",
    "Draws",
    "FleetBill",
    "Terms",
    "TokenBill",
    "against_cost",
    "answer_tokens",
    "api_month_usd",
    "at_cutover",
    "at_medians",
    "band",
    "begun_share",
    "bill",
    "central",
    "convergence",
    "crossover_requests_per_month",
    "discount",
    "discount_once",
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
    "move_terms",
    "moved_share",
    "never_by_input",
    "noise",
    "of_today",
    "pawn",
    "price_factor",
    "prompt_lengths",
    "rent_market",
    "same_quality",
    "sensitivity",
    "served_from",
    "solve_thresholds",
    "staff_month_usd",
    "starts",
    "stepped_crossover",
    "terms",
    "turning_point",
    "usd_per_request",
    "value_of_information",
    "value_of_waiting",
    "volume",
    "volumes",
    "worth_today",
]
