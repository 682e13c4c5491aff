"""Is the measurement itself sound: noise between runs, and counts that deserve doubt."""

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm

from llmstudy.measures.quality.benchmarks import check_columns, same_weights_hosts
from llmstudy.measures.quality.counts import PairedCounts

IMPLAUSIBLE = 0.001
"""p-value below which a score under chance is blamed on the scorer, not the model."""


def noise_floor(repeats: pd.DataFrame) -> pd.DataFrame:
    """The noise floor: the difference between two runs of one model on the same items, by chance.

    The 95 % half-width z sqrt(psi / n) of the difference between two runs on a benchmark's items,
    to compare a difference between models with. floor: for discordance psi pooled over the pairs of
    runs; low and high: for the pair that agrees most and least.

    repeats: one row per pair of runs, columns as `same_weights_hosts`: benchmark, n, only_a,
    only_b (items).
    Returns: one row per benchmark: benchmark, pairs, discordance_share, floor, low, high (shares).
    Raises: ValueError if a column is missing.

    >>> floors = noise_floor(same_weights_hosts()).set_index("benchmark")["floor"]
    >>> f"{100 * floors['zeroeval_gsm']:.1f} points"
    '0.8 points'
    """
    check_columns(repeats, ["benchmark", "n", "only_a", "only_b"])
    rows = []
    for benchmark, pairs in repeats.groupby("benchmark", sort=False):
        discordant = pairs["only_a"] + pairs["only_b"]
        shares = discordant / pairs["n"]
        pooled = discordant.sum() / pairs["n"].sum()
        half = norm.ppf(0.975) * np.sqrt([pooled, shares.min(), shares.max()] / pairs["n"].max())
        ends = dict(zip(("floor", "low", "high"), half.tolist(), strict=True))
        row = {"benchmark": benchmark, "pairs": len(pairs), "discordance_share": pooled}
        rows.append(row | ends)
    columns = ["benchmark", "pairs", "discordance_share", "floor", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def audit(counts: PairedCounts, choices: int | None) -> list[str]:
    """Reasons to doubt these counts, as sentences; empty if there are none.

    Reasons: a score below guessing, which points to the scorer; two models that differ on no more
    items than one model does at two hosts (if such runs are bundled for the benchmark); a warning
    that came with the data.

    choices: answers offered per item (4 in MMLU, 10 in MMLU-Pro); None for free answers.

    >>> audit(PairedCounts(3, 5, 83, 179, model_a="gpt-4"), choices=4)
    ['gpt-4 answers 8 of 270 correctly, below guessing among 4 (p = 2e-23): suspect its scorer.']
    """
    sentences = []
    if choices is not None:
        for model, only in ((counts.model_a, counts.only_a), (counts.model_b, counts.only_b)):
            right = counts.both + only
            p = binomtest(right, counts.n, 1 / choices, alternative="less").pvalue
            if p < IMPLAUSIBLE:
                sentences.append(
                    f"{model} answers {right} of {counts.n} correctly, below guessing among "
                    f"{choices} (p = {p:.0e}): suspect its scorer."
                )
    hosts = same_weights_hosts()
    hosts = hosts[hosts["benchmark"] == counts.benchmark]
    # NaN without such runs: the comparison below is then False
    most = ((hosts["only_a"] + hosts["only_b"]) / hosts["n"]).max()
    if counts.discordance_share <= most:
        sentences.append(
            f"{counts.model_a} and {counts.model_b} differ on {counts.discordance_share:.1%} of "
            f"the items; the same weights on two hosts differ on up to {most:.1%}."
        )
    if counts.flag:
        sentences.append(f"{counts.flag[0].upper()}{counts.flag[1:]}.")
    return sentences
