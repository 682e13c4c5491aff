"""Sizes a fleet for a log or a rate in one call, by replay."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy.measures.capacity.curve import ServingCurve
from llmstudy.measures.capacity.first_token import FirstToken, fit_first_token
from llmstudy.measures.capacity.hardware import serving_points
from llmstudy.measures.capacity.plan import capacity_at_slo
from llmstudy.measures.capacity.replay import engine
from llmstudy.measures.capacity.sizing.load import Traffic, burstiness_of, published_burstiness
from llmstudy.measures.capacity.sizing.peak import CELL, Service, peak_table, smallest_replicas
from llmstudy.measures.capacity.slo import Slo, percentiles

TRACE = "servegen-m-mid"
"""The published trace that gives the burstiness of a rate without a log."""


def size_fleet(
    requests: pd.DataFrame | float,
    curve: ServingCurve,
    *,
    tensor_parallel: int,
    ttft_s: float,
    tpot_s: float,
    input_tokens: npt.ArrayLike | None = None,
    output_tokens: npt.ArrayLike | None = None,
    spare: int = 1,
    first_token: FirstToken | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """The smallest fleet that meets its targets in the busiest hour, by replay.

    requests: a log (ts_start, input_tokens, output_tokens, optionally cached_input_tokens), of
    which the busiest hour is replayed with the bursts of the log; or the requests per second of the
    busiest hour, with lengths in `input_tokens` and `output_tokens` (a number each, or a sample of
    pairs).
    ttft_s, tpot_s: targets at the p95, in seconds. spare: replicas beyond need. first_token: as
    `fit_first_token`; by default fitted to the bundled points of the curve's engine.

    Returns: one row: replicas (spares included), gpus, peak_requests_per_s,
    replica_requests_per_s (capacity of a replica that is never idle), peak_utilisation_share (of
    all replicas), ttft_p95_s and tpot_p95_s without the spares, binds: the targets that one replica
    fewer would miss, or "nothing" if one replica is enough.
    Raises: CannotServe if no fleet of such replicas meets them; ValueError for too short a log,
    missing lengths, or no points for the first token.

    >>> from llmstudy.measures.capacity import fit_serving_curve, gpu, model_shape, serving_points
    >>> points = serving_points("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8")
    >>> llama, h200 = model_shape("meta-llama/Llama-3.1-70B"), gpu("h200_sxm")
    >>> curve = fit_serving_curve(points, llama, h200, "fp8")
    >>> targets = {"tensor_parallel": 2, "ttft_s": 2.0, "tpot_s": 0.05}
    >>> fleet = size_fleet(20.0, curve, input_tokens=1155, output_tokens=211, **targets)
    >>> fleet[["replicas", "gpus", "binds"]].to_dict("records")
    [{'replicas': 5, 'gpus': 10, 'binds': 'ttft'}]
    """
    if isinstance(requests, pd.DataFrame):
        traffic = _traffic_of_log(requests)
    elif requests > 0 and input_tokens is not None and output_tokens is not None:
        lengths = np.broadcast_arrays(*np.atleast_1d(input_tokens, output_tokens))
        inputs, outputs = (np.maximum(np.round(x), 1).astype(np.int64) for x in lengths)
        bursts = published_burstiness(TRACE)
        traffic = Traffic(np.array([requests]), inputs, outputs, np.zeros_like(inputs), bursts)
    else:
        raise ValueError(
            "size_fleet: give a log, or a rate above 0 requests/s with input_tokens and "
            "output_tokens"
        )
    peak_per_s = float(traffic.requests_per_s.max())
    mean_tokens = (float(traffic.input_tokens.mean()), float(traffic.output_tokens.mean()))
    cached_share = float(traffic.cached_tokens.sum() / traffic.input_tokens.sum())
    point = capacity_at_slo(curve, *mean_tokens, tpot_s, tensor_parallel, ttft_s, cached_share)
    service = Service(
        curve,
        tensor_parallel,
        engine(curve, tensor_parallel, point.concurrency),
        Slo(ttft_s, tpot_s),
        point.requests_per_s,
        first_token or _bundled_first_token(curve),
    )
    needed = smallest_replicas(service, traffic, peak_per_s, seed)
    parts = max(1, needed // CELL)
    cell, rate = -(-needed // parts), peak_per_s / parts

    def p95_s(replicas: int) -> dict[str, float]:
        table = peak_table(service, traffic, replicas, rate, seed)
        waits = {"ttft": table["ttft_s"], "tpot": table["tpot_s"].dropna()}
        return {name: percentiles(x, [0.95])[0] for name, x in waits.items() if len(x)}

    limits, attained = {"ttft": ttft_s, "tpot": tpot_s}, p95_s(cell)
    fewer = p95_s(cell - 1) if cell > 1 else {}
    return pd.DataFrame(
        {
            "replicas": [needed + spare],
            "gpus": (needed + spare) * tensor_parallel,
            "peak_requests_per_s": peak_per_s,
            "replica_requests_per_s": point.requests_per_s,
            "peak_utilisation_share": peak_per_s / ((needed + spare) * point.requests_per_s),
            "ttft_p95_s": attained["ttft"],
            "tpot_p95_s": attained.get("tpot"),
            "binds": " and ".join(n for n, x in fewer.items() if x > limits[n]) or "nothing",
        }
    )


def _traffic_of_log(requests: pd.DataFrame) -> Traffic:
    """The busiest hour of a log, with its lengths and bursts."""
    needed = ["ts_start", "input_tokens", "output_tokens"]
    if missing := [name for name in needed if name not in requests]:
        raise ValueError(f"size_fleet: the log lacks {', '.join(missing)}: see `read_log`")
    times = requests["ts_start"]
    since_s = (times - times.min().floor("h")).dt.total_seconds().to_numpy()
    if not len(since_s) or since_s.max() - since_s.min() < 3000:
        raise ValueError(
            "size_fleet: the log is shorter than an hour: give a longer one, or a rate"
        )
    inputs, outputs = (
        np.maximum(requests[name].to_numpy(dtype=np.int64), 1) for name in needed[1:]
    )
    cached = np.zeros_like(inputs)
    if "cached_input_tokens" in requests:
        cached = requests["cached_input_tokens"].fillna(0).to_numpy(dtype=np.int64)
    per_hour = np.bincount((since_s // 3600).astype(int))
    return Traffic(per_hour / 3600, inputs, outputs, cached, burstiness_of(since_s))


def _bundled_first_token(curve: ServingCurve) -> FirstToken:
    try:
        points = serving_points(
            curve.shape.model, curve.gpu.gpu, curve.precision, curve.engine_version
        )
    except ValueError:
        raise ValueError(
            f"size_fleet: no points of {curve.shape.model} on {curve.gpu.gpu} are bundled: give "
            "first_token=fit_first_token(curve, points), with the points that you fitted"
        ) from None
    return fit_first_token(curve, points)
