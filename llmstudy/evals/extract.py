"""The answer within a text of a model: JSON, after a marker such as "Answer:", or all of it."""

import json
import re
import unicodedata
from typing import Any, NamedTuple

_MARKER = re.compile(
    r"\\boxed\s*\{(?P<box>(?:[^{}]|\{[^{}]*\})*)\}"
    r"|(?:^|\n)\s*\#{4}[ \t]*(?P<hash>[^\n]+)"
    r"|\b(?:(?:final|correct|right|best|my)\s+)*(?:answer|label|result|choice|option)\b"
    r"[*_`\"']*\s*(?:\bis\b|[:=])(?!\s*not\b)[*_`\"' \t:]*(?=(?P<line>\n?[^\n]{1,5000}))",
    re.I,
)
"""What marks an answer within a text. Sources: MATH (boxed), GSM8K (####), prompts in use."""

_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}")

_ANSWER_KEYS = ("answer", "final_answer", "label", "choice", "option", "result", "value", "output")


class Extract(NamedTuple):
    """An answer within a text, and whether the text marks it as its answer."""

    text: str
    marked: bool


def extract(text: str) -> Extract:
    r"""The answer within a text: a JSON value, else what its last marker marks, else all of it.

    >>> extract('```json\n{"answer": "refund"}\n```'), extract("2 + 2 = 4.\nThe answer is **4**")
    (Extract(text='refund', marked=True), Extract(text='4', marked=True))
    """
    value = json_value(text)
    if isinstance(value, dict):
        keys = {str(key).casefold(): key for key in value}
        key = next((keys[name] for name in _ANSWER_KEYS if name in keys), None)
        if key is None and len(value) == 1:
            key = next(iter(value))
        if key is not None and isinstance(value[key], str | int | float):
            return Extract(str(value[key]).strip(), True)
    elif isinstance(value, str):
        return Extract(value.strip(), True)
    if marks := list(_MARKER.finditer(text)):
        last = marks[-1]
        marked = last["box"] or last["hash"] or last["line"] or ""
        return Extract(bare(_LATEX_TEXT.sub(r"\1", marked)), True)
    return Extract(text.strip(), False)


def json_value(text: str) -> Any:
    r"""The JSON value that a text is, or that its last fenced block is; None if neither.

    >>> json_value('Here:\n```json\n{"a": 1}\n```\n'), json_value("nothing"), json_value("NaN")
    ({'a': 1}, None, None)
    """
    for candidate in (text, *reversed(_FENCED.findall(text))):
        try:
            return json.loads(candidate.strip(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            continue
    return None


_FENCED = re.compile(r"```[A-Za-z]*[ \t]*\n(.*?)```", re.S)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def bare(text: str) -> str:
    """A text without the emphasis and quotes around it."""
    return text.strip().strip("*_`\"'").strip()


def normalised(text: str) -> str:
    """A text by which equal answers are equal: case, spacing, quotes and the end's stop apart.

    >>> normalised(" **Partial  Refund.** ") == normalised("partial refund")
    True
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub(r"[‘’]", "'", re.sub(r"[“”]", '"', text))
    text = re.sub(r"\s+", " ", text).strip()
    return text.strip("*_`\"' ").rstrip(".!").strip("*_`\"' ")
