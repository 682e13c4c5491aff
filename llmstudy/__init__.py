"""Proprietary API, hosted open weights or self-hosting: decided from your own evidence.

`import llmstudy` offers by name what an analyst calls, without a study file: numbers, arrays and
DataFrames go in and come out. Each has an example that runs: see `help(llmstudy.latency_table)`.

- requests: `read_log`, `price_requests`, `PricedModel`, `reprice`, `summary_by`,
  `behaviour_by`, `requests_table` (both in one), `reconcile`
- latency: `latency_table`, `slo_attainment`, `quantile_interval`, `percentile_minimum_n`
- quality: `compare_quality`, which gives a `QualityComparison`, `items_needed`, `PairedCounts`,
  `paired_difference`, `non_inferiority`, `holm`, `noise_floor`, `new_subject_interval`
- cost: `usd_per_accepted_answer`, `replica_month_usd`, `requests_per_replica`
- capacity: `serving_points`, `model_shape`, `gpu`, `fit_serving_curve`, `fit_first_token`,
  `capacity_at_slo`, `replicas`, `size_fleet`
- crossover: `crossover` of two `RouteCost`
- probes: `probe_endpoint`, `search_rate`, `probe_vllm`, `read_probe`

>>> import llmstudy
>>> points = llmstudy.serving_points("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8")
>>> model, card = llmstudy.model_shape("meta-llama/Llama-3.1-70B"), llmstudy.gpu("h200_sxm")
>>> curve = llmstudy.fit_serving_curve(points, model, card, "fp8")
>>> one = llmstudy.capacity_at_slo(curve, 1024, 256, tpot_slo_s=0.05, tensor_parallel=2)
>>> llmstudy.replicas(20.0, one.requests_per_s, target_utilisation=0.7).tolist()
6

Each folder is one layer, and imports run downwards only. `prices`, `requests`, `measures` and
`probe` do not depend on a study; `evidence` gathers what a study rests on, `simulate` draws its
costs, `decide` judges them, `chapters` makes the tables that notebooks show, and `memo` writes them
up (docs/architecture.md).
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version
from typing import Any

try:
    __version__ = _version("llmstudy")
except PackageNotFoundError:  # a folder on PYTHONPATH, as on a host where nothing can be installed
    __version__ = "0+source"

_MODULES = {
    "requests.importers": ("read_log",),
    "prices": ("price_requests", "PricedModel"),
    "measures.repricing": ("reprice",),
    "measures.requests_summary": ("summary_by",),
    "measures.requests_behaviour": ("behaviour_by", "requests_table"),
    "measures.reconcile": ("reconcile",),
    "probe.latency": ("latency_table", "slo_attainment"),
    "measures.latency": ("quantile_interval", "percentile_minimum_n"),
    "measures.quality": (
        *("items_needed", "PairedCounts", "paired_difference", "non_inferiority", "holm"),
        *("noise_floor", "new_subject_interval"),
    ),
    "measures.scores": ("compare_quality", "QualityComparison"),
    "measures.cost": ("usd_per_accepted_answer", "replica_month_usd", "requests_per_replica"),
    "measures.capacity": (
        *("serving_points", "model_shape", "gpu", "fit_serving_curve", "capacity_at_slo"),
        *("replicas", "fit_first_token"),
    ),
    "measures.capacity.sizing": ("size_fleet",),
    "simulate.route_cost": ("crossover", "RouteCost"),
    "probe.design": ("probe_endpoint",),
    "probe.search.rate": ("search_rate",),
    "probe.vllm.probe": ("probe_vllm",),
    "probe.result": ("read_probe",),
}
"""Where each name is defined. A module is imported when one of its names is first used: `import
llmstudy`, which every command starts with, loads neither pandas nor scipy."""

_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [*_MODULE_OF]


def __getattr__(name: str) -> Any:
    """A public function, its module imported on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    """The names that tab completion offers."""
    return sorted([*globals(), *_MODULE_OF])
