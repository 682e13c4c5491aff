"""Replays requests on a fleet, to find how long users wait.

Every request is followed through queue, prompt and answer, on replicas with continuous batching
whose steps take the time of the fitted serving curve. What is simulated:

- The router sends a request to the replica with the fewest outstanding, at most `max_num_seqs`
  each. A request that finds all of them full waits at the router, first come first served, or goes
  to an API (`overflow`).
- A step writes a token for each request that writes and reads waiting prompts up to
  `max_batched_tokens`; its time is the curve's decode step plus the curve's prefill of what it
  reads, so reading a prompt stalls the answers beside it. Prompts read together share their
  overhead. Each cache is read at its mean length, as in the curve.
- A prompt in the prefix cache saves arithmetic, not memory.
- A request is admitted only when its whole KV cache, answer included, fits beside the others', so
  none is pre-empted. vLLM admits on the prompt and pre-empts when answers outgrow the memory: it
  runs a few more at once near the limit, and makes some of them wait twice.
- A replica takes `boot_s` to start. Requests of a failed replica start again elsewhere; its outage
  includes the boot, and is paid for. A replica that is released finishes its answers first.
- With a `FirstToken` the first token comes no sooner than measured under as many requests
  outstanding: the steps alone give 0.28 of the measured TTFT in the median, since prompts wait for
  each other in real engines.

Not simulated: network and tokenising. The router does not know how long answers will be.

Time jumps from event to event: between two of them a replica's batch does not change, and so
neither does the time of a step. A prompt's last chunk gives the first token. Source of the schedule
(chunked prefill, as vLLM since its version 1): Agrawal et al. (2024), arXiv 2403.02310, section 4.
"""

from collections.abc import Callable, Sequence
from functools import cache
from math import ceil, inf
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy.figure import FloatArray
from llmstudy.measures.capacity.curve import ServingCurve, gpu_fit
from llmstudy.measures.capacity.first_token import FirstToken, reading_per_step
from llmstudy.measures.capacity.hardware import bytes_per_weight

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

MAX_BATCHED_TOKENS = 8192
"""vLLM's default for its server on GPUs of 70 GiB and more (`max_num_batched_tokens`)."""

ACCOUNT_S = 600.0
"""Seconds of a window in the account of paid replicas."""


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


class StepTime(NamedTuple):
    """Parts of a step's time, in seconds: a serving curve on a given number of GPUs.

    weights_s: reading all weights; experts_s: the part of it that a step over no token would not
    read; idle_share: the share of the experts that one token does not use. token_s, pair_s,
    window_pair_s: arithmetic per token, and per pair of tokens in full and in windowed layers.
    """

    weights_s: float
    experts_s: float
    idle_share: float
    token_s: float
    pair_s: float
    window_pair_s: float
    window: float
    overhead_s: float


class Engine(NamedTuple):
    """One replica: the time of its steps, and its limits."""

    time: StepTime
    max_num_seqs: int
    max_batched_tokens: int


class Autoscaler(NamedTuple):
    """Scales on requests in flight, waiting ones included: enough replicas for them, plus spares.

    More replicas are ordered at the next check; fewer only when no check of the last `cool_down_s`
    needed as many. The rule of Kubernetes' autoscaler with its stabilisation window. most = 0: no
    autoscaling.
    """

    outstanding_per_replica: float
    least: int
    most: int
    spare: int = 0
    check_every_s: float = 15.0
    cool_down_s: float = 300.0


class Rules(NamedTuple):
    """How a fleet scales, and whether its router sends overflow to an API."""

    boot_s: float
    autoscaler: Autoscaler
    overflow: bool


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
    served. admitted_s, outstanding: when a replica admitted it, and the requests there with it.
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
    admitted_s: FloatArray
    outstanding: IntArray


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
    read_s = bytes_per_weight(curve.precision) / gpus / curve.bytes_per_s
    flop_s = 1 / gpus / curve.flops_per_s
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
        raise ValueError("requests_on: input and output need at least 1 token, cached at least 0")
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
        kv_read_s=mean / shards / curve.bytes_per_s,
        kv_share=whole / shards / room,
        first_token_s=first_token_s,
        reading_per_step=beside,
    )


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
        raise ValueError("fleet: a number of replicas is below 0: give 0 or more")
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


# ---- the event loop ------------------------------------------------------------------------------


def _record(**names: str) -> npt.DTypeLike:
    """A record whose fields have these kinds."""
    fields = [(name, kind) for kind, group in names.items() for name in group.split()]
    return np.dtype(fields, align=True)


