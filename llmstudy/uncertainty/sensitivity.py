"""Which inputs decide?"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from SALib.analyze import sobol as sobol_analyze
from SALib.sample import sobol as sobol_sample

from llmstudy.figure import Figure, FloatArray
from llmstudy.uncertainty.draws import Draws

_SENSITIVITY = (
    "input",
    "first_order",
    "total_effect",
    "total_effect_error",
    "low_usd",
    "high_usd",
)


def sensitivity(
    figures: Mapping[str, Figure],
    outcome: Callable[[Draws], FloatArray],
    n: int,
    seed: int,
) -> pd.DataFrame:
    """Which inputs decide: Sobol indices of an outcome over the uncertain figures.

    figures: name -> Figure; certain ones are held. outcome: draws -> (n,). n: a power of two.
    Returns: one row per uncertain input, largest total effect first: input, first_order,
    total_effect, total_effect_error (half-width of the 95 % interval), low_usd, high_usd (the
    outcome with this input at its 10th and 90th percentile and the others at their medians).
    The outcome is clipped to its central 98 % first: in a heavy tail a few draws would decide.
    Source: Saltelli et al. (2010), Computer Physics Communications 181:259-270; SALib 1.6.
    """
    names = [name for name, figure in figures.items() if figure.uncertain]
    if not names:
        return pd.DataFrame(columns=list(_SENSITIVITY))
    problem = {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}
    uniforms = sobol_sample.sample(problem, n, calc_second_order=False, seed=seed)

    def at(u: FloatArray) -> FloatArray:
        held = {k: np.full(len(u), f.value) for k, f in figures.items() if not f.uncertain}
        return outcome({**held, **{k: figures[k].quantile(u[:, i]) for i, k in enumerate(names)}})

    outcomes = at(np.asarray(uniforms))
    results = np.clip(outcomes, *np.quantile(outcomes, [0.01, 0.99]))
    if np.ptp(results) == 0:  # nothing decides what does not vary; its indices would be 0/0
        found = dict.fromkeys(("S1", "ST", "ST_conf"), np.zeros(len(names)))
    else:
        found = sobol_analyze.analyze(
            problem, results, calc_second_order=False, seed=seed, num_resamples=100
        )
    middle = np.full((2 * len(names), len(names)), 0.5)
    for i in range(len(names)):
        middle[2 * i, i], middle[2 * i + 1, i] = 0.1, 0.9
    swings = at(middle).reshape(-1, 2)
    parts = (names, found["S1"], found["ST"], found["ST_conf"], swings[:, 0], swings[:, 1])
    table = pd.DataFrame(dict(zip(_SENSITIVITY, parts, strict=True)))
    return table.sort_values("total_effect", ascending=False, ignore_index=True)
