"""Builds a golden set from a request log: items as users asked them, redacted, none of them twice.

Of each workload as many requests are drawn as there are items to be, so that the length of the
prompt and the tenants have the shares that they have in the log, with a few items of each at least.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from llmstudy import io
from llmstudy.evals.canaries import canary_recall, leak_rate
from llmstudy.evals.identity import sha256_of
from llmstudy.evals.items import ItemSet
from llmstudy.evals.messages import NO_PROMPT, UnfitError, answer_of, messages_of
from llmstudy.evals.redaction import Redactor
from llmstudy.requests.files import files_of
from llmstudy.requests.importers import imported
from llmstudy.requests.mapping import LogMapping
from llmstudy.requests.prompts import texts, without_prompts

ITEMS = 300
"""Items of a workload, where no plan says how many: a verdict takes 100 to 500."""

LEAST_OF_STRATUM = 5
"""Items of a part of the requests that is small, if it has so many."""

MOST_SLICES = 8
"""More tenants than these are customers, each with too few items to be judged by itself."""

_CANARIES = 100
"""Made-up values of each kind by which the redactor is judged; see `canaries`."""

_DRAWN_PER_ITEM = 10
"""Requests of which the text is read for each item, since many ask the same."""


def golden_set(
    source: str | Path | Sequence[str | Path],
    n: int = ITEMS,
    seed: int = 1,
    format: str | None = None,
    workloads: Sequence[str] = (),
    prompt: str | None = None,
    answer: str | None = None,
    redactor: Redactor | None = None,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    constants: Mapping[str, Any] | None = None,
    **meaning: Any,
) -> ItemSet:
    """Items of each workload of a log, for people to label and every route to answer.

    A request is an item if it was answered, and its prompt is text alone. Of requests that differ
    only in personal data, numbers of four digits or more, case or spaces, one is taken. `slice` is
    its tenant, where there are at most `MOST_SLICES` in its workload; `cluster` a hash of its
    conversation.

    source, format, columns, constants, meaning: as `read_log`. n: items of each workload; fewer if
    it has fewer different prompts. workloads: those to take, else all. prompt, answer: fields of
    the log that hold them, where its format does not say. redactor: `Redactor()` by default.
    Returns: the set; its `about` says how it was made, why requests were left out, and which share
    of made-up values of each kind its redactor misses.
    Raises: ValueError as `read_log`; if the log has no prompts, sums up requests, lacks a workload,
    or no request of it can be an item.
    """
    if n < 1:
        raise ValueError(f"{n} items: give how many a workload needs, such as {ITEMS}")
    redactor, rng = redactor or Redactor(), np.random.default_rng(seed)
    requests = _answered(source, format, columns, constants, meaning)
    names = sorted(requests["workload"].unique())
    if unknown := [name for name in workloads if name not in names]:
        raise ValueError(f"the log has no answered requests of {unknown}: name {', '.join(names)}")
    requests = requests[requests["workload"].isin([*(workloads or names)])]
    drawn = requests.iloc[rng.permutation(len(requests))]
    drawn = drawn[drawn.groupby("workload").cumcount() < n * _DRAWN_PER_ITEM]
    declared = LogMapping(columns=dict(columns or {}), constants=_texts(constants), **meaning)
    table, chosen_format = texts(source, drawn["n"].tolist(), format, declared, prompt, answer)
    candidates = drawn.merge(table, left_on="n", right_on="place", sort=False)
    items: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    for name, rows in candidates.groupby("workload"):
        different = _different(rows, left_out, has_answers=bool(table["answer"].notna().any()))
        if different.empty and left_out.keys() == {NO_PROMPT}:
            raise ValueError(without_prompts(chosen_format))
        if different.empty:
            reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
            raise ValueError(f"{name}: none of its requests can be an item: {reasons}")
        different["slice"] = _slices(different)
        chosen = different[_chosen(different, n, rng)]
        items += [_item(str(name), row, redactor) for _, row in chosen.iterrows()]
    files = files_of(source)
    recall = canary_recall(redactor, _CANARIES, rng)
    about = {
        "log_files": len(files),
        "log_sha256": io.sha256(files[0]) if len(files) == 1 else io.sha256_of_all(files),
        "seed": seed,
        "items_of_each_workload": n,
        "requests": len(requests),
        "requests_read": len(drawn),
        "left_out": dict(sorted(left_out.items())),
        "redactions": dict(sorted(redactor.counts.items())),
        "different_values_redacted": dict(sorted(redactor.distinct.items())),
        "leak_rate": leak_rate(recall),
        "recall": dict(zip(recall["entity"], recall["recall"], strict=True)),
    }
    return ItemSet(items, io.plain(about))


def _texts(constants: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: str(value) for name, value in (constants or {}).items()}


def _answered(
    source: str | Path | Sequence[str | Path],
    format: str | None,
    columns: Mapping[str, str | Sequence[str]] | None,
    constants: Mapping[str, Any] | None,
    meaning: Mapping[str, Any],
) -> pd.DataFrame:
    """The answered requests of a log: n (their place in it), workload, tenant, session_id."""
    with imported(source, format, columns, constants, **meaning) as log:
        if log.grain != "request":
            raise ValueError(
                f"a row of {log.format} sums up many requests: golden items are made of a log with "
                "a row for each request and its prompt"
            )
        requests: pd.DataFrame = log.connection.sql(
            "SELECT n, workload, tenant, session_id FROM accepted WHERE ok AND n >= 0 ORDER BY n"
        ).df()
    if requests.empty:
        raise ValueError("the log has no answered request: see `llmstudy requests import`")
    return requests


# --- what can be an item -------------------------------------------------------------------------


def _different(rows: pd.DataFrame, left_out: Counter[str], *, has_answers: bool) -> pd.DataFrame:
    """The rows that can be items, with messages, answer_today and characters, none of them twice.

    left_out: counts the others by their reasons.
    """
    masks, seen, fit = Redactor(), set(), []
    for row in rows.to_dict("records"):
        try:
            messages = messages_of(row["prompt"], row["system"])
            answer_today = answer_of(row["answer"])
            if has_answers and answer_today is None:
                raise UnfitError("without an answer in text")
        except UnfitError as reason:
            left_out[str(reason)] += 1
            continue
        template = _template(masks.redacted(messages))
        if template in seen:
            left_out["asked before"] += 1
            continue
        seen.add(template)
        characters = sum(len(message["content"]) for message in messages)
        size = {"messages": messages, "answer_today": answer_today, "characters": characters}
        fit.append(row | size)
    return pd.DataFrame(fit)


def _template(messages: list[dict[str, str]]) -> str:
    """A hash of what is the same in prompts that differ in names and numbers alone."""
    text = "\n".join(f"{each['role']} {each['content']}" for each in messages).casefold()
    text = re.sub(r"<([a-z]+)_\d+>", r"<\1>", text)
    text = re.sub(r"\d[\d.,/:-]{3,}", "0", text)
    return sha256_of(" ".join(text.split()))


# --- which of them ----------------------------------------------------------------------


def _chosen(rows: pd.DataFrame, n: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which rows are items: a draw from each third by length of each slice. (n_rows,)."""
    third = pd.qcut(rows["characters"].rank(method="first"), min(3, len(rows)), labels=False)
    strata = pd.Series(list(zip(rows["slice"].fillna(""), third, strict=True)), index=rows.index)
    sizes = strata.value_counts(sort=False).sort_index()
    shares = allocation(sizes.to_numpy(), min(n, len(rows)), LEAST_OF_STRATUM)
    wanted = dict(zip(sizes.index, shares.tolist(), strict=True))
    order = rng.permutation(len(rows))
    place = strata.iloc[order].groupby(strata.iloc[order]).cumcount().sort_index()
    return np.asarray(place < strata.map(wanted))


