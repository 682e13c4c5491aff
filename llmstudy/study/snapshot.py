"""How is a study saved in full, so that a later run can be compared or mixed with it?

A study file names bundled figures and takes defaults, both of which change with the package. A
snapshot holds every figure with its range, source and date, and the log's own where there is one.

Two studies can be mixed, input by input. An input is the smallest part that can change alone: one
figure or answer; a route as a whole; which routes a workload names and what evidence it has on
them; and all that the log says of a workload. What bears on no amount is no input.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llmstudy import io
from llmstudy.figure import Figure
from llmstudy.study.figures import with_figures
from llmstudy.study.study import Study


def to_json(study: Study) -> dict[str, Any]:
    """A study as JSON holds it; of the paths to logs and probes the names only, as it is passed on.

    >>> from llmstudy import paths
    >>> from llmstudy.study import load
    >>> study = load(paths.params("default.yaml"))
    >>> to_json(study)["horizon"]["value"], from_json(to_json(study)) == study
    (24.0, True)
    """
    plain: dict[str, Any] = io.plain(_named_only(study.model_dump()))
    return plain


def from_json(plain: Mapping[str, Any]) -> Study:
    """The study that `to_json` wrote down.

    Raises: ValueError if this version of the package does not know its keys.
    """
    try:
        return Study.model_validate(with_figures(plain))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ValueError(
            f"the saved study has another form at {where or 'its root'}: it was written by "
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


InputPath = tuple[str, ...]

Leaf = Any
"""A figure, a text, number, date or None, or a list of such."""

_NO_NUMBER = {"study", "question", "company", "owner", "decider", "status", "decide_by"}
_NO_NUMBER |= {"version", "decided_on", "superseded_by", "requests", "invoices"}
_NO_NUMBER |= {"overrides"}
"""Blocks that bear on no amount. The log's figures stand in the study already."""


def leaves(study: Study) -> dict[InputPath, Leaf]:
    """Every value of a study by the keys that lead to it, but for what bears on no amount."""
    leaf_of = _leaves(with_figures(study.model_dump()))
    return {path: leaf for path, leaf in leaf_of.items() if path[0] not in _NO_NUMBER}


def changed_inputs(then: Study, now: Study) -> list[str]:
    """The inputs in which two studies differ, in the order of the file.

    A figure has changed where its distribution has, or its grade: not for another source or date. A
    route that one of them lacks is no input of its own: a workload names it.
    """
    before, after = leaves(then), leaves(now)
    common = set(then.routes) & set(now.routes)
    changes = [
        _input(path, before, after)
        for path in dict.fromkeys([*after, *before])
        if _essence(before.get(path, _ABSENT)) != _essence(after.get(path, _ABSENT))
        and (path[0] != "routes" or path[1] in common)
    ]
    return list(dict.fromkeys(changes))


def blended(then: Study, now: Study, chosen: frozenset[str]) -> Study:
    """The first study with the chosen inputs from the second. chosen: of `changed_inputs`.

    It names no log, and no figure in it expires: neither bears on an amount.
    """
    before, after = leaves(then), leaves(now)
    tree: dict[str, Any] = then.model_dump(include=_NO_NUMBER - {"requests", "invoices"})
    tree["workloads"] = {}
    for path in dict.fromkeys([*after, *before]):
        source = after if _input(path, before, after) in chosen else before
        if path[0] == "routes" and path[1] not in (then.routes if source is before else now.routes):
            source = after if source is before else before  # no workload names it: no amount moves
        if path in source:
            _put(tree, path, source[path])
    return Study.model_validate(tree)


_ABSENT = object()


def _leaves(node: Any, path: InputPath = ()) -> dict[InputPath, Leaf]:
    if not isinstance(node, Mapping):
        return {path: node}
    leaf_of: dict[InputPath, Leaf] = {}
    for key, value in node.items():
        leaf_of |= _leaves(value, (*path, key))
    return leaf_of


def _input(
    path: InputPath, before: Mapping[InputPath, Leaf], after: Mapping[InputPath, Leaf]
) -> str:
    """The input that a value belongs to."""
    if path[0] == "routes":
        return ".".join(path[:2])
    if path[0] == "workloads":
        name = path[1]
        if any((*path[:2], "task") not in each for each in (before, after)):
            return ".".join(path[:2])  # only one of the studies has it
        if path[2] in ("current_route", "candidates") or path[2:4] == ("quality", "evidence"):
            return f"workloads.{name}.routes"
        if any(_logged(each.get(path)) for each in (before, after)):
            return f"the log of {name}"
    # a block that only one of them fills stands there as a whole
    shorter = [path[:k] for k in range(1, len(path)) if path[:k] in before or path[:k] in after]
    return ".".join(shorter[0] if shorter else path)


def _logged(leaf: Leaf) -> bool:
    return isinstance(leaf, Figure) and leaf.source.startswith("log:")


def _essence(leaf: Leaf) -> Any:
    if isinstance(leaf, Figure):
        return replace(leaf, source="", as_of=None, expires=None)
    return leaf


def _put(tree: dict[str, Any], path: InputPath, leaf: Leaf) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = replace(leaf, expires=None) if isinstance(leaf, Figure) else leaf
