"""Computes many draws in parallel, in blocks with a seed each."""

from collections.abc import Callable

import joblib
import numpy as np

from llmstudy.figure import FloatArray


def in_blocks(
    outcome: Callable[[int, int], FloatArray],
    n_draws: int,
    block: int,
    seed: int,
    n_jobs: int | None = None,
) -> FloatArray:
    """Outcomes of many draws, computed in parallel and returned in order.

    The values do not depend on the number of workers or the `joblib` backend: the seed of a block
    depends only on `seed` and the position of the block.

    outcome: (seed, n) -> (n, ...), picklable: a function of a module, or a `functools.partial` of
    one. n_draws, block: all draws, and those of one call; the last block may be shorter. n_jobs:
    as `joblib.Parallel`; None means as the active `joblib.parallel_config` says, else 1.
    Returns: (n_draws, ...).
    Raises: ValueError if n_draws or block is less than 1, or an outcome is not one row per draw.
    Source of the seeds: `numpy.random.SeedSequence.spawn`.

    >>> def normal(seed, n):
    ...     return np.random.default_rng(seed).normal(size=n)
    >>> draws = in_blocks(normal, 10, 4, seed=1)
    >>> draws.shape, bool((draws[:8] == in_blocks(normal, 8, 4, seed=1)).all())
    ((10,), True)
    """
    for name, number in (("n_draws", n_draws), ("block", block)):
        if number < 1:
            raise ValueError(f"{name} is {number}, but must be 1 or more.")
    sizes = [min(block, n_draws - start) for start in range(0, n_draws, block)]
    seeds = [
        int(child.generate_state(1, np.uint64)[0])
        for child in np.random.SeedSequence(seed).spawn(len(sizes))
    ]
    work = zip(seeds, sizes, strict=True)
    parts = joblib.Parallel(n_jobs=n_jobs)(joblib.delayed(outcome)(s, n) for s, n in work)
    for part, n in zip(parts, sizes, strict=True):
        if np.ndim(part) == 0 or len(part) != n:
            raise ValueError(
                f"An outcome of {n} draws has the shape {np.shape(part)}: give it {n} rows."
            )
    return np.concatenate(parts)
