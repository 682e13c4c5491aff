"""How often does a candidate pass when its items are judged, extended as asked, and judged again?

    python benchmarks/looks.py --runs 20000

Simulates the product's own advice: score what the plan asks for, judge, score the items that an
undecided verdict asks for, judge again, up to five looks. Once with the levels of
`quality.look_share`, once with the whole of alpha at every look.
"""

import argparse
from collections.abc import Callable

import numpy as np

from llmstudy.measures.quality import (
    ALPHA,
    PairedCounts,
    look_share,
    non_inferiority,
    score_test_size,
)

LOOKS = 5
MOST_ITEMS = 10**7
"""Nobody scores more: a comparison that asks for more stays undecided."""


def passed_at(
    difference: float,
    discordance: float,
    margin: float,
    n_runs: int,
    share: Callable[[int], float],
    first_items: int | None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The look at which each run passes (0: never), and the items it scored. (n_runs,) each.

    difference, discordance, margin: shares, the first the true one. share: part of alpha that a
    look may spend, by the number of looks before it. first_items: None for those of the plan.
    """
    only_a, only_b = (discordance - difference) / 2, (discordance + difference) / 2
    shares = [only_a, only_b, 1 - discordance]
    planned = first_items or score_test_size(discordance, margin, ALPHA * share(0))
    look, items = np.zeros(n_runs, dtype=int), np.zeros(n_runs, dtype=int)
    for run in range(n_runs):
        cells, n = np.zeros(3, dtype=int), planned
        for k in range(LOOKS):
            cells += rng.multinomial(n - cells.sum(), shares)
            counts = PairedCounts(int(cells[2]), int(cells[0]), int(cells[1]), 0)
            test = non_inferiority(counts, margin, ALPHA * share(k), ALPHA * share(k + 1))
            if test.verdict == "non-inferior":
                look[run] = k + 1
            if test.verdict != "undecided":
                break
            n = max(test.n_needed or 2 * counts.n, counts.n + 1)
            if n > MOST_ITEMS:
                break
        items[run] = cells.sum()
    return look, items


def main() -> None:
    """Prints a Markdown table: one row for each truth and rule."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20_000)
    n_runs = parser.parse_args().runs
    print(
        "| discordance | margin | first items | true difference | alpha | 1 look | 2 | 3 | 4 | 5 |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    rules = {"shared out": look_share, "whole at each look": lambda looks: 1.0}
    for discordance, margin, first in ((0.27, 0.05, None), (0.27, 0.05, 100), (0.1, 0.03, None)):
        for lost in (1.0, 0.6, 0.3, 0.0):
            for rule, share in rules.items():
                look, _ = passed_at(
                    -lost * margin, discordance, margin, n_runs, share, first,
                    np.random.default_rng(7),
                )  # fmt: skip
                passing = [f"{((look > 0) & (look <= k)).mean():.1%}" for k in range(1, LOOKS + 1)]
                about = (f"{discordance:.0%}", f"{margin:.0%}", first or "planned")
                truth = f"{-100 * lost * margin:+.1f} points"
                print("|", " | ".join([*map(str, about), truth, rule, *passing]), "|", flush=True)


if __name__ == "__main__":
    main()