_REQUEST = _record(
    f8="arrival_s kv_read_s kv_share first_s finish_s admitted_s",
    i8="input_tokens cached_tokens output_tokens replica attempts outstanding following",
    bool="overflowed",
)
"""following: the request behind it in its queue."""

_REPLICA = _record(
    f8="event_s began_s step_s kv_share kv_read_s busy_s most_kv_share",
    i8="state steps clock writing ready partial position outstanding most_running "
    "head tail waiting",
    bool="reading",
)
"""A replica takes `steps` equal steps from `began_s` to `event_s`; `clock` counts those before. In
them it writes answers, and may be reading prompts: `ready` of them to their end, and of the one of
the request `partial` up to `position`. head, tail, waiting: its queue."""

Records = Any
"""Of a structured array, whose fields numpy's types do not know."""

OFF, DRAINING, BOOTING, UP, FAILED = range(5)
"""A replica above OFF is paid for; one above DRAINING is ordered."""

NONE = -1
ENDS, WRITES, READS = range(3)
FULL = 1 + 1e-9  # of the KV memory: rounding must not keep out what just fits


class _State(NamedTuple):
    """What the loop changes, and what it goes by.

    requests: (n,) by arrival. replicas: (r + 1,), the last of which is the router, a queue alone.
    lists: (r, max_num_seqs, 3): of each replica the requests that write, with the clock at which
    they end, the next to end last; and those whose prompt the step at hand reads to its end.
    paid_s: (windows,).
    """

    requests: Records
    replicas: Records
    lists: IntArray
    paid_s: FloatArray
    engine: Engine
    rules: Rules


Part = TypeVar("Part", bound=Callable[..., Any])
_LOOP: list[Callable[..., Any]] = []


def _in_loop(part: Part) -> Part:
    """Marks a function for `_compiled`."""
    _LOOP.append(part)
    return part


@cache
def _compiled() -> Callable[..., None]:
    """The event loop as machine code, since a week of traffic has millions of events.

    Compiled at the first replay, since numba is slow to import and most commands replay nothing.
    """
    from numba import njit

    globals().update({part.__name__: njit(cache=True)(part) for part in _LOOP})
    return _run


@_in_loop
def decode_s(time: StepTime, n: int, kv_read_s: float) -> float:
    """Seconds to write one token for each of n requests: the curve's `decode_step_s`."""
    weights_s = time.weights_s - time.experts_s * time.idle_share**n
    return max(weights_s + kv_read_s, n * time.token_s) + time.overhead_s


@_in_loop
def chunk_s(time: StepTime, start: int, end: int) -> float:
    """Seconds of arithmetic to read the tokens of a prompt from start to end."""
    tokens = float(end - start)
    pairs = tokens * (end + start) / 2
    windowed = min(pairs, time.window * tokens)
    return tokens * time.token_s + pairs * time.pair_s + windowed * time.window_pair_s


@_in_loop
def prefill_s(time: StepTime, tokens: int, arithmetic_s: float) -> float:
    """Seconds to read tokens of prompts: of one whole prompt, the curve's `prefill_s`."""
    weights_s = time.weights_s - time.experts_s * time.idle_share**tokens
    return max(weights_s, arithmetic_s) + time.overhead_s


@_in_loop
def _append(queue: Any, requests: Records, i: int) -> None:
    if queue.waiting == 0:
        queue.head = i
    else:
        requests[queue.tail].following = i
    queue.tail = i
    queue.waiting += 1


@_in_loop
def _pop(queue: Any, requests: Records) -> int:
    i: int = queue.head
    queue.head = requests[i].following
    queue.waiting -= 1
    return i


@_in_loop
def _finish(it: Any, request: Any, now: float) -> None:
    request.finish_s = now
    it.outstanding -= 1
    it.kv_share = it.kv_share - request.kv_share if it.outstanding > 0 else 0.0