def _slices(rows: pd.DataFrame) -> "pd.Series[Any]":
    """The tenant of each row, where a workload has few; else null."""
    tenants = rows["tenant"].dropna().nunique()
    has_few = 2 <= tenants <= MOST_SLICES
    return rows["tenant"] if has_few else pd.Series(None, index=rows.index, dtype=object)


def allocation(sizes: npt.ArrayLike, n: int, least: int) -> npt.NDArray[np.int64]:
    """How many of n to take from each stratum: in proportion, with a few of each at least.

    sizes: members of each stratum, at least n together. least: of each, or all that it has; 0 where
    n is too small for that. What is over goes to the largest remainders, so that they add up to n.

    >>> allocation([900, 80, 4], 100, 5).tolist()
    [84, 12, 4]
    """
    size = np.asarray(sizes, dtype=np.int64)
    floor = np.minimum(size, least)
    if floor.sum() > n:
        floor = np.zeros_like(size)
    rest, members = n - floor.sum(), size - floor
    quota = rest * members / max(members.sum(), 1)
    taken = np.floor(quota).astype(np.int64)
    over = np.argsort(taken - quota, kind="stable")[: rest - taken.sum()]
    taken[over] += 1
    return np.asarray(floor + taken)


def _item(workload: str, row: "pd.Series[Any]", redactor: Redactor) -> dict[str, Any]:
    messages = redactor.redacted(row["messages"])
    session = row["session_id"]
    return {
        "item_id": f"{workload}-{sha256_of(messages)[:10]}",
        "workload": workload,
        "slice": None if pd.isna(row["slice"]) else redactor.redact(str(row["slice"])),
        "cluster": None if pd.isna(session) else sha256_of(str(session))[:12],
        "messages": messages,
        "reference": None,
        "answer_today": redactor.redacted(row["answer_today"]),
    }
