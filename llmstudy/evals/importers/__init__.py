"""Evaluations that other tools have run, as one table: `read_evaluation`.

A module for each tool says which documents are its own (`fits`) and what their answers are
(`answers`); here the scorer is chosen, the routes are named, and scores become numbers. What a file
leaves open is asked about in an error, never guessed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from llmstudy.evals.importers import generic, inspect_ai, langfuse, lm_eval, mlflow, promptfoo
from llmstudy.evals.importers.files import Document, documents
from llmstudy.evals.importers.values import Answer, Score, number, text
from llmstudy.evals.table import conform, one_name_each
from llmstudy.text import listed

_READERS: dict[str, Any] = {
    "inspect_ai": inspect_ai,
    "lm_eval": lm_eval,
    "promptfoo": promptfoo,
    "mlflow": mlflow,
    "langfuse": langfuse,
    "table": generic,
}

FORMATS = tuple(_READERS)
"""Names of the formats, in the order in which a document is tried."""

_Source = str | Path | pd.DataFrame | Sequence[str | Path]
_Names = str | Sequence[str] | None


class Imported(NamedTuple):
    """An evaluation as it was read.

    table: as `evals.table.conform` returns. formats: of each file. scorers: the one of `score`, and
    that of `score_2` if there is one; several names where routes have their own. unused: columns of
    a table that were not read.
    """

    table: pd.DataFrame
    formats: dict[str, str]
    scorers: tuple[str, ...]
    unused: list[str]


def read_evaluation(
    source: _Source,
    format: str = "auto",
    *,
    route: _Names = None,
    scorer: _Names = None,
    scale: float | None = None,
) -> pd.DataFrame:
    """The table of an evaluation, whichever tool wrote it.

    source: a table, a file, a folder, a glob, or several of these. format: one of FORMATS; `auto`:
    by what is in each file. route: what to name the route of files that have one or none, a name
    for all or one for each file in order; or the routes to take, of those that the files name.
    scorer: the scorer to take, and a second for `score_2`; a judge
    goes before labels by hand. scale: the highest score, by which all
    are divided; 1 leaves scores beyond 0 to 1 as they are.
    Returns: as `evals.table.conform`. A row that its tool failed to score is there, not scored.
    Raises: ValueError that says what to declare, where a file leaves that open.

    >>> rows = pd.DataFrame({"item": ["a", "b"], "api": ["correct", "incorrect"], "open": [1, 1]})
    >>> read_evaluation(rows)[["item_id", "route", "score"]].to_numpy().tolist()
    [['a', 'api', 1.0], ['a', 'open', 1.0], ['b', 'api', 0.0], ['b', 'open', 1.0]]
    """
    return imported(source, format, route=route, scorer=scorer, scale=scale).table


def imported(
    source: _Source,
    format: str = "auto",
    *,
    route: _Names = None,
    scorer: _Names = None,
    scale: float | None = None,
) -> Imported:
    """As `read_evaluation`, with what was read."""
    if format != "auto" and format not in FORMATS:
        raise ValueError(f"format {format!r} is unknown: use auto, {', '.join(FORMATS)}")
    files = documents(source)
    formats = [_format(file) if format == "auto" else format for file in files]
    answers: list[Answer] = []
    side_by_side = False
    for name in dict.fromkeys(formats):
        own = [file for file, its in zip(files, formats, strict=True) if its == name]
        answers += _read(name, own)
        side_by_side = name == "lm_eval"
    if not answers:
        raise ValueError(f"{listed([file.name for file in files])}: no answer is in there")
    answers = _merged(_on_routes(answers, _texts(route)))
    scorers_of = _chosen(answers, _texts(scorer), side_by_side)
    rows = pd.DataFrame([_row(each, scorers_of[each.columns["route"]]) for each in answers])
    rows = _named_runs(rows)
    for column in ("score", "score_2"):
        if column in rows:
            rows[column] = _on_scale(rows[column], rows["route"], scale)
    scorers = [
        dict.fromkeys(filter(None, names)) for names in zip(*scorers_of.values(), strict=True)
    ]
    by_file = dict(zip((file.name for file in files), formats, strict=True))
    tables = [file for file in files if by_file[file.name] == "table"]
    return Imported(
        one_name_each(conform(rows)),
        by_file,
        tuple(", ".join(names) for names in scorers if names),
        list(dict.fromkeys(name for file in tables for name in generic.unused(file))),
    )


def _texts(names: _Names) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())


def _format(document: Document) -> str:
    for name, reader in _READERS.items():
        if reader.fits(document):
            return name
    columns = dict.fromkeys(name for record in document.records[:20] for name in record)
    raise ValueError(
        f"{document.name}: not {listed(list(FORMATS)[:-1])}, nor a table with item_id, route and "
        f"score, or item_id and a column of scores for each route; it has "
        f"{', '.join(list(columns)[:12]) or 'no fields'}: rename its columns, or name its format"
    )


def _read(name: str, files: Sequence[Document]) -> list[Answer]:
    read: Callable[[Sequence[Document]], Iterable[Answer]] = _READERS[name].answers
    try:
        return list(read(files))
    except ValueError as error:
        first = files[0].name
        raise ValueError(str(error) if first in str(error) else f"{first}: {error}") from None


# ---- routes -------------------------------------------------------------------------------------


def _on_routes(answers: Sequence[Answer], names: Sequence[str]) -> list[Answer]:
    """The answers with their routes, chosen from those that they have or named by their file."""
    own = {route for each in answers if (route := text(each.columns.get("route")))}
    if names and set(names) <= own:
        return [each for each in answers if each.columns.get("route") in names]
    if not names:
        unnamed = {each.file for each in answers if text(each.columns.get("route")) is None}
        if unnamed:
            raise ValueError(
                f"{listed(sorted(unnamed))}: no route or model is named: give a route for the file"
            )
        return list(answers)
    files = list(dict.fromkeys(each.file for each in answers))
    for file in files:
        routes = {text(each.columns.get("route")) for each in answers if each.file == file}
        if len(routes) > 1:
            raise ValueError(
                f"{file} has the routes {listed(sorted(map(str, routes)))}: take some of them, "
                "or name none"
            )
    if len(names) not in (1, len(files)):
        raise ValueError(
            f"{len(names)} routes for {len(files)} files: name one for all, or one for each"
        )
    route_of = dict(zip(files, list(names) * len(files), strict=False))
    return [
        Answer(
            each.columns | {"route": route_of[each.file]}, each.scores, each.file, each.default_run
        )
        for each in answers
    ]


def _merged(answers: Sequence[Answer]) -> list[Answer]:
    """Answers of which each has all its scores: rows that differ by the scorer alone are one."""
    merged: dict[tuple[Any, ...], list[Answer]] = {}
    for answer in answers:
        names = ("item_id", "route", "run", "epoch")
        key = (answer.file, *(text(answer.columns.get(name)) for name in names))
        own = merged.setdefault(key, [])
        other = next((each for each in own if each.scores.keys().isdisjoint(answer.scores)), None)
        if other is None or not other.scores or not answer.scores:
            own.append(Answer(answer.columns, {**answer.scores}, answer.file, answer.default_run))
        else:
            other.scores.update(answer.scores)
    return [answer for own in merged.values() for answer in own]


def _named_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with their runs named where several files have a route's answer to one item."""
    if "run" not in rows:
        rows["run"] = None
    key = ["item_id", "route"]
    files = rows.groupby(key, dropna=False)["source"].transform("nunique")
    repeated = rows["route"].isin(rows.loc[files > 1, "route"])
    rows["run"] = rows["run"].where(rows["run"].notna() | ~repeated, rows["default_run"])
    return rows.drop(columns="default_run")


