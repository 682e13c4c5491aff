"""How long do users wait when this traffic meets a fleet of a given size?

Every request is followed through queue, prompt and answer, on replicas that batch continuously and
whose steps take as long as the fitted serving curve says. What is simulated:

- The router sends a request to the replica with the fewest outstanding, at most `max_num_seqs`
  each. A request that finds all of them full waits at the router, first come first served, or goes
  to an API (`overflow`).
- A step writes a token for each request that writes and reads waiting prompts up to
  `max_batched_tokens`; its time is the curve's decode step plus the curve's prefill of what it
  reads, so reading a prompt stalls the answers beside it. Prompts read together share their
  overhead. Each cache is read at its mean length, as in the curve.
- A prompt found in the prefix cache spares arithmetic, not memory.
- A request is admitted only when its whole KV cache, answer included, fits beside the others', so
  none is pre-empted. vLLM admits on the prompt and pre-empts when answers outgrow the memory: it
  runs a few more at once near the limit, and makes some of them wait twice.
- A replica takes `boot_s` to start. The requests of one that fails start again elsewhere; its
  outage includes the boot, and it is paid for. One that is released ends its answers first.

- With a `FirstToken` the first token comes no sooner than measured under as many requests
  outstanding: steps alone give .28 of the measured TTFT in the median, since real engines let
  prompts wait for each other.

Left out: the time on the network and tokenising. The router does not know how long answers will be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy.figure import FloatArray
from llmstudy.measures.capacity.curve import ServingCurve, gpu_fit
from llmstudy.measures.capacity.engine import (
    ACCOUNT_S,
    Autoscaler,
    Engine,
    IntArray,
    Rules,
    StepTime,
)
from llmstudy.measures.capacity.first_token import FirstToken, reading_per_step, waiting
from llmstudy.measures.capacity.hardware import bytes_per_weight

BoolArray = npt.NDArray[np.bool_]

MAX_BATCHED_TOKENS = 8192
"""vLLM's default for its server on GPUs of 70 GiB and more (`max_num_batched_tokens`)."""


class Requests(NamedTuple):
    """A replay's requests, (n,) each, by time of arrival.

    kv_read_s: seconds to read the cache at its mean length. kv_share: share of a replica's KV
    memory that the whole cache takes. first_token_s: least TTFT with none beside it, which grows
    with the requests outstanding (`first_token.waiting`); 0 where none was measured.
    reading_per_step: of a request beside it, the mean of all.
    """

    arrival_s: FloatArray
    input_tokens: IntArray
    cached_tokens: IntArray
    output_tokens: IntArray
    kv_read_s: FloatArray
    kv_share: FloatArray
    first_token_s: FloatArray = np.zeros(1)
    reading_per_step: FloatArray = np.zeros(1)


class Fleet(NamedTuple):
    """Replicas over time, and their outages.

    changes: (m, 2) time and number of replicas ordered from then on, each ready `boot_s` later,
    those of the first row, at 0 s, at once. outages: (k, 3) start, end and replica, by start.
    """

    changes: FloatArray
    outages: FloatArray
    rules: Rules


class Outcome(NamedTuple):
    """Outcome of every request (n,), replica (r,) and window of ten minutes (w,).

    first_s, finish_s: times of the first and last token, inf when never. replica: -1 when never
    served. taken_s, outstanding: when a replica admitted it, and the requests there with it.
    paid_s: replica-seconds in each window, booting, idle and failed ones included.
    """

    first_s: FloatArray
    finish_s: FloatArray
    replica: IntArray
    attempts: IntArray
    overflowed: BoolArray
    busy_s: FloatArray
    most_kv_share: FloatArray
    most_running: IntArray
    paid_s: FloatArray
    taken_s: FloatArray
    outstanding: IntArray


_BOOK = np.dtype(
    [
        ("arrival_s", "f8"),
        ("input_tokens", "i8"),
        ("cached_tokens", "i8"),
        ("output_tokens", "i8"),
        ("kv_read_s", "f8"),
        ("kv_share", "f8"),
        ("first_s", "f8"),
        ("finish_s", "f8"),
        ("replica", "i8"),
        ("attempts", "i8"),
        ("overflowed", "?"),
        ("taken_s", "f8"),
        ("outstanding", "i8"),
        ("following", "i8"),
    ]
)
_REPLICA = np.dtype(
    [
        ("state", "i8"),
        ("event_s", "f8"),
        ("began_s", "f8"),
        ("step_s", "f8"),
        ("steps", "i8"),
        ("clock", "i8"),
        ("mixed", "?"),
        ("writing", "i8"),
        ("ready", "i8"),
        ("partial", "i8"),
        ("position", "i8"),
        ("outstanding", "i8"),
        ("kv_held", "f8"),
        ("kv_read_s", "f8"),
        ("head", "i8"),
        ("tail", "i8"),
        ("waiting", "i8"),
        ("busy_s", "f8"),
        ("most_kv_share", "f8"),
        ("most_running", "i8"),
    ]
)


