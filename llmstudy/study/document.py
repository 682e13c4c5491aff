"""Reads YAML with its line numbers, before it is checked as a study.

YAML allows more than a study needs: objects by tag, values that contain themselves, names with a
line break, control characters. Those are errors with their line. What is left is text, whole
numbers, decimals, yes and no, lists, and mappings whose keys are text as it was written. A line
break or a tab inside a value becomes a space, as YAML itself folds plain text.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scalarbool import ScalarBoolean
from ruamel.yaml.tag import Tag

from llmstudy.text import excerpt, unshowable

MOST_BYTES, MOST_VALUES, DEEPEST, MOST_DIGITS = 1_000_000, 100_000, 30, 50
"""Limits far beyond any study: forty workloads on twelve routes take 70 kB and 5,000 values."""


class DocumentError(ValueError):
    """Something that a study file must not contain. line: from 1."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line


def read(file: Path) -> Any:
    """The document in a YAML file, in ruamel's types, which know their lines.

    Raises: DocumentError; OSError if the file cannot be read.
    """
    if (size := file.stat().st_size) > MOST_BYTES:
        raise DocumentError(
            1,
            f"the file has {size / 1e6:,.1f} MB, but a study has at most {MOST_BYTES / 1e6:g} MB.",
        )
    raw = file.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DocumentError(
            line, f"byte {error.start:,} is not UTF-8 text: save the file as UTF-8."
        ) from None
    return _document(text)


def _document(text: str) -> Any:
    yaml = YAML(typ="rt")
    yaml.Composer, yaml.max_depth = _Composer, DEEPEST
    try:
        return yaml.load(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = (
            f"{ord(error.character):#x}"
            if isinstance(error.character, str)
            else (f"{error.character:#x}")
        )
        raise DocumentError(
            line, f"the character {character} is not allowed in YAML: remove it."
        ) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise DocumentError(mark.line + 1 if mark else 1, _problem(error)) from None


def parsed(assignments: Iterable[str]) -> dict[str, Any]:
    """A mapping from assignments `path=value`, each value read as in a study file.

    Raises: ValueError for text that is not an assignment.

    >>> parsed(["workloads.chat.growth=6 %/month", "routes.h200.tensor_parallel=4"])
    {'workloads.chat.growth': '6 %/month', 'routes.h200.tensor_parallel': 4}
    """
    values = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not (equals and path.strip() and text.strip()):
            raise ValueError(f"{excerpt(assignment)} sets nothing: write path=value.")
        values[path.strip()] = _value(text, path)
    return values


def mapping(text: str) -> dict[str, Any]:
    """A mapping of paths to values from YAML or JSON; an empty text gives an empty one.

    Raises: ValueError for text that is not a mapping.

    >>> mapping('{"workloads.chat.growth": "6 %/month"}')
    {'workloads.chat.growth': '6 %/month'}
    """
    values = _value(text, "overrides") if text.strip() else {}
    if not isinstance(values, dict):
        raise ValueError(f"overrides is {excerpt(text)}: write a mapping, {{path: value}}.")
    return values


def _value(text: str, what: str) -> Any:
    """The value of a YAML text. Raises: ValueError that begins with `what`."""
    try:
        return plain(_document(text))
    except DocumentError as error:
        raise ValueError(f"{what}: {error}") from None


def _problem(error: MarkedYAMLError) -> str:
    problem = str(error.problem)
    if isinstance(error, DuplicateKeyError):
        key = re.search(r'duplicate key "(.*?)"', problem)
        return f"the key {excerpt(key[1]) if key else ''} is there twice: keep one of the two."
    if "maximum depth" in problem:
        return f"lists and mappings are nested more than {DEEPEST} deep: a study needs ten levels."
    if "another document" in problem:
        return (
            "a second document begins here: a study is one document, so remove the line of dashes."
        )
    return f"{excerpt(problem, 150)} (not valid YAML)."


class _Composer(Composer):
    """Refuses what a study must not contain, with its line, and reads dates and keys as text."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.warn_double_anchors = False

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        line = event.start_mark.line + 1
        tag = getattr(event, "ctag", None)
        if tag is not None and str(tag) != "!":
            raise DocumentError(
                line, f"the tag {excerpt(str(tag))} has no meaning in a study: remove it."
            )
        node = super().compose_node(parent, index)
        is_key = isinstance(parent, MappingNode) and index is None
        if is_key and not isinstance(node, ScalarNode):
            raise DocumentError(line, "a key must be a name: if this is one, put it in quotes.")
        if isinstance(node, ScalarNode):
            _check_text(node, line, is_key)
        return node


_STR = Tag(suffix="tag:yaml.org,2002:str")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_BREAK = re.compile(r"\s*[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")


def _check_text(node: ScalarNode, line: int, is_key: bool) -> None:
    """Refuses text that cannot be shown, and makes a date or a key plain text."""
    kind = str(node.ctag)
    if kind in _NUMBERS and len(node.value) > MOST_DIGITS:
        raise DocumentError(
            line,
            f"{excerpt(node.value, 20)} is a number of {len(node.value):,} characters: "
            "write it as 1.5e6.",
        )
    if (is_key and kind != "tag:yaml.org,2002:merge") or kind == "tag:yaml.org,2002:timestamp":
        node.ctag = _STR
    if is_key and _BREAK.search(node.value):
        raise DocumentError(
            line,
            f"the name {excerpt(repr(node.value))} has a line break or a tab: write it on one "
            "line.",
        )
    text = _BREAK.sub(" ", node.value)
    # JSON escapes a character beyond U+FFFF as a surrogate pair
    node.value = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    for character in node.value:
        if unshowable(character):
            raise DocumentError(
                line,
                f"{excerpt(ascii(node.value))} has the character U+{ord(character):04X}, "
                "which cannot be shown: remove it.",
            )


def plain(document: Any) -> Any:
    """The document in Python's own types, which pydantic checks strictly.

    Raises: DocumentError if aliases make it too large or a value contains itself.
    """
    return _plain(document, count(1), 1)


def _plain(node: Any, values: Iterator[int], depth: int) -> Any:
    if next(values) > MOST_VALUES or depth > DEEPEST:
        line = node.lc.line + 1 if hasattr(node, "lc") else 1
        raise DocumentError(
            line,
            "its aliases (such as *name) repeat one another or themselves without end: write out "
            "the values they stand for.",
        )
    if isinstance(node, Mapping):
        return {str(key): _plain(value, values, depth + 1) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value, values, depth + 1) for value in node]
    if isinstance(node, ScalarBoolean):  # a bool with an anchor, which ruamel reads as an int
        return bool(node)
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node