@_in_loop
def _end_steps(it: Any, rows: IntArray, requests: Records, now: float) -> None:
    """Ends the current steps: tokens are written, prompts read, requests finished."""
    it.clock += it.steps
    it.busy_s += now - it.began_s
    it.steps = 0
    while it.writing > 0 and rows[it.writing - 1, ENDS] <= it.clock:
        it.writing -= 1
        request = requests[rows[it.writing, WRITES]]
        it.kv_read_s -= request.kv_read_s
        _finish(it, request, now)
    for j in range(it.ready):
        request = requests[rows[j, READS]]
        request.first_s = now
        if request.output_tokens == 1:
            _finish(it, request, now)
            continue
        ends, k = it.clock + request.output_tokens - 1, it.writing
        while k > 0 and rows[k - 1, ENDS] < ends:
            rows[k, ENDS], rows[k, WRITES] = rows[k - 1, ENDS], rows[k - 1, WRITES]
            k -= 1
        rows[k, ENDS], rows[k, WRITES] = ends, rows[j, READS]
        it.writing += 1
        it.kv_read_s += request.kv_read_s
    it.ready = 0
    if it.writing == 0:
        it.kv_read_s = 0.0  # or rounding errors would pile up over a week


@_in_loop
def _fill_step(it: Any, rows: IntArray, requests: Records, engine: Engine) -> tuple[int, float]:
    """Fills a step with prompts. Returns: tokens to read, and seconds of arithmetic for them.

    A prompt is admitted if the KV cache of its request, answer included, fits beside the running
    ones.
    """
    budget = engine.max_batched_tokens - it.writing
    tokens, arithmetic_s = 0, 0.0
    while budget > 0:
        if it.partial == NONE:
            if it.waiting == 0 or it.kv_share + requests[it.head].kv_share > FULL:
                break
            it.partial = _pop(it, requests)
            it.position = requests[it.partial].cached_tokens
            it.kv_share += requests[it.partial].kv_share
            it.most_kv_share = max(it.most_kv_share, it.kv_share)
        length = requests[it.partial].input_tokens
        end = min(it.position + budget, length)
        budget -= end - it.position
        tokens += end - it.position
        arithmetic_s += chunk_s(engine.time, it.position, end)
        it.position = end
        if end == length:
            rows[it.ready, READS] = it.partial
            it.ready += 1
            it.partial = NONE
    return tokens, arithmetic_s


@_in_loop
def _begin_steps(it: Any, rows: IntArray, requests: Records, engine: Engine, now: float) -> None:
    """Begins one step if it reads prompts, or else all steps until the next answer ends."""
    tokens, arithmetic_s = 0, 0.0
    if it.waiting > 0 or it.partial != NONE:
        tokens, arithmetic_s = _fill_step(it, rows, requests, engine)
    it.reading = tokens > 0
    if it.reading:
        it.steps = 1
    elif it.writing > 0:
        it.steps = rows[it.writing - 1, ENDS] - it.clock
    else:
        it.event_s = inf
        return
    it.most_running = max(it.most_running, it.writing + it.ready + (it.partial != NONE))
    it.step_s = 0.0
    if it.writing > 0:
        it.step_s = decode_s(engine.time, it.writing, it.kv_read_s)
    if it.reading:
        it.step_s += prefill_s(engine.time, tokens, arithmetic_s)
    it.began_s = now
    it.event_s = now + it.steps * it.step_s


@_in_loop
def _admit(it: Any, r: int, requests: Records, now: float, i: int) -> None:
    it.outstanding += 1
    requests[i].replica, requests[i].outstanding, requests[i].admitted_s = r, it.outstanding, now
    _append(it, requests, i)


@_in_loop
def _route(state: _State, now: float, i: int) -> None:
    """Sends a request to the replica with the fewest outstanding, which reads it after its step.

    If all are full, it waits at the router, or goes to the API.
    """
    requests, replicas, engine = state.requests, state.replicas, state.engine
    best, fewest = NONE, engine.max_num_seqs
    for r in range(len(replicas) - 1):
        if replicas[r].state == UP and replicas[r].outstanding < fewest:
            best, fewest = r, replicas[r].outstanding
    if best == NONE and state.rules.overflow:
        requests[i].overflowed = True
    elif best == NONE:
        _append(replicas[len(replicas) - 1], requests, i)
    else:
        it = replicas[best]
        _admit(it, best, requests, now, i)
        if it.steps > 0:
            full = it.kv_share + requests[i].kv_share > FULL
            if it.reading or it.waiting > 1 or full:
                return
            steps = ceil((now - it.began_s) / it.step_s)
            if steps > 0:
                if steps < it.steps:
                    it.steps = steps
                    it.event_s = it.began_s + steps * it.step_s
                return
            it.steps = 0
        _begin_steps(it, state.lists[best], requests, engine, now)