def engine(
    curve: ServingCurve,
    tensor_parallel: int,
    max_num_seqs: int,
    max_batched_tokens: int = MAX_BATCHED_TOKENS,
) -> Engine:
    """A replica on `tensor_parallel` GPUs whose steps take as long as the curve predicts.

    max_num_seqs: requests outstanding at once; others wait at the router.
    Raises: CannotServe if the weights do not fit; ValueError for limits that no step can keep.

    >>> from llmstudy.measures.capacity import fit_serving_curve, gpu, model_shape, serving_points
    >>> points = serving_points("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8")
    >>> llama, h200 = model_shape("meta-llama/Llama-3.1-70B"), gpu("h200_sxm")
    >>> curve = fit_serving_curve(points, llama, h200, "fp8")
    >>> round(1e3 * engine(curve, 2, 64).time.weights_s)
    10
    """
    if not 1 <= max_num_seqs <= max_batched_tokens:
        raise ValueError(
            f"engine: max_num_seqs is {max_num_seqs} and max_batched_tokens {max_batched_tokens}: "
            "give at least 1, and at least a token for each request"
        )
    shape, gpus = curve.shape, tensor_parallel
    gpu_fit(shape, curve.gpu, curve.precision, gpus)
    read_s = bytes_per_weight(curve.precision) / gpus / _bytes_per_s(curve)
    flops_per_s = curve.flop_efficiency * curve.gpu.flops_per_s(curve.precision)
    flop_s = 1 / gpus / flops_per_s
    full = shape.layers - shape.sliding_layers
    pair_flops = 4 * shape.heads * shape.head_dim
    untouched = (shape.experts - shape.experts_per_token) / max(shape.experts, 1)
    return Engine(
        StepTime(
            weights_s=shape.total_params * read_s,
            experts_s=float(shape.total_params - shape.params_read(0)) * read_s,
            idle_share=untouched,
            token_s=2 * shape.active_params * flop_s,
            pair_s=pair_flops * full * flop_s,
            window_pair_s=pair_flops * shape.sliding_layers * flop_s,
            window=float(shape.sliding_window),
            overhead_s=float(curve.overhead_s(gpus)),
        ),
        int(max_num_seqs),
        int(max_batched_tokens),
    )


def requests_on(
    curve: ServingCurve,
    tensor_parallel: int,
    arrival_s: npt.ArrayLike,
    input_tokens: npt.ArrayLike,
    output_tokens: npt.ArrayLike,
    cached_tokens: npt.ArrayLike = 0,
    first_token: FirstToken | None = None,
) -> Requests:
    """Requests with the size of their caches on a replica. Arrays broadcast with arrival_s, (n,).

    The last token of a prompt is read even when all of it is cached, as vLLM does: it gives the
    first token.
    Raises: ValueError unless arrivals are sorted and finite and lengths at least 1.
    """
    arrival = np.asarray(arrival_s, dtype=float)
    inputs, outputs, cached = (
        np.broadcast_to(np.asarray(x, dtype=np.int64), arrival.shape)
        for x in (input_tokens, output_tokens, cached_tokens)
    )
    if not (np.isfinite(arrival).all() and (np.diff(arrival) >= 0).all() and (arrival >= 0).all()):
        raise ValueError("requests_on: arrivals must be finite, sorted and at least 0 s")
    if not ((inputs >= 1).all() and (outputs >= 1).all() and (cached >= 0).all()):
        raise ValueError("requests_on: give at least 1 token in and out, and none below 0 cached")
    shape, gpus = curve.shape, float(tensor_parallel)
    shards = float(shape.kv_shards(gpus))
    mean = shape.kv_cache_bytes(inputs + outputs / 2, curve.kv_value_bytes)
    whole = shape.kv_cache_bytes(inputs + outputs, curve.kv_value_bytes)
    room = gpu_fit(shape, curve.gpu, curve.precision, tensor_parallel) * 2**30 / gpus
    cached = np.minimum(cached, inputs - 1)
    first_token_s, beside = np.zeros(len(arrival)), np.zeros(len(arrival))
    if first_token is not None and len(arrival):
        first_token_s = first_token.alone_s(curve, inputs, tensor_parallel, cached / inputs)
        cached_share = cached.sum() / inputs.sum()
        beside += reading_per_step(
            curve, inputs.mean(), outputs.mean(), tensor_parallel, cached_share
        )
    return Requests(
        arrival_s=arrival,
        input_tokens=np.ascontiguousarray(inputs),
        cached_tokens=cached,
        output_tokens=np.ascontiguousarray(outputs),
        kv_read_s=mean / shards / _bytes_per_s(curve),
        kv_share=whole / shards / room,
        first_token_s=first_token_s,
        reading_per_step=beside,
    )


