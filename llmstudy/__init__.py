"""Proprietary API, hosted open weights or self-hosting: decided from your own evidence.

Data flows one way: `study` -> `requests`, `prices` -> `cost`, `latency`, `quality`, `capacity`
-> `uncertainty`, `triggers`, `decision` -> `chapter`, `charts`, `memo`. A module imports only
from its own stage or from the stages before it; `figure` stands before all.
"""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version

try:
    __version__ = _version("llmstudy")
except PackageNotFoundError:  # a folder on PYTHONPATH, as on a host where nothing can be installed
    __version__ = "0+source"
