"""Sizes fleets by replaying requests (`llmstudy.measures.capacity.replay`).

`load` draws the traffic of a peak or of a week, as bursty as measured; `peak` finds the smallest
fleet that meets the SLO in the peak hour, and the utilisation that it sustains; `week` replays
static, scheduled and autoscaled fleets over a week; `split` sends the overflow of a small fleet to
an API; `fleet` sizes a fleet in one call. Nothing here needs prices or a study.
"""

from llmstudy.measures.capacity.sizing.fleet import size_fleet
from llmstudy.measures.capacity.sizing.load import (
    Burstiness,
    Traffic,
    burstiness_of,
    draw,
    published_burstiness,
)
from llmstudy.measures.capacity.sizing.peak import (
    SEARCH_STEPS,
    Service,
    smallest_replicas,
    sustainable_utilisation,
    sustained_requests_per_s,
)
from llmstudy.measures.capacity.sizing.split import base_load_split, cheapest_split
from llmstudy.measures.capacity.sizing.week import (
    Plan,
    WeekOutcome,
    autoscaled,
    ladder,
    needed_by_hour,
    outstanding_at,
    replay_week,
    scheduled,
    static,
)

__all__ = [
    "SEARCH_STEPS",
    "Burstiness",
    "Plan",
    "Service",
    "Traffic",
    "WeekOutcome",
    "autoscaled",
    "base_load_split",
    "burstiness_of",
    "cheapest_split",
    "draw",
    "ladder",
    "needed_by_hour",
    "outstanding_at",
    "published_burstiness",
    "replay_week",
    "scheduled",
    "size_fleet",
    "smallest_replicas",
    "static",
    "sustainable_utilisation",
    "sustained_requests_per_s",
]