def _bytes_per_s(curve: ServingCurve) -> float:
    return curve.bandwidth_efficiency * curve.gpu.hbm_gb_per_s * 1e9


def draw_outages(
    replicas: int, horizon_s: float, mtbf_s: float, mttr_s: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Draws outages of each replica, up and down times exponential.

    Columns: start_s, end_s, replica.

    >>> draw_outages(2, 1e6, 5e5, 3600, np.random.default_rng(1))["replica"].tolist()
    [1, 0]
    """
    rows = []
    for replica in range(replicas if mtbf_s < inf else 0):
        start_s = rng.exponential(mtbf_s)
        while start_s < horizon_s:
            end_s = start_s + rng.exponential(mttr_s)
            rows.append((start_s, end_s, replica))
            start_s = end_s + rng.exponential(mtbf_s)
    table = pd.DataFrame(rows, columns=["start_s", "end_s", "replica"])
    return table.sort_values("start_s", ignore_index=True, kind="stable")


def fleet(
    replicas: int | Sequence[int],
    change_s: Sequence[float] = (0.0,),
    boot_s: float = 0.0,
    outages: pd.DataFrame | None = None,
    autoscaler: Autoscaler | None = None,
    overflow: bool = False,
) -> Fleet:
    """A fleet: static (one number), scheduled (numbers and times), or autoscaled from a number.

    overflow: a request that finds every replica full goes to an API, instead of waiting.
    Raises: ValueError for a schedule that does not begin at 0 s or outages without an end.
    """
    counts, times = np.atleast_1d(np.asarray(replicas)), np.asarray(change_s, dtype=float)
    if len(counts) != len(times) or times[0] != 0 or (np.diff(times) <= 0).any():
        raise ValueError("fleet: give as many times as numbers of replicas, rising from 0 s")
    if (counts < 0).any():
        raise ValueError("fleet: a number of replicas is below 0")
    down = np.empty((0, 3))
    if outages is not None:
        down = outages[["start_s", "end_s", "replica"]].to_numpy(dtype=float)
    if not np.isfinite(down).all():
        raise ValueError("fleet: an outage has no end; if a replica never returns, order one fewer")
    rule = autoscaler or Autoscaler(1.0, 0, 0)
    return Fleet(
        changes=np.column_stack([times, counts]).astype(float),
        outages=np.ascontiguousarray(down),
        # the same types in every call, or the loop would be compiled again
        rules=Rules(
            float(boot_s),
            Autoscaler(
                float(rule.outstanding_per_replica),
                int(rule.least),
                int(rule.most),
                int(rule.spare),
                float(rule.check_every_s),
                float(rule.cool_down_s),
            ),
            bool(overflow),
        ),
    )


def replay(
    requests: Requests, engine: Engine, fleet: Fleet, until_s: float | None = None
) -> Outcome:
    """Follow every request through the fleet. Deterministic.

    until_s: end of the account of replicas; that of the last window with an arrival unless given.
    A request whose cache exceeds a replica's memory is never served.

    >>> from llmstudy.measures.capacity import fit_serving_curve, gpu, model_shape, serving_points
    >>> points = serving_points("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8")
    >>> llama, h200 = model_shape("meta-llama/Llama-3.1-70B"), gpu("h200_sxm")
    >>> curve = fit_serving_curve(points, llama, h200, "fp8")
    >>> two = requests_on(curve, 2, [0.0, 0.05], [1155, 1155], [211, 211])
    >>> outcome = replay(two, engine(curve, 2, 64), fleet(1))
    >>> (outcome.first_s - two.arrival_s).round(1).tolist(), outcome.finish_s.round().tolist()
    ([0.1, 0.2], [3.0, 3.0])
    """
    # numba takes seconds to import, and most commands do not need it
    from llmstudy.measures.capacity import batching

    n = len(requests.arrival_s)
    book = np.zeros(n, dtype=_BOOK)
    for name, values in requests._asdict().items():
        if name not in ("first_token_s", "reading_per_step"):
            book[name] = values
    book["first_s"] = book["finish_s"] = inf
    book["replica"], book["attempts"] = -1, 1
    slots = int(max(fleet.changes[:, 1].max(), fleet.rules.autoscaler.most))
    replicas = np.zeros(slots + 1, dtype=_REPLICA)  # the last is the router
    replicas["event_s"], replicas["partial"] = inf, -1
    lists = np.zeros((slots, engine.max_num_seqs, 3), dtype=np.int64)
    if until_s is None:
        until_s = ACCOUNT_S * (1 + (requests.arrival_s[-1] // ACCOUNT_S if n else 0))
    paid_s = np.zeros(round(until_s / ACCOUNT_S))
    batching.run(book, replicas, lists, paid_s, engine, fleet.rules, fleet.changes, fleet.outages)
    of_request = ["first_s", "finish_s", "replica", "attempts", "overflowed"]
    of_request += ["taken_s", "outstanding"]
    of_replica = ("busy_s", "most_kv_share", "most_running")
    return Outcome(
        **{name: book[name] for name in of_request},
        **{name: replicas[name][:-1] for name in of_replica},
        paid_s=paid_s,
    )


def request_table(requests: Requests, outcome: Outcome) -> pd.DataFrame:
    """One row per request: arrival_s, ttft_s, tpot_s, e2e_s, replica, attempts, overflowed.

    As in `latency`: a request that never finishes has latency +inf; TPOT is null under two tokens.
    From the moment that a replica admits a request, TTFT is no less than measured with so many
    outstanding, and the answer ends as much later.
    """
    arrival_s, output = requests.arrival_s, requests.output_tokens
    finished = np.isfinite(outcome.finish_s)
    later = waiting(outcome.outstanding, requests.reading_per_step)
    least_s = outcome.taken_s + requests.first_token_s * later
    first_s = np.where(finished, np.maximum(outcome.first_s, least_s), inf)
    later_s = np.where(finished, first_s, 0) - np.where(finished, outcome.first_s, 0)
    ttft_s = first_s - arrival_s
    writing_s = np.where(finished, outcome.finish_s, 0) - np.where(finished, outcome.first_s, 0)
    tpot_s = np.where(finished, writing_s / np.maximum(output - 1, 1), inf)
    return pd.DataFrame(
        {
            "arrival_s": arrival_s,
            "ttft_s": ttft_s,
            "tpot_s": np.where(output > 1, tpot_s, np.nan),
            "e2e_s": outcome.finish_s - arrival_s + later_s,
            "replica": outcome.replica,
            "attempts": outcome.attempts,
            "overflowed": outcome.overflowed,
        },
        copy=False,
    )


@dataclass(frozen=True)
class Slo:
    """The SLO of 95 of 100 requests: seconds to the first token, and per token after it."""

    ttft_p95_s: float
    tpot_p95_s: float


def percentiles(
    values: npt.ArrayLike, shares: Sequence[float], weights: npt.ArrayLike | None = None
) -> list[float]:
    """Quantiles at these shares, each an observed value; +inf among failures.

    >>> percentiles([1.0, 2.0, 3.0, float("inf")], [0.5, 0.95])
    [2.0, inf]
    """
    samples = np.asarray(values, dtype=float)
    if not len(samples):
        return [float("nan")] * len(shares)
    if weights is None or (np.asarray(weights) == 1).all():  # without a sort
        return [float(x) for x in np.quantile(samples, shares, method="inverted_cdf")]
    order = np.argsort(samples)
    up_to = np.asarray(weights, dtype=float)[order].cumsum()
    return [float(x) for x in samples[order[np.searchsorted(up_to / up_to[-1], shares)]]]


def holds(table: pd.DataFrame, slo: Slo) -> bool:
    """Whether the p95 of TTFT and of TPOT of these requests meet the SLO.

    table: as `request_table`; overflowed requests do not count.
    """
    served = ~table["overflowed"].to_numpy()
    ttft_s, tpot_s = (table[name].to_numpy()[served] for name in ("ttft_s", "tpot_s"))
    limits = ((ttft_s, slo.ttft_p95_s), (tpot_s[~np.isnan(tpot_s)], slo.tpot_p95_s))
    return all(not len(x) or percentiles(x, [0.95])[0] <= limit for x, limit in limits)


def summary(
    table: pd.DataFrame, slo: Slo, weights: npt.ArrayLike | None = None
) -> dict[str, float]:
    """Percentiles of TTFT and E2E latency, and the share of requests that meet the whole SLO.

    table: as `request_table`; overflowed requests do not count. weights: requests that a row stands
    for.
    """
    is_served = ~table["overflowed"].to_numpy()
    weighted = np.ones(len(table)) if weights is None else np.asarray(weights, dtype=float)
    served, weighted = table[is_served], weighted[is_served]
    met = (served["ttft_s"] <= slo.ttft_p95_s) & ~(served["tpot_s"] > slo.tpot_p95_s)
    latency: dict[str, float] = {}
    for name in ("ttft", "e2e"):
        values = percentiles(served[f"{name}_s"], (0.5, 0.95, 0.99), weighted)
        latency |= {f"{name}_p{q}_s": x for q, x in zip((50, 95, 99), values, strict=True)}
    attained = float(np.average(met, weights=weighted)) if len(served) else float("nan")
    return latency | {"slo_attainment_share": attained}
