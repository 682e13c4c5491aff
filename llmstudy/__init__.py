"""Proprietary API, hosted open weights or self-hosting: decided from your own evidence.

Data flows one way: `study` -> `requests`, `prices` -> `cost`, `latency`, `quality`, `capacity`
-> `uncertainty`, `triggers`, `decision` -> `chapter`, `charts`, `memo`. A module imports only
from its own stage or from the stages before it; `figure` stands before all.
"""
