"""Monte Carlo: draws of every uncertain input, and the costs that follow from them.

Every figure is drawn from a named uniform stream (common random numbers). A figure that two routes
or workloads share has one stream, and so the same draws; adding a figure changes no other draws.

`inputs` lists the uncertain inputs of a route; `draws` draws them, and the paths of prices and
volumes; `bills` computes the bill of each month, and `reuse` avoids computing unchanged parts
again; `futures` gives the bills of a move in each future, `projection` the cumulative cost of each
arm, `breakdown` the items of a bill; `crossover` finds the volume from which another route is
cheaper, and the value of each input at which the answer flips; `ranking` ranks inputs by their
effect, and `drivers` those of a study; `sufficiency` checks whether there are enough draws;
`information` gives the value of a measurement, and `measurements` those of a study; `waiting` gives
the value of waiting, `invoices` predicts invoices, `quality` draws paired differences.
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
    move_saving,
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
    "move_saving",
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