@_in_loop
def _advance(state: _State, r: int, now: float) -> None:
    """A replica has booted, recovered or ended its steps: it admits requests and begins anew."""
    it, router = state.replicas[r], state.replicas[len(state.replicas) - 1]
    rows, requests, engine = state.lists[r], state.requests, state.engine
    if it.state == BOOTING or it.state == FAILED:
        it.state, it.event_s = UP, inf
    else:
        _end_steps(it, rows, requests, now)
    while it.state == UP and router.waiting > 0 and it.outstanding < engine.max_num_seqs:
        _admit(it, r, requests, now, _pop(router, requests))
    _begin_steps(it, rows, requests, engine, now)
    if it.state == DRAINING and it.outstanding == 0:
        it.state = OFF


@_in_loop
def _fail(state: _State, r: int, now: float, end_s: float) -> None:
    """A replica fails: its requests run again elsewhere, from the start."""
    it = state.replicas[r]
    if it.steps > 0:
        it.busy_s += now - it.began_s
    it.steps, it.writing, it.ready, it.partial, it.outstanding, it.waiting = 0, 0, 0, NONE, 0, 0
    it.kv_share, it.kv_read_s = 0.0, 0.0
    it.event_s = inf if it.state == DRAINING else end_s
    it.state = OFF if it.state == DRAINING else FAILED
    for i in range(len(state.requests)):
        request = state.requests[i]
        if request.replica == r and request.finish_s == inf:
            request.replica, request.first_s = NONE, inf
            request.attempts += 1
            _route(state, now, i)


@_in_loop
def _count(replicas: Records, above: int) -> int:
    """Replicas paid for (above OFF), or ordered (above DRAINING)."""
    n = 0
    for r in range(len(replicas) - 1):
        n += replicas[r].state > above
    return n


@_in_loop
def _scale(state: _State, target: int, now: float) -> None:
    """Orders or releases replicas until `target` are ordered. One that serves is first drained."""
    replicas = state.replicas
    ordered = _count(replicas, DRAINING)
    while ordered < target:
        chosen = NONE
        for r in range(len(replicas) - 1):
            if replicas[r].state == DRAINING:
                chosen = r
                break
            if replicas[r].state == OFF and chosen == NONE:
                chosen = r
        it = replicas[chosen]
        if it.state == DRAINING:
            it.state = UP
        else:
            it.state, it.event_s = BOOTING, now + state.rules.boot_s
        ordered += 1
    while ordered > target:
        chosen, least = NONE, inf
        for r in range(len(replicas) - 1):
            load = -1.0 if replicas[r].state == BOOTING else float(replicas[r].outstanding)
            if replicas[r].state in (BOOTING, UP) and load <= least:
                chosen, least = r, load
        if chosen == NONE:
            return
        it = replicas[chosen]
        if it.outstanding > 0:
            it.state = DRAINING
        else:
            it.state, it.event_s = OFF, inf
        ordered -= 1


@_in_loop
def _autoscale(
    state: _State, now: float, quiet_since_s: float, most_desired: int
) -> tuple[float, int]:
    """Scales by the requests in flight, down only after a cool-down.

    Returns: since when fewer were desired, and the most desired since then.
    """
    rule, replicas = state.rules.autoscaler, state.replicas
    in_flight = replicas[len(replicas) - 1].waiting
    for r in range(len(replicas) - 1):
        in_flight += replicas[r].outstanding
    desired = ceil(in_flight / rule.outstanding_per_replica) + rule.spare
    desired = min(max(desired, rule.least), rule.most)
    if desired >= _count(replicas, DRAINING):
        _scale(state, desired, now)
        return now, 0
    most_desired = max(most_desired, desired)
    if now - quiet_since_s < rule.cool_down_s:
        return quiet_since_s, most_desired
    _scale(state, most_desired, now)
    return now, 0


