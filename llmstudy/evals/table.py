"""The table of an evaluation: one row for each answer of a route to an item, with its score.

A row that a scorer, a judge or an endpoint failed on is not scored: it is never a wrong answer.
Tokens are counted as in `requests.schema`. Null means not recorded, never zero.
"""

import os
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import pandas_dtype

from llmstudy import io
from llmstudy.requests.schema import Column
from llmstudy.text import refuse

COLUMNS = (
    Column("item_id", "string", True, "the item, the same on every route"),
    Column("route", "string", True, "what answered: a route of the study, or a model"),
    Column("score", "float64", False, "of the answer, higher is better; null if not scored"),
    Column("item_hash", "string", False, "hash of the item's prompt and reference answer"),
    Column("cluster", "string", False, "what items share that are not independent: a document"),
    Column("slice", "string", False, "part of the items that is also judged by itself"),
    Column("workload", "string", False, "workload of the study that the items are drawn from"),
    Column("served_model", "string", False, "model that answered"),
    Column("run", "string", False, "run of the evaluation that the row is of"),
    Column("epoch", "Int64", False, "repeat of the item on the route, from 1"),
    Column("scorer", "string", False, "what scored the answer"),
    Column("scored", "boolean", False, "false where the scorer or the endpoint failed"),
    Column("error", "string", False, "why it is not scored"),
    Column("answer", "string", False, "the answer as it was scored"),
    Column("extracted", "boolean", False, "whether an answer could be taken from the output"),
    Column("score_2", "float64", False, "score of the same answer by a second scorer"),
    Column("chance", "float64", False, "score that guessing has on the item"),
    Column("input_tokens", "Int64", False, "tokens in, cached tokens included"),
    Column("cached_input_tokens", "Int64", False, "part of the input read from the cache"),
    Column("output_tokens", "Int64", False, "tokens out, reasoning tokens included"),
    Column("reasoning_tokens", "Int64", False, "part of the output spent on reasoning"),
    Column("cost_usd", "float64", False, "cost of the answer, without that of scoring it"),
    Column("scoring_usd", "float64", False, "cost of scoring it, such as a judge's"),
    Column("latency_s", "float64", False, "from sending the request to its last token"),
    Column("ttft_s", "float64", False, "from sending the request to its first token"),
    Column("judge", "string", False, "model that scored the answer; null if none did"),
    Column("source", "string", False, "file or endpoint that the row comes from"),
)
NAMES = [column.name for column in COLUMNS]
REQUIRED = [column.name for column in COLUMNS if column.required]


REPLIES = ".replies"
"""Suffix of the replies that a run obtained, beside the evaluation that it made of them."""

SCRIPTED = "scripted"
"""The source of answers that a test server made up."""


