"""Capacity of a replica within its SLO, and the number of replicas that traffic needs.

`hardware` has the shapes of models and the data sheets of GPUs, and loads the published points,
`points` reads a table of others; `curve` is the serving curve, which predicts TPOT and the room for
KV cache, `first_token` the TTFT under load; `choose` has the prior and chooses the points to
measure; `fit` fits a curve's parameters to measured points, with intervals, and flags doubtful
points; `judge` tests it on points that it was not fitted to, and on other GPUs; `scope` gives the
range of its error at an operating point; `plan` sizes a fleet by formula: capacity within the SLO,
replicas, utilisation. `replay` follows every request through a fleet, `slo` compares the latencies
with the targets, and `sizing` sizes fleets by replay; import these three by their own names.

What a GPU hour costs is in `prices`, what a fleet costs in `cost`, measured latency in `latency`.
No GPU is touched here and no endpoint called.
"""

from llmstudy.measures.capacity.choose import (
    PARAMETERS,
    PRIOR,
    PRIOR_WEIGHT,
    SETTING,
    Prior,
    choose_points,
    guessed_curve,
    log_tpot_slopes,
    one_spread_better,
)
from llmstudy.measures.capacity.curve import (
    ENGINE_OVERHEAD_BYTES,
    MEMORY_UTILISATION_SHARE,
    CannotServe,
    Hull,
    ServingCurve,
    gpu_fit,
    requests_per_s,
)
from llmstudy.measures.capacity.first_token import FirstToken, fit_first_token
from llmstudy.measures.capacity.fit import (
    CONFIGURATION,
    fit_serving_curve,
    flags,
    parameter_intervals,
    roofline,
    usable_points,
    within_prior,
)
from llmstudy.measures.capacity.hardware import (
    BYTES_PER_WEIGHT,
    GROUP,
    Gpu,
    ModelShape,
    bytes_per_weight,
    gpu,
    gpu_family,
    model_shape,
    published_throughput,
    serving_points,
)
from llmstudy.measures.capacity.judge import (
    GroupFit,
    HeldOut,
    LeftOut,
    fit_groups,
    heldout_error,
    serving_fit,
    serving_fits,
    throughput_error_share,
    transfer_error,
    transfers,
)
from llmstudy.measures.capacity.plan import Capacity, capacity_at_slo, replicas, utilisation
from llmstudy.measures.capacity.points import read_points
from llmstudy.measures.capacity.scope import Scope, scope

__all__ = [
    "BYTES_PER_WEIGHT",
    "CONFIGURATION",
    "ENGINE_OVERHEAD_BYTES",
    "GROUP",
    "MEMORY_UTILISATION_SHARE",
    "PARAMETERS",
    "PRIOR",
    "PRIOR_WEIGHT",
    "SETTING",
    "CannotServe",
    "Capacity",
    "FirstToken",
    "Gpu",
    "GroupFit",
    "HeldOut",
    "Hull",
    "LeftOut",
    "ModelShape",
    "Prior",
    "Scope",
    "ServingCurve",
    "bytes_per_weight",
    "capacity_at_slo",
    "choose_points",
    "fit_first_token",
    "fit_groups",
    "fit_serving_curve",
    "flags",
    "gpu",
    "gpu_family",
    "gpu_fit",
    "guessed_curve",
    "heldout_error",
    "log_tpot_slopes",
    "model_shape",
    "one_spread_better",
    "parameter_intervals",
    "published_throughput",
    "read_points",
    "replicas",
    "requests_per_s",
    "roofline",
    "scope",
    "serving_fit",
    "serving_fits",
    "serving_points",
    "throughput_error_share",
    "transfer_error",
    "transfers",
    "usable_points",
    "utilisation",
    "within_prior",
]