# ---- scores -------------------------------------------------------------------------------------


def _chosen(
    answers: Sequence[Answer], given: Sequence[str], side_by_side: bool
) -> dict[str, tuple[str, str | None]]:
    """The scorer of each route, and the second one if there is one."""
    if len(given) > 2:
        raise ValueError(f"{len(given)} scorers are given: give one, and a second at most")
    names = list(Counter(name for answer in answers for name in answer.scores))
    if not names:
        raise ValueError("no answer has a score: score the evaluation first")
    wanted = [_resolved(name, names) for name in given]
    judged = {name for each in answers for name, score in each.scores.items() if score.judge}
    of_route: dict[str, list[str]] = {}
    for answer in answers:
        own = of_route.setdefault(answer.columns["route"], [])
        own += [name for name in answer.scores if name not in own]
    return {
        route: _of_route(own or names, wanted, judged, side_by_side)
        for route, own in of_route.items()
    }


def _of_route(
    names: Sequence[str], wanted: Sequence[str], judged: set[str], side_by_side: bool
) -> tuple[str, str | None]:
    chosen = [name for name in wanted if name in names] or list(wanted)
    if not chosen and len(names) == 2 and len(judged & set(names)) == 1:
        chosen = sorted(names, key=lambda name: name not in judged)  # then labels by hand
    if not chosen:
        if len(names) > 1 and not (side_by_side and lm_eval.side_by_side(names)):
            raise ValueError(f"the scorers {listed(sorted(names))}: choose one of them")
        chosen = [names[0]]
    if len(chosen) == 1 and len(names) == 2:
        chosen += [name for name in names if name not in chosen]
    return chosen[0], chosen[1] if len(chosen) > 1 else None


