"""Saves a study in full, so that a later run can be compared with it, input by input.

A study file names bundled figures and takes defaults, both of which change with the package. A
snapshot holds every figure with its range, source and date, and those measured in the log.

To attribute a change of the answer, two studies are mixed. An input is the smallest part that can
change alone: one figure or answer; a route as a whole; the routes that a workload names with its
evidence on them; and all figures of a workload that come from the log. Fields that change no amount
are not inputs.
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
    """A study as JSON values. Of the paths to logs and probes only the file names: it is shared.

    >>> from llmstudy import paths
    >>> from llmstudy.study import load
    >>> study = load(paths.params("default.yaml"))
    >>> to_json(study)["horizon"]["value"], from_json(to_json(study)) == study
    (24.0, True)
    """
    absent = set() if study.gateway.models else {"gateway"}
    plain: dict[str, Any] = io.plain(_named_only(study.model_dump(exclude=absent)))
    return plain


def from_json(plain: Mapping[str, Any]) -> Study:
    """The study that `to_json` gave.

    Raises: ValueError if it was saved by a version of the package with other keys.
    """
    try:
        return Study.model_validate(with_figures(plain))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ValueError(
            f"the saved study has an unknown form at {where or 'its root'}: it was written by "
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
"""A figure, text, number, date or None, or a list of these."""

_CHANGES_NO_AMOUNT = {"study", "question", "company", "owner", "decider", "status", "decide_by"}
_CHANGES_NO_AMOUNT |= {"version", "decided_on", "superseded_by", "requests", "invoices"}
_CHANGES_NO_AMOUNT |= {"overrides", "gateway"}
"""Blocks that change no amount. The figures from the log are in the study already."""


def leaves(study: Study) -> dict[InputPath, Leaf]:
    """Every value of a study that may change an amount, by the keys that lead to it."""
    leaf_of = _leaves(with_figures(study.model_dump()))
    return {path: leaf for path, leaf in leaf_of.items() if path[0] not in _CHANGES_NO_AMOUNT}


def changed_inputs(then: Study, now: Study) -> list[str]:
    """The inputs in which two studies differ, in the order of the file.

    A figure has changed if its distribution or its grade has, not if only its source or date has. A
    route that only one of them has is part of the input of the workload that names it.
    """
    before, after = leaves(then), leaves(now)
    common = set(then.routes) & set(now.routes)
    changes = [
        _input(path, before, after)
        for path in dict.fromkeys([*after, *before])
        if _without_source(before.get(path, _ABSENT)) != _without_source(after.get(path, _ABSENT))
        and (path[0] != "routes" or path[1] in common)
    ]
    return list(dict.fromkeys(changes))


def blended(then: Study, now: Study, chosen: frozenset[str]) -> Study:
    """The first study with some inputs of the second. chosen: among `changed_inputs`.

    It has no log and its figures do not expire, since neither changes an amount.
    """
    before, after = leaves(then), leaves(now)
    tree: dict[str, Any] = then.model_dump(include=_CHANGES_NO_AMOUNT - {"requests", "invoices"})
    tree["workloads"] = {}
    for path in dict.fromkeys([*after, *before]):
        source = after if _input(path, before, after) in chosen else before
        if path[0] == "routes" and path[1] not in (then.routes if source is before else now.routes):
            source = (
                after if source is before else before
            )  # no workload names the route, so either study will do
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
        if any(_is_from_log(each.get(path)) for each in (before, after)):
            return f"the log of {name}"
    # a block that only one of the studies has is one input
    shorter = [path[:k] for k in range(1, len(path)) if path[:k] in before or path[:k] in after]
    return ".".join(shorter[0] if shorter else path)


def _is_from_log(leaf: Leaf) -> bool:
    return isinstance(leaf, Figure) and leaf.source.startswith("log:")


def _without_source(leaf: Leaf) -> Any:
    if isinstance(leaf, Figure):
        return replace(leaf, source="", as_of=None, expires=None)
    return leaf


def _put(tree: dict[str, Any], path: InputPath, leaf: Leaf) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = replace(leaf, expires=None) if isinstance(leaf, Figure) else leaf
