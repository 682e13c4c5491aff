"""An engine and a fleet as the replay and its event loop see them."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

ACCOUNT_S = 600.0
"""The account of replicas is kept by windows of so many seconds."""


class StepTime(NamedTuple):
    """What a step's time is made of, in seconds: a serving curve on so many GPUs.

    weights_s: reading all weights; experts_s: of these, what a step over no token would leave
    unread; idle_share: of the experts, what one token leaves untouched. token_s, pair_s,
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
    """One replica: how long its steps take, and how much it takes on at once."""

    time: StepTime
    max_num_seqs: int
    max_batched_tokens: int


class Autoscaler(NamedTuple):
    """Scales on queue depth: as many replicas as hold the requests in the house, plus spares.

    In the house are the requests that wait and those that run. More replicas are ordered at the
    next check; fewer only when no check of the last `cool_down_s` asked for as many. The rule of
    Kubernetes' autoscaler with its stabilisation window. most = 0: no autoscaling.
    """

    outstanding_per_replica: float
    least: int
    most: int
    spare: int = 0
    check_every_s: float = 15.0
    cool_down_s: float = 300.0


class Rules(NamedTuple):
    """How a fleet grows, and what its router does when it is full."""

    boot_s: float
    autoscaler: Autoscaler
    overflow: bool
