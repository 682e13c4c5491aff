"""Counts that the tests of quality share: published, drawn, and any."""

from functools import cache

import numpy as np
from hypothesis import strategies as st

from llmstudy.measures.quality import (
    PairedCounts,
    non_inferiority,
    paired_counts,
    paired_table,
)

GPT4, MIXTRAL = "gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"
MMLU = PairedCounts(both=8818, only_a=2497, only_b=742, neither=1985)

cells = st.integers(0, 300)
some_counts = st.builds(PairedCounts, cells, cells, cells, st.integers(1, 300))
a_margin = st.floats(0.01, 0.2)


def drawn(rng, n, shares, times):
    return [PairedCounts(*map(int, x)) for x in rng.multinomial(n, shares, size=times)]


@cache
def mmlu_subjects():
    table = paired_table()
    subjects = table.loc[table["benchmark"] == "mmlu", "subject"]
    return [paired_counts("mmlu", s, GPT4, MIXTRAL) for s in subjects]


def power_of(n, discordance, margin, truth, verdict, times=500):
    a, b = (discordance - truth) / 2, (discordance + truth) / 2
    samples = drawn(np.random.default_rng(7), n, (0.5, a, b, 0.5 - discordance), times)
    return np.mean([non_inferiority(c, margin).verdict == verdict for c in samples])
