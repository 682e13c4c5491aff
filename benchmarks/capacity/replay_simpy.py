"""How fast, and how much the same, is our replay beside a plain SimPy model of the same queue?"""

from collections import deque
from functools import partial
from typing import Any

import numpy as np
import simpy
from clock import cpu_s

from llmstudy.measures.capacity import (
    ServingCurve,
    fit_serving_curve,
    gpu,
    model_shape,
    serving_points,
)
from llmstudy.measures.capacity.replay import Engine, Requests, engine, fleet, replay, requests_on

MODEL, GPU, PRECISION, SIZE = "meta-llama/Llama-3.1-70B", "h200_sxm", "fp8", 2


class SimpyReplica:
    """A replica as one would write it in SimPy: a process that takes one step after another."""

    def __init__(self, env: simpy.Environment, requests: Requests, of: Engine) -> None:
        self.env, self.requests, self.engine = env, requests, of
        self.waiting: deque[int] = deque()
        self.reading: deque[list[int]] = deque()
        self.writing: dict[int, int] = {}
        self.called = env.event()
        self.first_s: dict[int, float] = {}
        self.finish_s: dict[int, float] = {}
        env.process(self.serve())

    @property
    def outstanding(self) -> int:
        """Requests that wait, are read or write."""
        return len(self.waiting) + len(self.reading) + len(self.writing)

    def send(self, i: int) -> None:
        """A request from the router."""
        self.waiting.append(i)
        if not self.called.triggered:
            self.called.succeed()

    def serve(self) -> Any:
        """Step after step, and a pause when there is nothing to do."""
        while True:
            step_s = self.plan()
            if step_s == 0:
                self.called = self.env.event()
                yield self.called
                continue
            yield self.env.timeout(step_s)
            self.end()

    def plan(self) -> float:
        """Admits what fits, and says how long the step takes."""
        of, time_ = self.requests, self.engine.time
        held = sum(of.kv_share[i] for i in self.writing) + sum(
            of.kv_share[i] for i, _ in self.reading
        )
        budget = self.engine.max_batched_tokens - len(self.writing)
        tokens, arithmetic_s = 0, 0.0
        while budget > 0:
            if not self.reading or self.reading[-1][1] == of.input_tokens[self.reading[-1][0]]:
                if not self.waiting or held + of.kv_share[self.waiting[0]] > 1:
                    break
                i = self.waiting.popleft()
                held += of.kv_share[i]
                self.reading.append([i, of.cached_tokens[i]])
            last = self.reading[-1]
            end = min(of.input_tokens[last[0]], last[1] + budget)
            pairs = (end**2 - last[1] ** 2) / 2
            arithmetic_s += (end - last[1]) * time_.token_s + pairs * time_.pair_s
            tokens, budget, last[1] = tokens + end - last[1], budget - end + last[1], end
        step_s = 0.0
        if self.writing:
            read_s = time_.weights_s + sum(of.kv_read_s[i] for i in self.writing)
            step_s += max(read_s, len(self.writing) * time_.token_s) + time_.overhead_s
        if tokens:
            step_s += max(time_.weights_s, arithmetic_s) + time_.overhead_s
        return step_s

    def end(self) -> None:
        """A token for each that writes; the first for each whose prompt is read."""
        for i in list(self.writing):
            self.writing[i] -= 1
        while self.reading and self.reading[0][1] == self.requests.input_tokens[self.reading[0][0]]:
            i, _ = self.reading.popleft()
            self.first_s[i] = self.env.now
            self.writing[i] = int(self.requests.output_tokens[i]) - 1
        for i in [i for i, left in self.writing.items() if left == 0]:
            del self.writing[i]
            self.finish_s[i] = self.env.now


def simpy_replay(requests: Requests, of: Engine, replicas: int) -> np.ndarray:
    """Finish of every request, by SimPy. The load must never fill a replica's slots."""
    env = simpy.Environment()
    fleet_ = [SimpyReplica(env, requests, of) for _ in range(replicas)]

    def arrive() -> Any:
        for i, at in enumerate(requests.arrival_s):
            yield env.timeout(at - env.now)
            min(fleet_, key=lambda r: r.outstanding).send(i)

    env.process(arrive())
    env.run()
    ends = {i: s for r in fleet_ for i, s in r.finish_s.items()}
    return np.array([ends[i] for i in range(len(requests.arrival_s))])


def replay_against_simpy(repeats: int = 3) -> list[dict[str, Any]]:
    """Processor seconds per request of both, on the same requests, and how far they differ.

    Three requests a second for each replica, a third to a half of what it could serve, so that no
    router's queue forms. Ours gets more requests of the same traffic, since a second of it holds a
    million.
    """
    points = serving_points(MODEL, GPU, PRECISION)
    curve = fit_serving_curve(points, model_shape(MODEL), gpu(GPU), PRECISION)
    of = engine(curve, SIZE, 64)
    rows = []
    for replicas, per_replica_s in ((1, 3.0), (4, 3.0), (16, 3.0)):
        many = _traffic(curve, replicas, per_replica_s, 1_000_000)
        few = Requests(*(x[:2_000] for x in many))
        lists = Requests(*(x.tolist() for x in few))  # which Python reads faster than arrays
        apart = replay(few, of, fleet(replicas)).finish_s - simpy_replay(lists, of, replicas)
        ours = cpu_s(partial(replay, many, of, fleet(replicas)), repeats) / 1_000_000
        theirs = cpu_s(partial(simpy_replay, lists, of, replicas), repeats) / 2_000
        rows.append(
            {
                "replicas": replicas,
                "replay_us_per_request": 1e6 * ours,
                "simpy_us_per_request": 1e6 * theirs,
                "ratio": theirs / ours,
                "replay_requests_per_minute": 60 / ours,
                "largest_difference_s": float(np.abs(apart).max()),
            }
        )
    return rows


def _traffic(curve: ServingCurve, replicas: int, per_replica_s: float, n: int) -> Requests:
    rng = np.random.default_rng(replicas)
    arrival_s = np.cumsum(rng.exponential(1 / (replicas * per_replica_s), n))
    lengths = rng.integers(200, 2_110, n), rng.integers(20, 402, n)
    return requests_on(curve, SIZE, arrival_s, *lengths)
