"""Facts about volume: how many tokens there are, and how fast they grow."""

import numpy as np
import numpy.typing as npt

from llmstudy import simulate
from llmstudy.decide.facts.grounds import Grounds, stated
from llmstudy.decide.judge import Fact, likely
from llmstudy.figure import FloatArray, least_certain
from llmstudy.simulate.inputs import N_DRAWS, draws_of, inputs, paths_of
from llmstudy.study import Study
from llmstudy.text import count, share, span

_TOKENS_PER_MONTH = 10e9
"""Third question of T6 (source memo, line 514)."""

_MONTHS = 12

_TOKEN_INPUTS = ("requests", "growth", "input_tokens", "output_tokens", "prompt_growth")


def ten_billion_tokens(grounds: Grounds) -> Fact:
    """Whether volume passes 10B tokens a month within a year.

    Yes or no if enough draws agree (`thresholds.probability`), else unknown; unknown too if the
    volume of a workload is.
    """
    workloads = grounds.study.workloads.values()
    tokens = tokens_in(grounds.study, _MONTHS)
    above = float((tokens > _TOKENS_PER_MONTH).mean())
    low, high = np.quantile(tokens, [0.1, 0.9])
    words = (
        f"{span(low, high, count)} tokens a month in a year (80 % range), "
        f"above {count(_TOKENS_PER_MONTH)} in {share(above)} of simulated futures"
    )
    unsized = any(w.intake.requests.name.startswith("unknown.") for w in workloads)
    truth = "unknown" if unsized else likely(above, grounds.study.thresholds.probability.value)
    grade = least_certain(
        [f.grade for w in workloads for f in (w.intake.requests, w.intake.input_tokens, w.growth)]
    )
    value = {"true": 1.0, "false": 0.0}.get(truth)
    return Fact(value, "yes or no", grade, "workloads: intake, growth, prompt_growth", words)


def tokens_in(study: Study, months: int) -> FloatArray:
    """Tokens a month after some months, summed over workloads, when nothing moves. (n_draws,)."""
    total = np.zeros(1)
    for name, workload in study.workloads.items():
        figures = inputs(study, name, workload.current_route, None)
        own = draws_of({key: figures[key] for key in _TOKEN_INPUTS}, N_DRAWS, study.seed)
        d = {**own, **paths_of(study, name, months=months + 1)}
        length = (
            d["input_tokens"] * simulate.prompt_lengths(d, months + 1)[:, -1] + d["output_tokens"]
        )
        total = total + simulate.volumes(d, months + 1)[:, -1] * length
    return total


def token_growth(grounds: Grounds) -> Fact:
    """Tokens a month at the end of the horizon over tokens a month today."""
    workloads = list(grounds.study.workloads.values())
    factor = growth_factor(
        [w.intake.requests.value for w in workloads],
        [w.intake.input_tokens.value for w in workloads],
        [w.intake.output_tokens.value for w in workloads],
        [w.growth.value for w in workloads],
        [w.prompt_growth.value for w in workloads],
        grounds.study.months,
    )
    grade = least_certain([f.grade for w in workloads for f in (w.growth, w.prompt_growth)])
    words = f"tokens x{factor:.2g} in {grounds.study.months} months"
    return Fact(factor, "factor", grade, "workloads: growth", words)


def prompt_growth(grounds: Grounds) -> Fact:
    """Prompt tokens a month at the end of the horizon over today's, at today's volume."""
    workloads = list(grounds.study.workloads.values())
    nothing = np.zeros(len(workloads))
    factor = growth_factor(
        [w.intake.requests.value for w in workloads],
        [w.intake.input_tokens.value for w in workloads],
        nothing,
        nothing,
        [w.prompt_growth.value for w in workloads],
        grounds.study.months,
    )
    grade = least_certain([w.prompt_growth.grade for w in workloads])
    words = f"prompts x{factor:.2g} in {grounds.study.months} months"
    return Fact(factor, "factor", grade, "workloads: prompt_growth", words)


def growth_factor(
    requests: npt.ArrayLike,
    input_tokens: npt.ArrayLike,
    output_tokens: npt.ArrayLike,
    growth: npt.ArrayLike,
    prompt_growth: npt.ArrayLike,
    months: int,
) -> float:
    """Tokens a month after some months over tokens a month today.

    requests, input_tokens, output_tokens: (n_workloads,), a month and per request today. growth,
    prompt_growth: (n_workloads,), share per month.

    >>> round(growth_factor([1e6], [1000], [0], [0.1], [0.0], 24), 2)
    9.85
    """
    volume, grown = np.asarray(requests, float), 1 + np.asarray(growth, float)
    prompt, answer = np.asarray(input_tokens, float), np.asarray(output_tokens, float)
    longer = (1 + np.asarray(prompt_growth, float)) ** months
    then = (volume * grown**months * (prompt * longer + answer)).sum()
    return float(then / (volume * (prompt + answer)).sum())


def kinds_of_task(grounds: Grounds) -> Fact:
    """The number of distinct kinds of task among the workloads."""
    tasks = {w.task for w in grounds.study.workloads.values()}
    return stated(len(tasks), "kinds", "workloads: task")
