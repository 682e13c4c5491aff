"""How much traffic does one replica carry within its SLO, and how many replicas does that take?

`hardware` holds what is known before measuring (the shapes of models, the data sheets of GPUs) and
loads the published points; `curve` is the serving curve, which predicts TPOT and the room for KV
cache; `fit` finds its parameters from measured points, with their error on others, and names the
points to doubt; `plan` sizes a fleet: capacity within the SLO, replicas, utilisation.

What a GPU hour costs is in `prices`, what a fleet costs in `cost`, measured latency in `latency`.
No GPU is touched here and no endpoint called.
"""

from llmstudy.capacity.curve import (
    ENGINE_OVERHEAD_BYTES,
    MEMORY_UTILISATION_SHARE,
    CannotServe,
    Hull,
    ServingCurve,
    gpu_fit,
    requests_per_s,
)
from llmstudy.capacity.fit import (
    CONFIGURATION,
    HeldOut,
    fit_serving_curve,
    flags,
    heldout_error,
    roofline,
    serving_fits,
    throughput_error_share,
    usable_points,
)
from llmstudy.capacity.hardware import (
    BYTES_PER_WEIGHT,
    GROUP,
    Gpu,
    ModelShape,
    bytes_per_weight,
    gpu,
    model_shape,
    published_throughput,
    serving_points,
)
from llmstudy.capacity.plan import Capacity, capacity_at_slo, replicas, utilisation

__all__ = [
    "BYTES_PER_WEIGHT",
    "CONFIGURATION",
    "ENGINE_OVERHEAD_BYTES",
    "GROUP",
    "MEMORY_UTILISATION_SHARE",
    "CannotServe",
    "Capacity",
    "Gpu",
    "HeldOut",
    "Hull",
    "ModelShape",
    "ServingCurve",
    "bytes_per_weight",
    "capacity_at_slo",
    "fit_serving_curve",
    "flags",
    "gpu",
    "gpu_fit",
    "heldout_error",
    "model_shape",
    "published_throughput",
    "replicas",
    "requests_per_s",
    "roofline",
    "serving_fits",
    "serving_points",
    "throughput_error_share",
    "usable_points",
    "utilisation",
]
