"""Bundled tables: paired counts on public benchmarks, and what each of these asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import pandas as pd

from llmstudy import paths
from llmstudy.measures.quality.counts import PairedCounts


def paired_table() -> pd.DataFrame:
    """All bundled paired counts: one row per benchmark, subject, scorer and pair of models.

    Columns: benchmark, subject, scorer, model_proprietary, model_open, n, both, only_proprietary,
    only_open, neither (items), source, commit, licence, flag (a warning, or "").

    >>> paired_table()["benchmark"].nunique()
    6
    """
    return _read("paired_counts.csv")


def same_weights_hosts() -> pd.DataFrame:
    """Bundled runs of the same weights at two hosts: one row per benchmark and pair of hosts.

    Columns: benchmark, n, both, only_a, only_b, neither (items), host_a, host_b, source, commit,
    licence.
    """
    return _read("same_weights_hosts.csv")


def repeated_tasks() -> pd.DataFrame:
    """Bundled runs of agents with tools, each task tried four times: one row per model and run.

    Columns: model, setting, domain, user_simulator (the model that plays the customer; runs with
    different ones are not comparable), run_on, pass_1_share to pass_4_share (pass^k, the share of
    tasks passed k times in a row), source, commit, licence.
    Source: pass^k, Yao et al. (2024), tau-bench, arXiv:2406.12045, section 2.

    >>> repeated_tasks().set_index("model").loc["GPT-5", ["pass_1_share", "pass_4_share"]].tolist()
    [0.8158, 0.5877]
    """
    return _read("repeated_tasks.csv")


def paired_counts(
    benchmark: str,
    subject: str,
    model_proprietary: str,
    model_open: str,
    scorer: str | None = None,
) -> PairedCounts:
    """The bundled counts of one pair of models on one subject, with their provenance.

    Parameters: names as in `paired_table`; scorer is needed only where several scored the answers.
    Raises: ValueError naming the closest entries, or the scorers to choose from.

    >>> c = paired_counts("mmlu_pro", "law", "gemini-1.5-pro-002", "Meta-Llama-3_1-70B-Instruct")
    >>> c.n, c.source.split()[0]
    (1101, 'TIGER-AI-Lab/MMLU-Pro')
    """
    rows = paired_table()
    names = {
        "benchmark": benchmark,
        "subject": subject,
        "model_proprietary": model_proprietary,
        "model_open": model_open,
    } | ({} if scorer is None else {"scorer": scorer})
    for column, value in names.items():
        entries = sorted(set(rows[column]))
        if value not in entries:
            close = get_close_matches(value, entries, n=5, cutoff=0.0)
            raise ValueError(f"no paired counts with {column} {value!r}; closest here: {close}")
        rows = rows[rows[column] == value]
    if len(rows) > 1:
        raise ValueError(
            f"{benchmark} {subject} has several scorers: choose one of {sorted(rows['scorer'])}"
        )
    row = rows.iloc[0]
    return PairedCounts(
        both=int(row["both"]),
        only_a=int(row["only_proprietary"]),
        only_b=int(row["only_open"]),
        neither=int(row["neither"]),
        model_a=model_proprietary,
        model_b=model_open,
        benchmark=benchmark,
        subject=subject,
        scorer=row["scorer"],
        source=f"{row['source']} at {row['commit']}, {row['licence']}",
        flag=row["flag"],
    )


@dataclass(frozen=True)
class Benchmark:
    """A public benchmark: its name, the questions it asks, and whether they are near to a task."""

    name: str
    asks: str
    near: bool
    reason: str


def benchmark(key: str, task: str) -> Benchmark:
    """Describes a bundled benchmark, and whether its questions are near to a class of task.

    Results on a benchmark that is not near say nothing about the task, neither for nor against a
    model.

    key: name in `data/benchmarks.csv`. task: as in a study's workload, such as chat or reasoning.
    Raises: ValueError for a benchmark that `data/benchmarks.csv` lacks.

    >>> benchmark("zeroeval_gsm", "chat").near, benchmark("zeroeval_gsm", "reasoning").near
    (False, True)
    """
    rows = _read("benchmarks.csv").set_index("benchmark")
    if key not in rows.index:
        raise ValueError(f"data/benchmarks.csv lacks the benchmark {key!r}: add a row for it")
    row = rows.loc[key]
    return Benchmark(
        str(row["name"]), str(row["asks"]), bool(row[task] == "near"), str(row["reason"])
    )


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(paths.data(name), keep_default_na=False)


def check_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raises: ValueError that names the columns which a table lacks."""
    if missing := [column for column in columns if column not in table]:
        raise ValueError(f"the table lacks {missing}: it has {list(table.columns)}")
