"""How long does it take to label a golden item, and what does it cost, by its length?"""

from dataclasses import replace

from llmstudy.figure import Figure, least_certain
from llmstudy.study.figures import bundled_figures
from llmstudy.study.schema import Workload
from llmstudy.study.study import Study

_BY_LENGTH = "evaluation.usd_per_item"
"""A study with this price of an item, which is for a short one, states none of its own."""

_ANSWERS = 2
"""Answers that are read with each item: today's and the candidate's."""


def minutes_per_item(study: Study, workload: str) -> Figure:
    """Minutes that an expert takes for an item: to read the prompt and both answers, and to judge.

    What begins like the prompt before it (the cached share of the input) is not read again. The
    range combines a quick reader who decides quickly with a slow one. A study that states a price
    of an item states its minutes, at the bundled price of an hour.

    >>> from llmstudy import paths
    >>> from llmstudy.study import load
    >>> study = load(paths.params("default.yaml"))
    >>> [round(minutes_per_item(study, name).value) for name in study.workloads]
    [8, 5, 11, 74]
    """
    stated, hourly = _stated(study), bundled_figures()["labelling.usd_per_hour"].value
    if stated:
        return _scaled(stated, 60 / hourly, "minutes/item")
    return _by_length(study.workloads[workload])


def usd_per_item(study: Study, workload: str) -> Figure:
    """The cost of labelling an item of a workload: the study's own price, else by its length."""
    if stated := _stated(study):
        return stated
    hourly = bundled_figures()["labelling.usd_per_hour"]
    minutes = _by_length(study.workloads[workload])
    return _scaled(minutes, hourly.value / 60, "USD/item", f" at {hourly.value:g} USD an hour")


def _stated(study: Study) -> Figure | None:
    """The price of an item that the study states, unless it is the bundled one."""
    stated, bundled = study.usd_per_golden_item, bundled_figures()[_BY_LENGTH]
    is_bundled = stated.name == _BY_LENGTH and stated.value == bundled.value
    return None if is_bundled else stated


def _by_length(workload: Workload) -> Figure:
    reading, decision = (bundled_figures()[f"labelling.{x}"] for x in ("reading", "decision"))
    intake = workload.intake
    tokens = intake.input_tokens.value * (1 - workload.cached_input_share.value)
    tokens += _ANSWERS * intake.output_tokens.value
    (slow, quick), (least_s, most_s) = reading.ends, decision.ends
    return Figure(
        "",
        tokens / reading.value + decision.value / 60,
        "minutes/item",
        tokens / quick + least_s / 60,
        tokens / slow + most_s / 60,
        grade=least_certain([intake.input_tokens.grade, reading.grade, decision.grade]),
        source=f"{tokens:,.0f} tokens to read at {reading.value:g} a minute and "
        f"{decision.value / 60:g} minutes to judge ({reading.source})",
    )


def _scaled(figure: Figure, factor: float, unit: str, words: str = "") -> Figure:
    low, high = figure.ends
    return replace(
        figure,
        name="",
        value=figure.value * factor,
        unit=unit,
        low=low * factor,
        high=high * factor,
        source=f"{figure.source}{words}",
    )