def conform(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows as a table of an evaluation: every column, in order and typed.

    rows: item_id, route, score (numbers, or true and false) and any of the other columns. A row
    whose `scored` is absent is scored where it has a score; repeats without `epoch` are numbered in
    order.
    Raises: ValueError for a missing or an unknown column, no rows, an item or a route without a
    name, a value that is not of its type, and an item scored twice on a route in one epoch.

    >>> rows = pd.DataFrame({"item_id": [1, 2], "route": "open", "score": [True, None]})
    >>> conform(rows)[["item_id", "route", "epoch", "score", "scored"]].to_dict("records")[1]
    {'item_id': '2', 'route': 'open', 'epoch': 1, 'score': nan, 'scored': False}
    """
    if absent := [name for name in (*REQUIRED, "score") if name not in rows]:
        raise ValueError(f"an evaluation lacks {absent}: it needs item_id, route and score")
    if unknown := [name for name in rows if name not in NAMES]:
        raise ValueError(f"an evaluation has no column {unknown}; it has {', '.join(NAMES)}")
    if rows.empty:
        raise ValueError("an evaluation without rows: give one for each item and route")
    rows = rows.reset_index(drop=True)
    table = pd.DataFrame({column.name: _typed(rows, column) for column in COLUMNS})
    for name in REQUIRED:
        refuse(rows.index[table[name].isna()] + 1, f"without {name}: name it", "row")
    unscored = table["scored"].eq(False).fillna(False)
    table["score"] = table["score"].mask(unscored)
    table["scored"] = table["score"].notna()
    order = table.groupby(["item_id", "route", "run", "scorer"], dropna=False).cumcount() + 1
    table["epoch"] = table["epoch"].fillna(order).astype("Int64")
    twice = table.duplicated(["item_id", "route", "run", "scorer", "epoch"])
    refuse(table["item_id"][twice], "scored twice on a route in one epoch: keep one row")
    return table


def _typed(rows: pd.DataFrame, column: Column) -> "pd.Series[Any]":
    values = rows[column.name] if column.name in rows else pd.Series(None, index=rows.index)
    values = values.astype(object).where(values.notna(), None)
    if column.dtype == "string":
        return values.map(_text).astype("string")
    if column.dtype == "boolean":
        values = values.map(lambda value: _TRUTH.get(str(value).lower(), value))
    typed: pd.Series[Any]
    try:
        typed = pd.to_numeric(values) if column.dtype != "boolean" else values
        typed = typed.astype(pandas_dtype(column.dtype))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"an evaluation's column {column.name} is not {_KINDS[column.dtype]} in every row: "
            f"it is {column.meaning}"
        ) from None
    return typed


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


_TRUTH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
_KINDS = {"boolean": "true or false", "Int64": "a whole number", "float64": "a number"}


def one_name_each(evaluation: pd.DataFrame) -> pd.DataFrame:
    """The evaluation with one item_id for each item_hash: tools name one item each in their way.

    An item keeps the first name that it has. Where a run of a route has it under two, they stay.

    >>> rows = pd.DataFrame({"item_id": ["a", 0], "item_hash": "x", "route": ["api", "open"],
    ...                      "score": 1})
    >>> one_name_each(conform(rows))["item_id"].tolist()
    ['a', 'a']
    """
    one_run = ["route", "run"]
    names = evaluation.loc[evaluation["item_hash"].notna(), [*one_run, "item_hash", "item_id"]]
    names = names.drop_duplicates()
    copied = names.loc[names.duplicated([*one_run, "item_hash"]), "item_hash"]
    first = names[~names["item_hash"].isin(copied)].groupby("item_hash")["item_id"].first()
    item_id = evaluation["item_hash"].astype(object).map(first.to_dict())
    item_id = item_id.where(item_id.notna(), evaluation["item_id"])
    renamed = evaluation.assign(item_id=item_id.astype("string"))
    items_of = renamed.groupby([*one_run, "item_id"], dropna=False)["item_hash"].nunique()
    # a name that would then be of two items of a run is left to `pairs` to refuse
    return evaluation if (items_of > 1).any() else renamed


def pairs(evaluation: pd.DataFrame, baseline: str, candidate: str) -> pd.DataFrame:
    """The items that both routes were scored on, with the mean over the repeats of each.

    evaluation: as `conform` returns. An item without a scored answer of one route is left out on
    both sides, since that is no wrong answer.
    Returns: a row for each item, in order of the evaluation, indexed by item_id: baseline and
    candidate (mean score), answers (scored ones of the route that has fewer), cluster, slice,
    workload, baseline_usd and candidate_usd (mean cost of an answer; null unless each has one).
    Raises: ValueError for a route without rows, several scorers or runs of a route, items of one
    route alone, and items whose hash differs between the routes.

    >>> rows = pd.DataFrame({"item_id": [1, 2] * 2, "route": ["api"] * 2 + ["open"] * 2,
    ...                      "score": [1, 1, 1, 0]})
    >>> pairs(conform(rows), "api", "open")[["baseline", "candidate"]].to_numpy().tolist()
    [[1.0, 1.0], [1.0, 0.0]]
    """
    routes = evaluation["route"].unique().tolist()
    if absent := [route for route in (baseline, candidate) if route not in routes]:
        raise ValueError(f"no answers of {absent}: the evaluation has {', '.join(sorted(routes))}")
    if baseline == candidate:
        raise ValueError(f"{baseline} against itself: name two routes")
    both = evaluation[evaluation["route"].isin([baseline, candidate])]
    for name in ("scorer", "run"):
        of_route = both.groupby("route")[name].unique().map(list)
        for route, values in of_route.items():
            if len(values) > 1:
                raise ValueError(
                    f"{route} has the {name}s {', '.join(map(str, values))}: choose one of them"
                )
    items_of = both.drop_duplicates(["item_id", "route"])["item_id"]
    one = items_of[~items_of.duplicated(keep=False)]
    refuse(one, "answered by one of the two routes alone: give both, or leave them out")
    hashes = both.groupby("item_id", sort=False)["item_hash"].nunique()
    refuse(
        hashes.index[hashes > 1],
        f"that differ between {baseline} and {candidate} by their hash: compare like with like",
    )
    sides = {
        side: both[(both["route"] == route) & both["scored"]].groupby("item_id", sort=False)
        for side, route in (("baseline", baseline), ("candidate", candidate))
    }
    labels = both.groupby("item_id", sort=False)[["cluster", "slice", "workload"]].first()
    scores = {side: rows["score"].mean() for side, rows in sides.items()}
    answers = pd.DataFrame({side: rows.size() for side, rows in sides.items()}).min(axis=1)
    usd = {
        f"{side}_usd": rows["cost_usd"].mean().where(rows["cost_usd"].count() == rows.size())
        for side, rows in sides.items()
    }
    scored_items = pd.DataFrame(scores).assign(answers=answers)
    items = pd.concat([scored_items, labels, pd.DataFrame(usd)], axis=1)
    items = items.reindex(labels.index)
    scored = items[["baseline", "candidate"]].notna().all(axis=1)
    if not scored.any():
        raise ValueError(
            f"no item has a scored answer of both {baseline} and {candidate}: mend the scorer first"
        )
    return items[scored]


def accepted(evaluation: pd.DataFrame, accepted_from: float | None = None) -> pd.DataFrame:
    """The evaluation with a score of 1 for each accepted answer, and of 0 for each other one.

    accepted_from: the score from which an answer is accepted; needed where scores are graded.
    Raises: ValueError for scores other than 0 and 1 without accepted_from, and for an accepted_from
    that divides no scores.

    >>> rows = pd.DataFrame({"item_id": [1, 2, 3], "route": "open", "score": [8, 5, None]})
    >>> accepted(conform(rows), 7)["score"].tolist()
    [1.0, 0.0, nan]
    """
    scores = evaluation["score"]
    low, high = scores.min(), scores.max()
    if accepted_from is None:
        if not scores.dropna().isin([0, 1]).all():
            raise ValueError(
                f"the scores are graded, from {low:g} to {high:g}: state accepted_from, the score "
                "from which an answer is accepted"
            )
        return evaluation
    if not low <= accepted_from <= high:
        raise ValueError(
            f"accepted_from {accepted_from:g} lies outside the scores, {low:g} to {high:g}"
        )
    return evaluation.assign(score=scores.ge(accepted_from).astype(float).mask(scores.isna()))


def refuse_scripted(evaluation: pd.DataFrame) -> None:
    """Raises a ValueError if any answer was made up by a test server: it is evidence of nothing."""
    scripted = evaluation[evaluation["source"].eq(SCRIPTED).fillna(False)]
    refuse(
        scripted["route"], "with answers that a test server made up: evaluate a real one", "route"
    )


def save(evaluation: pd.DataFrame, path: str | Path) -> Path:
    """Writes the table, whole or not at all, without the columns that are null in every row.

    path: JSON Lines or Parquet, by its suffix. `importers.read_evaluation` reads both.
    Raises: ValueError for another suffix.
    """
    path = Path(path)
    table = evaluation.dropna(axis="columns", how="all")
    if path.suffix == ".jsonl":
        # pandas writes 10 digits unless told otherwise, and NaN as null
        lines = table.to_json(orient="records", lines=True, double_precision=15, force_ascii=False)
        io.write(path, lines)
    elif path.suffix == ".parquet":
        import duckdb

        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with duckdb.connect() as connection:
                connection.from_df(table).write_parquet(str(draft), compression="zstd")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    else:
        raise ValueError(f"{path}: name it .jsonl or .parquet, the two forms of an evaluation")
    return path
