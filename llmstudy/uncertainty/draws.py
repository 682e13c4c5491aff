"""Draws of a figure: the same uniforms for the same thing, wherever it is used."""

from collections.abc import Mapping
from functools import lru_cache
from zlib import crc32

import numpy as np

from llmstudy.figure import Figure, FloatArray

Draws = Mapping[str, FloatArray]
"""Input name -> (n_draws,) values."""


@lru_cache(maxsize=1024)
def draw(figure: Figure, stream: str, n: int, seed: int) -> FloatArray:
    """Draws of a figure from its distribution, by the uniforms of a named stream. (n,), read-only:
    drawn once, and handed to whoever asks again.

    >>> share = Figure("", 0.2, "share", 0.0, 0.6, "triangular")
    >>> cached, retries = (draw(share, stream, 4, seed=1) for stream in ("cached", "retries"))
    >>> bool((cached == draw(share, "cached", 4, seed=1)).all()), bool((cached == retries).any())
    (True, False)
    """
    draws = figure.quantile(np.random.default_rng([seed, crc32(stream.encode())]).random(n))
    draws.setflags(write=False)
    return draws


def central(figures: Mapping[str, Figure]) -> dict[str, FloatArray]:
    """Every figure at its stated value, as one draw: (1,) arrays for a point estimate."""
    return {name: np.array([figure.value]) for name, figure in figures.items()}


def band(draws: FloatArray, shares: tuple[float, ...] = (0.1, 0.5, 0.9)) -> list[float | None]:
    """Quantiles of draws that may be infinite; None where the quantile is "never".

    >>> band(np.array([1.0, 2.0, 3.0, np.inf]), (0.25, 0.9))
    [1.0, None]
    """
    ordered = np.sort(draws)
    # the draw itself, not a mean of two: half of "never" is still never
    picks = [ordered[max(0, int(np.ceil(p * len(ordered))) - 1)] for p in shares]
    return [float(x) if np.isfinite(x) else None for x in picks]
