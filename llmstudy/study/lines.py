"""The lines that an organisation draws for a move."""

from dataclasses import dataclass

from llmstudy.study.study import Study


@dataclass(frozen=True)
class Lines:
    """Where the organisation draws its lines. probability: share; saving: usd over the horizon."""

    probability: float
    saving_usd: float
    usd_per_item: float


def lines_of(study: Study) -> Lines:
    """The lines that the study draws for a move."""
    return Lines(
        study.thresholds.probability.value,
        study.thresholds.saving.value,
        study.usd_per_golden_item.value,
    )


def meets_lines(p_cheaper: float, saving_p50_usd: float, lines: Lines) -> bool:
    """Whether the probability and the median of a saving reach the lines."""
    return p_cheaper >= lines.probability and saving_p50_usd >= lines.saving_usd
