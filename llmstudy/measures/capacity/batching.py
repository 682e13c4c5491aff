"""The event loop of a fleet of engines with continuous batching.

Compiled by numba, since a week of traffic has millions of events; `replay` prepares its records and
reads them afterwards. Time jumps from event to event: between two of them a replica's batch does
not change, and so neither does the time of a step.

A step of a replica writes one token for each request that has begun its answer, and reads as much
of the waiting prompts, first come first served, as the budget of tokens has room for (chunked
prefill, as vLLM since its version 1). A prompt's last chunk gives the first token. Source of the
schedule: Agrawal et al. (2024), arXiv 2403.02310, section 4.
"""

from math import ceil, inf
from typing import Any

import numpy as np
from numba import njit

from llmstudy.figure import FloatArray
from llmstudy.measures.capacity.engine import ACCOUNT_S, Engine, IntArray, Rules, StepTime

Record = Any
Records = Any
"""Of structured arrays (`replay`), whose fields numpy's types do not know."""

OFF, BOOTING, UP, DRAINING, FAILED = 0, 1, 2, 3, 4
NONE = -1
READY = 2  # column of the lists; the first two are the heap's
FULL = 1 + 1e-9  # of the KV memory: rounding must not keep out what just fits


@njit(cache=True)
def decode_s(time: StepTime, n: int, kv_read_s: float) -> float:
    """Seconds to write one token for each of n requests: the curve's `decode_step_s`."""
    weights_s = time.weights_s - time.experts_s * time.idle_share**n
    return max(weights_s + kv_read_s, n * time.token_s) + time.overhead_s


@njit(cache=True)
def chunk_s(time: StepTime, start: int, end: int) -> float:
    """Seconds of arithmetic to read the tokens of a prompt from start to end."""
    tokens = float(end - start)
    pairs = tokens * (end + start) / 2
    windowed = min(pairs, time.window * tokens)
    return tokens * time.token_s + pairs * time.pair_s + windowed * time.window_pair_s


@njit(cache=True)
def prefill_s(time: StepTime, tokens: int, arithmetic_s: float) -> float:
    """Seconds to read tokens of prompts: of one whole prompt, the curve's `prefill_s`."""
    weights_s = time.weights_s - time.experts_s * time.idle_share**tokens
    return max(weights_s, arithmetic_s) + time.overhead_s


