"""The records that the replay and its compiled event loop share."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

ACCOUNT_S = 600.0
"""Seconds of a window of the account of replicas."""


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
