"""How long does it take to label a golden item, and what does it cost, by its length?"""

from llmstudy.figure import Figure, least_certain
from llmstudy.study.figures import bundled_figures
from llmstudy.study.study import Study

_BY_LENGTH = "evaluation.usd_per_item"
"""A study with this price of an item, which is for a short one, states none of its own."""

_ANSWERS = 2
"""Answers that are read with each item: today's and the candidate's."""


def minutes_per_item(study: Study, workload: str) -> Figure:
    """Minutes that an expert takes for an item: to read the prompt and both answers, and to judge.

    What begins like the prompt before it (the cached share of the input) is not read again. The
    range combines a quick reader who decides quickly with a slow one.

    >>> from llmstudy import paths
    >>> from llmstudy.study import load
    >>> study = load(paths.params("default.yaml"))
    >>> [round(minutes_per_item(study, name).value) for name in study.workloads]
    [8, 5, 11, 74]
    """
    reading, decision = (bundled_figures()[f"labelling.{x}"] for x in ("reading", "decision"))
    spec = study.workloads[workload]
    tokens = spec.intake.input_tokens.value * (1 - spec.cached_input_share.value)
    tokens += _ANSWERS * spec.intake.output_tokens.value
    (slow, quick), (least_s, most_s) = reading.ends, decision.ends
    return Figure(
        "",
        tokens / reading.value + decision.value / 60,
        "minutes/item",
        tokens / quick + least_s / 60,
        tokens / slow + most_s / 60,
        grade=least_certain([spec.intake.input_tokens.grade, reading.grade, decision.grade]),
        source=f"{tokens:,.0f} tokens to read at {reading.value:g} a minute and "
        f"{decision.value / 60:g} minutes to judge ({reading.source})",
    )


def usd_per_item(study: Study, workload: str) -> Figure:
    """The cost of labelling an item of a workload: the study's own price, else by its length."""
    stated, bundled = study.usd_per_golden_item, bundled_figures()[_BY_LENGTH]
    if stated.name != _BY_LENGTH or stated.value != bundled.value:
        return stated
    minutes, hourly = minutes_per_item(study, workload), bundled_figures()["labelling.usd_per_hour"]
    low, high = (end * hourly.value / 60 for end in minutes.ends)
    return Figure(
        "",
        minutes.value * hourly.value / 60,
        "USD/item",
        low,
        high,
        grade=least_certain([minutes.grade, hourly.grade]),
        source=f"{minutes.source}, at {hourly.value:g} USD an hour",
    )