@_in_loop
def _pay(start_s: float, end_s: float, replicas: int, paid_s: FloatArray) -> None:
    """Adds the replica-seconds between two moments to the account."""
    while start_s < end_s:
        k = int(start_s // ACCOUNT_S)
        if k >= len(paid_s):
            return
        until_s = min(end_s, ACCOUNT_S * (k + 1))
        paid_s[k] += replicas * (until_s - start_s)
        start_s = until_s


@_in_loop
def _run(state: _State, changes: FloatArray, outages: FloatArray) -> None:
    """Follows all requests until the last is done. changes, outages: as in `Fleet`.

    At one instant replicas come first, then failures, then scaling, then arrivals.
    """
    requests, replicas, rule = state.requests, state.replicas, state.rules.autoscaler
    slots = len(replicas) - 1
    for r in range(min(int(changes[0, 1]), slots)):
        replicas[r].state = UP
    arrived, change, outage = 0, 1, 0
    check_s = rule.check_every_s if rule.most > 0 else inf
    quiet_since_s, most_desired = 0.0, 0
    paid_until_s, paid_for = 0.0, _count(replicas, OFF)
    while True:
        next_r, event_s, in_flight = 0, inf, replicas[slots].waiting
        for r in range(slots):
            in_flight += replicas[r].outstanding
            if replicas[r].event_s < event_s:
                next_r, event_s = r, replicas[r].event_s
        if arrived == len(requests) and in_flight == 0:
            break
        arrival_s = requests[arrived].arrival_s if arrived < len(requests) else inf
        outage_s = outages[outage, 0] if outage < len(outages) else inf
        change_s = changes[change, 0] if change < len(changes) else inf
        now = min(event_s, arrival_s, outage_s, change_s, check_s)
        if now == inf:
            break
        if event_s == now:
            _advance(state, next_r, now)
            if replicas[next_r].state != OFF:
                continue
        elif outage_s == now:
            r = int(outages[outage, 2])
            if r < slots and (replicas[r].state == UP or replicas[r].state == DRAINING):
                _fail(state, r, now, outages[outage, 1])
            outage += 1
        elif change_s == now:
            _scale(state, int(changes[change, 1]), now)
            change += 1
        elif check_s == now:
            quiet_since_s, most_desired = _autoscale(state, now, quiet_since_s, most_desired)
            check_s += rule.check_every_s
        else:
            if requests[arrived].kv_share <= FULL:
                _route(state, now, arrived)
            arrived += 1
            continue
        # only what may have changed the number of replicas comes here
        _pay(paid_until_s, now, paid_for, state.paid_s)
        paid_until_s, paid_for = now, _count(replicas, OFF)
    _pay(paid_until_s, ACCOUNT_S * len(state.paid_s), paid_for, state.paid_s)


def replay(
    requests: Requests, engine: Engine, fleet: Fleet, until_s: float | None = None
) -> Outcome:
    """Follows every request through the fleet. Deterministic.

    until_s: end of the account of paid replicas; by default that of the last window with an
    arrival. A request whose cache exceeds a replica's memory is never served.

    >>> from llmstudy.measures.capacity import fit_serving_curve, gpu, model_shape, serving_points
    >>> points = serving_points("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8")
    >>> llama, h200 = model_shape("meta-llama/Llama-3.1-70B"), gpu("h200_sxm")
    >>> curve = fit_serving_curve(points, llama, h200, "fp8")
    >>> two = requests_on(curve, 2, [0.0, 0.05], [1155, 1155], [211, 211])
    >>> outcome = replay(two, engine(curve, 2, 64), fleet(1))
    >>> (outcome.first_s - two.arrival_s).round(1).tolist(), outcome.finish_s.round().tolist()
    ([0.1, 0.2], [3.0, 3.0])
    """
    n = len(requests.arrival_s)
    book = np.zeros(n, dtype=_REQUEST)
    for name in ("arrival_s", "input_tokens", "cached_tokens", "output_tokens"):
        book[name] = getattr(requests, name)
    book["kv_read_s"], book["kv_share"] = requests.kv_read_s, requests.kv_share
    book["first_s"] = book["finish_s"] = inf
    book["replica"], book["attempts"] = NONE, 1
    slots = int(max(fleet.changes[:, 1].max(), fleet.rules.autoscaler.most))
    replicas = np.zeros(slots + 1, dtype=_REPLICA)
    replicas["event_s"], replicas["partial"] = inf, NONE
    lists = np.zeros((slots, engine.max_num_seqs, 3), dtype=np.int64)
    if until_s is None:
        until_s = ACCOUNT_S * (1 + (requests.arrival_s[-1] // ACCOUNT_S if n else 0))
    paid_s = np.zeros(round(until_s / ACCOUNT_S))
    state = _State(book, replicas, lists, paid_s, engine, fleet.rules)
    _compiled()(state, fleet.changes, fleet.outages)
    of_request = ("first_s", "finish_s", "replica", "attempts", "overflowed", "admitted_s")
    of_replica = ("busy_s", "most_kv_share", "most_running")
    return Outcome(
        **{name: book[name] for name in (*of_request, "outstanding")},
        **{name: replicas[name][:-1] for name in of_replica},
        paid_s=paid_s,
    )