@njit(cache=True)
def _push(heap: IntArray, n: int, key: int, i: int) -> None:
    """Adds to a heap of n: (key, request) pairs, the least key first."""
    at = n
    while at > 0 and heap[(at - 1) // 2, 0] > key:
        heap[at, 0], heap[at, 1] = heap[(at - 1) // 2, 0], heap[(at - 1) // 2, 1]
        at = (at - 1) // 2
    heap[at, 0], heap[at, 1] = key, i


@njit(cache=True)
def _pop(heap: IntArray, n: int) -> int:
    """Takes the request with the least key off a heap of n."""
    least: int = heap[0, 1]
    key, i = heap[n - 1, 0], heap[n - 1, 1]
    at = 0
    while 2 * at + 1 < n - 1:
        child = 2 * at + 1
        if child + 1 < n - 1 and heap[child + 1, 0] < heap[child, 0]:
            child += 1
        if heap[child, 0] >= key:
            break
        heap[at, 0], heap[at, 1] = heap[child, 0], heap[child, 1]
        at = child
    heap[at, 0], heap[at, 1] = key, i
    return least


@njit(cache=True)
def _append(queue: Record, book: Records, i: int) -> None:
    book[i].following = NONE
    if queue.waiting == 0:
        queue.head = i
    else:
        book[queue.tail].following = i
    queue.tail = i
    queue.waiting += 1


@njit(cache=True)
def _take(queue: Record, book: Records) -> int:
    i: int = queue.head
    queue.head = book[i].following
    queue.waiting -= 1
    return i


@njit(cache=True)
def _finish(it: Record, request: Record, now: float) -> None:
    request.finish_s = now
    it.outstanding -= 1
    it.kv_held = it.kv_held - request.kv_share if it.outstanding > 0 else 0.0


@njit(cache=True)
def _close(it: Record, lists: IntArray, book: Records, now: float) -> None:
    """Ends the steps that a replica was taking: tokens written, requests finished, prompts read."""
    it.clock += it.steps
    it.busy_s += now - it.began_s
    it.steps = 0
    while it.writing > 0 and lists[0, 0] <= it.clock:
        request = book[_pop(lists, it.writing)]
        it.writing -= 1
        it.kv_read_s -= request.kv_read_s
        _finish(it, request, now)
    for j in range(it.ready):
        i = lists[j, READY]
        request = book[i]
        request.first_s = now
        if request.output_tokens == 1:
            _finish(it, request, now)
            continue
        _push(lists, it.writing, it.clock + request.output_tokens - 1, i)
        it.writing += 1
        it.kv_read_s += request.kv_read_s
    it.ready = 0
    if it.writing == 0:
        it.kv_read_s = 0.0  # or rounding errors would pile up over a week


@njit(cache=True)
def _read(it: Record, lists: IntArray, book: Records, engine: Engine) -> tuple[int, float]:
    """Fills a step with prompts. Returns their tokens, and the seconds of arithmetic for them.

    A prompt is admitted when its whole cache, answer included, has room beside those that run.
    """
    budget = engine.max_batched_tokens - it.writing
    tokens, arithmetic_s = 0, 0.0
    while budget > 0:
        if it.partial == NONE:
            if it.waiting == 0 or it.kv_held + book[it.head].kv_share > FULL:
                break
            i = _take(it, book)
            it.kv_held += book[i].kv_share
            it.most_kv_share = max(it.most_kv_share, it.kv_held)
            it.partial, it.position = i, book[i].cached_tokens
        length = book[it.partial].input_tokens
        end = min(it.position + budget, length)
        budget -= end - it.position
        tokens += end - it.position
        arithmetic_s += chunk_s(engine.time, it.position, end)
        it.position = end
        if end == length:
            lists[it.ready, READY] = it.partial
            it.ready += 1
            it.partial = NONE
    return tokens, arithmetic_s


@njit(cache=True)
def _plan(it: Record, lists: IntArray, book: Records, engine: Engine, now: float) -> None:
    """Chooses what a replica does next: a step that reads prompts, or tokens until one is done."""
    tokens, arithmetic_s = 0, 0.0
    if it.waiting > 0 or it.partial != NONE:
        tokens, arithmetic_s = _read(it, lists, book, engine)
    it.mixed = tokens > 0
    if it.mixed:
        it.steps = 1
    elif it.writing > 0:
        it.steps = lists[0, 0] - it.clock
    else:
        it.event_s = inf
        return
    it.most_running = max(it.most_running, it.writing + it.ready + (it.partial != NONE))
    it.step_s = 0.0
    if it.writing > 0:
        it.step_s = decode_s(engine.time, it.writing, it.kv_read_s)
    if it.mixed:
        it.step_s += prefill_s(engine.time, tokens, arithmetic_s)
    it.began_s = now
    it.event_s = now + it.steps * it.step_s


@njit(cache=True)
def _arrive(it: Record, lists: IntArray, book: Records, engine: Engine, now: float, i: int) -> None:
    """Hands a request to a replica, which sees it at the end of the step at hand."""
    it.outstanding += 1
    _append(it, book, i)
    if it.steps > 0:
        blocked = it.waiting > 1 or it.kv_held + book[i].kv_share > FULL
        if it.mixed or blocked:
            return
        steps = ceil((now - it.began_s) / it.step_s)
        if steps > 0:
            if steps < it.steps:
                it.steps = steps
                it.event_s = it.began_s + steps * it.step_s
            return
        it.steps = 0
    _plan(it, lists, book, engine, now)


@njit(cache=True)
def _route(
    replicas: Records,
    lists: IntArray,
    book: Records,
    engine: Engine,
    rules: Rules,
    now: float,
    i: int,
) -> None:
    """To the replica with the fewest outstanding; where all are full, to the router's queue."""
    best, fewest = NONE, engine.max_num_seqs
    for r in range(len(replicas) - 1):
        if replicas[r].state == UP and replicas[r].outstanding < fewest:
            best, fewest = r, replicas[r].outstanding
    if best != NONE:
        book[i].replica, book[i].outstanding, book[i].taken_s = best, fewest + 1, now
        _arrive(replicas[best], lists[best], book, engine, now, i)
    elif rules.overflow:
        book[i].overflowed = True
    else:
        _append(replicas[len(replicas) - 1], book, i)


@njit(cache=True)
def _fail(
    replicas: Records,
    r: int,
    lists: IntArray,
    book: Records,
    engine: Engine,
    rules: Rules,
    now: float,
    end_s: float,
) -> None:
    """A replica fails: its requests run again elsewhere, from the start."""
    it = replicas[r]
    if it.steps > 0:
        it.busy_s += now - it.began_s
    interrupted = np.empty(it.outstanding, np.int64)
    for j in range(it.writing):
        interrupted[j] = lists[r, j, 1]
    for j in range(it.ready):
        interrupted[it.writing + j] = lists[r, j, READY]
    n = it.writing + it.ready
    if it.partial != NONE:
        interrupted[n] = it.partial
        n += 1
    while it.waiting > 0:
        interrupted[n] = _take(it, book)
        n += 1
    it.steps, it.writing, it.ready, it.partial, it.outstanding = 0, 0, 0, NONE, 0
    it.kv_held, it.kv_read_s = 0.0, 0.0
    it.event_s = inf if it.state == DRAINING else end_s
    it.state = OFF if it.state == DRAINING else FAILED
    for i in np.sort(interrupted):
        book[i].attempts += 1
        book[i].first_s = inf
        _route(replicas, lists, book, engine, rules, now, i)


@njit(cache=True)
def _count(replicas: Records) -> tuple[int, int]:
    """Replicas ordered (booting, serving or failed), and replicas paid for."""
    ordered, paid_for = 0, 0
    for r in range(len(replicas) - 1):
        state = replicas[r].state
        ordered += state in (BOOTING, UP, FAILED)
        paid_for += state != OFF
    return ordered, paid_for


@njit(cache=True)
def _scale(replicas: Records, target: int, now: float, boot_s: float) -> None:
    """Orders or releases replicas until `target` are ordered. One that serves is first drained."""
    ordered, _ = _count(replicas)
    while ordered < target:
        chosen = NONE
        for r in range(len(replicas) - 1):
            state = replicas[r].state
            if state == DRAINING or (state == OFF and chosen == NONE):
                chosen = r
                if state == DRAINING:
                    break
        it = replicas[chosen]
        if it.state == DRAINING:
            it.state = UP
        else:
            it.state, it.event_s = BOOTING, now + boot_s
        ordered += 1
    while ordered > target:
        chosen, least = NONE, inf
        for r in range(len(replicas) - 1):
            state = replicas[r].state
            load = -1.0 if state == BOOTING else float(replicas[r].outstanding)
            if state in (BOOTING, UP) and load <= least:
                chosen, least = r, load
        if chosen == NONE:
            return
        it = replicas[chosen]
        if it.outstanding > 0:
            it.state = DRAINING
        else:
            it.state, it.event_s = OFF, inf
        ordered -= 1


@njit(cache=True)
def _autoscale(
    replicas: Records, rules: Rules, now: float, quiet_since_s: float, most_desired: int
) -> tuple[float, int]:
    """Scales to the requests in flight; to fewer replicas only after a cool-down.

    Returns: since when fewer were desired, and the most desired since then.
    """
    rule = rules.autoscaler
    in_flight = replicas[len(replicas) - 1].waiting
    for r in range(len(replicas) - 1):
        in_flight += replicas[r].outstanding
    desired = ceil(in_flight / rule.outstanding_per_replica) + rule.spare
    desired = min(max(desired, rule.least), rule.most)
    ordered, _ = _count(replicas)
    if desired >= ordered:
        _scale(replicas, desired, now, rules.boot_s)
        return now, 0
    most_desired = max(most_desired, desired)
    if now - quiet_since_s < rule.cool_down_s:
        return quiet_since_s, most_desired
    _scale(replicas, most_desired, now, rules.boot_s)
    return now, 0


@njit(cache=True)
def _pay(start_s: float, end_s: float, replicas: int, paid_s: FloatArray) -> None:
    """Adds the replica-seconds between two moments to the account."""
    while start_s < end_s:
        k = int(start_s // ACCOUNT_S)
        if k >= len(paid_s):
            return
        until_s = min(end_s, ACCOUNT_S * (k + 1))
        paid_s[k] += replicas * (until_s - start_s)
        start_s = until_s


@njit(cache=True)
def _happen(
    replicas: Records, r: int, lists: IntArray, book: Records, engine: Engine, now: float
) -> None:
    """A replica has booted, recovered or ended its steps: it admits more requests and goes on."""
    it, router = replicas[r], replicas[len(replicas) - 1]
    if it.state == BOOTING or it.state == FAILED:
        it.state, it.event_s = UP, inf
    else:
        _close(it, lists[r], book, now)
    while it.state == UP and router.waiting > 0 and it.outstanding < engine.max_num_seqs:
        i = _take(router, book)
        book[i].replica = r
        it.outstanding += 1
        book[i].outstanding, book[i].taken_s = it.outstanding, now
        _append(it, book, i)
    _plan(it, lists[r], book, engine, now)
    if it.state == DRAINING and it.outstanding == 0:
        it.state = OFF


@njit(cache=True)
def run(
    book: Records,
    replicas: Records,
    lists: IntArray,
    paid_s: FloatArray,
    engine: Engine,
    rules: Rules,
    changes: FloatArray,
    outages: FloatArray,
) -> None:
    """Replays the arrivals on the fleet until the last request is done.

    book: a record per request. replicas: a record each, and one more that is the router's queue.
    lists: per replica the heap of requests that write, by the clock at which they end, and those
    whose prompt the step at hand completes. paid_s: (windows,). All four are written to.
    changes: time and number of replicas, the first at 0. outages: start, end and replica.
    At one instant replicas come first, then failures, then scaling, then arrivals.
    """
    slots = len(replicas) - 1
    router = replicas[slots]
    for r in range(min(int(changes[0, 1]), slots)):
        replicas[r].state = UP
    arrived, change, outage, in_flight = 0, 1, 0, 0
    check_s = rules.autoscaler.check_every_s if rules.autoscaler.most > 0 else inf
    quiet_since_s, most_desired = 0.0, 0
    paid_until_s, paid_replicas = 0.0, _count(replicas)[1]
    while True:
        next_r, event_s = 0, inf
        in_flight = router.waiting
        for r in range(slots):
            in_flight += replicas[r].outstanding
            if replicas[r].event_s < event_s:
                next_r, event_s = r, replicas[r].event_s
        if arrived == len(book) and in_flight == 0:
            break
        arrival_s = book[arrived].arrival_s if arrived < len(book) else inf
        outage_s = outages[outage, 0] if outage < len(outages) else inf
        change_s = changes[change, 0] if change < len(changes) else inf
        now = min(event_s, arrival_s, outage_s, change_s, check_s)
        if now == inf:
            break
        if event_s == now:
            _happen(replicas, next_r, lists, book, engine, now)
            if replicas[next_r].state != OFF:
                continue
        elif outage_s == now:
            r = int(outages[outage, 2])
            if r < slots and (replicas[r].state == UP or replicas[r].state == DRAINING):
                _fail(replicas, r, lists, book, engine, rules, now, outages[outage, 1])
            outage += 1
        elif change_s == now:
            _scale(replicas, int(changes[change, 1]), now, rules.boot_s)
            change += 1
        elif check_s == now:
            quiet_since_s, most_desired = _autoscale(
                replicas, rules, now, quiet_since_s, most_desired
            )
            check_s += rules.autoscaler.check_every_s
        else:
            if book[arrived].kv_share <= FULL:
                _route(replicas, lists, book, engine, rules, now, arrived)
            arrived += 1
            continue
        # only what may have changed the number of replicas comes here
        _pay(paid_until_s, now, paid_replicas, paid_s)
        paid_until_s, paid_replicas = now, _count(replicas)[1]
    _pay(paid_until_s, ACCOUNT_S * len(paid_s), paid_replicas, paid_s)
