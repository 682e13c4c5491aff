"""What would a study be if only some of its inputs had changed? Two studies, mixed input by input.

An input is what may be changed alone and still leaves a study: one figure or answer; a route as a
whole; which routes a workload names and what evidence it has on them; and all that the log says of
a workload, which changes together. What no number rests on is no input.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmstudy.figure import Figure
from llmstudy.study.kept import with_figures
from llmstudy.study.schema import Study

Path = tuple[str, ...]

Leaf = Any
"""A figure, a text, number, date or None, or a list of such."""

_NO_NUMBER = {"study", "question", "company", "owner", "decider", "status", "decide_by"}
_NO_NUMBER |= {"version", "decided_on", "superseded_by", "requests", "invoices"}
"""Blocks that bear on no amount. The log's figures stand in the study already."""


def leaves(study: Study) -> dict[Path, Leaf]:
    """Every value of a study by the keys that lead to it, but for what bears on no amount."""
    found = _leaves(with_figures(study.model_dump()))
    return {path: leaf for path, leaf in found.items() if path[0] not in _NO_NUMBER}


def changed_inputs(then: Study, now: Study) -> list[str]:
    """The inputs in which two studies differ, in the order of the file.

    A figure has changed where its distribution has, or its grade: not for another source or date. A
    route that one of them lacks is no input of its own: a workload names it.
    """
    before, after = leaves(then), leaves(now)
    common = set(then.routes) & set(now.routes)
    found = [
        _input(path, before, after)
        for path in dict.fromkeys([*after, *before])
        if _essence(before.get(path, _ABSENT)) != _essence(after.get(path, _ABSENT))
        and (path[0] != "routes" or path[1] in common)
    ]
    return list(dict.fromkeys(found))


def blended(then: Study, now: Study, taken: frozenset[str]) -> Study:
    """The first study with the named inputs taken from the second. taken: of `changed_inputs`.

    It names no log, and no figure in it expires: neither bears on an amount.
    """
    before, after = leaves(then), leaves(now)
    tree: dict[str, Any] = then.model_dump(include=_NO_NUMBER - {"requests", "invoices"})
    tree["workloads"] = {}
    for path in dict.fromkeys([*after, *before]):
        source = after if _input(path, before, after) in taken else before
        if path[0] == "routes" and path[1] not in (then.routes if source is before else now.routes):
            source = after if source is before else before  # unnamed, it bears on nothing
        if path in source:
            _put(tree, path, source[path])
    return Study.model_validate(tree)


_ABSENT = object()


def _leaves(node: Any, path: Path = ()) -> dict[Path, Leaf]:
    if not isinstance(node, Mapping):
        return {path: node}
    found: dict[Path, Leaf] = {}
    for key, value in node.items():
        found |= _leaves(value, (*path, key))
    return found


def _input(path: Path, before: Mapping[Path, Leaf], after: Mapping[Path, Leaf]) -> str:
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


def _put(tree: dict[str, Any], path: Path, leaf: Leaf) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = replace(leaf, expires=None) if isinstance(leaf, Figure) else leaf