def _resolved(given: str, names: Sequence[str]) -> str:
    """A scorer by its name, or by one part of it: `strict-match` of `exact_match,strict-match`."""
    fitting = [name for name in names if given == name]
    fitting = fitting or [name for name in names if given in name.split(",")]
    if len(fitting) != 1:
        raise ValueError(
            f"scorer {given!r}: {'several' if fitting else 'none'} of that name; the file has "
            f"{listed(sorted(name or '(unnamed)' for name in names))}"
        )
    return fitting[0]


def _row(answer: Answer, scorers: tuple[str, str | None]) -> dict[str, Any]:
    first, second = scorers
    score = answer.scores.get(first, Score(None, error=f"no score by {first}" if first else None))
    row = {
        "source": answer.file,
        **answer.columns,
        "scorer": first or None,
        "default_run": answer.default_run,
    }
    item = text(row.get("item_id"))
    failed = text(row.get("error")) or score.error
    row["error"] = failed
    row["score"] = None if failed else _number(score.value, item)
    for name in ("answer", "extracted", "judge", "scoring_usd"):
        value = getattr(score, name)
        row[name] = row.get(name) if value is None else value
    if second in answer.scores:
        row["score_2"] = answer.scores[str(second)].value
    if row.get("score_2") is not None:
        row["score_2"] = _number(row["score_2"], item)
    return {name: _cell(value) for name, value in row.items()}


def _number(value: Any, item: str | None) -> float | None:
    try:
        return number(value)
    except ValueError as error:
        raise ValueError(f"item {item}: {error}") from None


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else text(value)


def _on_scale(
    scores: "pd.Series[Any]", routes: "pd.Series[Any]", scale: float | None
) -> "pd.Series[Any]":
    values = pd.to_numeric(scores).astype(float)
    if scale is not None:
        if not scale > 0:
            raise ValueError(f"scale {scale:g}: give the highest score, above 0")
        return values / scale
    beyond = values[(values < 0) | (values > 1)]
    if len(beyond):
        names = list(dict.fromkeys(routes[beyond.index].astype(str)))
        raise ValueError(
            f"scores of {listed(names[:3])} run from {values.min():g} to {values.max():g}, not 0 "
            "to 1: declare the highest score as the scale (100 for percent, 1 to leave them), or "
            "take other routes"
        )
    return values
