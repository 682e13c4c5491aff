"""The thresholds of cost that a move must reach."""

from dataclasses import dataclass

from llmstudy.study.study import Study


@dataclass(frozen=True)
class Lines:
    """An organisation's thresholds for a move.

    probability: least chance that the move is cheaper, a share. saving_usd: least median saving
    over the horizon.
    """

    probability: float
    saving_usd: float


def lines_of(study: Study) -> Lines:
    """The thresholds that the study states."""
    return Lines(
        study.thresholds.probability.value,
        study.thresholds.saving.value,
    )


def meets_lines(p_cheaper: float, saving_p50_usd: float, lines: Lines) -> bool:
    """Whether the chance of being cheaper (a share) and the median saving (usd) reach them."""
    return p_cheaper >= lines.probability and saving_p50_usd >= lines.saving_usd
