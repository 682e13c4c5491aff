"""How often does a memo claim falsely, and what items does it ask for, as its claims share alpha?

    python benchmarks/families.py --runs 20000

Simulates a study of seven candidates of which five are scored, together or one a memo. Three ways
to share alpha: Holm over every candidate of the study, Holm over those that are scored
(`assess.quality.test_levels`), and a fixed sequence by stake, each tested at the whole of alpha
where all before it passed.
"""

import argparse
from collections.abc import Callable

import numpy as np

from llmstudy.measures.quality import (
    ALPHA,
    PairedCounts,
    holm_levels,
    look_share,
    non_inferiority_p,
    score_test_size,
)

CANDIDATES, SCORED = 7, 5
DISCORDANCE, MARGIN = 0.27, 0.05
FIRST_LOOK = look_share(0)

Rule = Callable[[np.ndarray], np.ndarray]
"""P-values of the claims scored, by stake, in shares of a first look -> which pass. (k,) each."""


def over_all(p: np.ndarray) -> np.ndarray:
    """Holm over every candidate: those not scored yet are claims that do not pass."""
    every = np.concatenate([p, np.ones(CANDIDATES - len(p))])
    return np.asarray((every <= holm_levels(every))[: len(p)])


def over_scored(p: np.ndarray) -> np.ndarray:
    """Holm over what is claimed in the memo."""
    return np.asarray(p <= holm_levels(p))


def in_sequence(p: np.ndarray) -> np.ndarray:
    """Each at the whole of alpha, where all of a larger stake passed."""
    return np.asarray(np.logical_and.accumulate(p <= ALPHA))


RULES: dict[str, tuple[Rule, int]] = {
    "Holm over all candidates": (over_all, CANDIDATES),
    "Holm over the scored": (over_scored, 1),
    "fixed sequence": (in_sequence, 1),
}
"""Each rule, and the parts of alpha with one of which the items of the first claim are planned."""


def items_planned(parts: int) -> int:
    """Items asked for of a claim, for no true difference."""
    return score_test_size(DISCORDANCE, MARGIN, ALPHA * FIRST_LOOK / parts)


def drawn_p(lost: np.ndarray, items: int, n_runs: int, rng: np.random.Generator) -> np.ndarray:
    """P-values of a first look at each claim, doubled as its share demands. (n_runs, k).

    lost: true loss of each, in margins, (k,).
    """
    p = np.empty((n_runs, len(lost)))
    for claim, part in enumerate(lost):
        worse, better = ((DISCORDANCE + sign * part * MARGIN) / 2 for sign in (1, -1))
        cells = rng.multinomial(items, [worse, better, 1 - DISCORDANCE], size=n_runs)
        p[:, claim] = [
            non_inferiority_p(PairedCounts(int(same), int(a), int(b), 0), MARGIN)
            for a, b, same in cells
        ]
    return np.minimum(p / FIRST_LOOK, 1.0)


def passes(rule: Rule, p: np.ndarray) -> np.ndarray:
    """Which claims pass in each run, (n_runs, k)."""
    return np.array([rule(row) for row in p])


def chances(rule: Rule, lost: np.ndarray, items: int, n_runs: int, seed: int) -> dict[str, float]:
    """What comes of claims with these true losses.

    any_memo: some false claim in the memo that makes the most, where one candidate more is scored
    for each. ever: in any of them. first, each: the first claim passes, and the mean of those that
    should.
    """
    p = drawn_p(lost, items, n_runs, np.random.default_rng(seed))
    memos = [passes(rule, p[:, : k + 1]) for k in range(len(lost))]
    false = np.array([(memo & (lost[: memo.shape[1]] >= 1)).any(axis=1) for memo in memos])
    true = memos[-1][:, lost < 1]
    return {
        "any_memo": float(false.mean(axis=1).max()),
        "ever": float(false.any(axis=0).mean()),
        "first": float(memos[0][:, 0].mean()),
        "each": float(true.mean()) if true.size else float("nan"),
    }


def main() -> None:
    """Prints a Markdown table: one row for each truth and rule."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20_000)
    n_runs = parser.parse_args().runs
    truths = {
        "all lose the margin": np.ones(SCORED),
        "the first loses it": np.eye(SCORED)[0],
        "none loses": np.zeros(SCORED),
    }
    print("| truth | alpha | items each | false in a memo | ever | first alone | each together |")
    print("|---|---|---|---|---|---|---|")
    for truth, lost in truths.items():
        for name, (rule, parts) in RULES.items():
            items = items_planned(parts)
            shares = chances(rule, lost, items, n_runs, seed=7)
            shown = ["–" if np.isnan(x) else f"{x:.1%}" for x in shares.values()]
            print("|", " | ".join([truth, name, str(items), *shown]), "|", flush=True)


if __name__ == "__main__":
    main()
