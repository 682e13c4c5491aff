"""How is a study written down in full, so that a later run can be compared with it?

A study file names bundled figures and takes defaults, both of which change with the package. What
is kept holds every figure with its range, source and date, and the log's own where there is one.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llmstudy import canonical
from llmstudy.figure import Figure
from llmstudy.study.schema import Study


def kept(study: Study) -> dict[str, Any]:
    """A study as JSON holds it. Of the paths to logs and probes only the names: they are handed on.

    >>> from llmstudy import paths
    >>> from llmstudy.study import load
    >>> study = load(paths.params("default.yaml"))
    >>> kept(study)["horizon"]["value"], restored(kept(study)) == study
    (24.0, True)
    """
    plain: dict[str, Any] = canonical.plain(_named_only(study.model_dump()))
    return plain


def restored(plain: Mapping[str, Any]) -> Study:
    """The study that `kept` wrote down.

    Raises: ValueError if this version of the package does not know its keys.
    """
    try:
        return Study.model_validate(with_figures(plain))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ValueError(
            f"the study that was kept has another form at {where or 'its root'}: it was written by "
            "another version of llmstudy; run it again."
        ) from None


def _named_only(node: Any) -> Any:
    if isinstance(node, Path):
        return node.name
    if isinstance(node, Mapping):
        return {key: _named_only(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_named_only(value) for value in node]
    return node


_FIGURE = {field.name for field in fields(Figure)}


def with_figures(node: Any) -> Any:
    """A study's values with a `Figure` wherever a mapping has the keys of one."""
    if isinstance(node, Mapping):
        if set(node) == _FIGURE:
            days = {key: _day(node[key]) for key in ("as_of", "expires")}
            return Figure(**{**node, **days})
        return {key: with_figures(value) for key, value in node.items()}
    return [with_figures(value) for value in node] if isinstance(node, list) else node


def _day(given: str | date | None) -> date | None:
    return date.fromisoformat(given) if isinstance(given, str) else given
