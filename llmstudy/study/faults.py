"""Turns an error of validation into a sentence: what is wrong, and how to correct it."""

from collections.abc import Sequence
from typing import Any, Final, get_args

from llmstudy.study.schema import ArmName
from llmstudy.text import excerpt

BETWEEN_BLOCKS: Final = "between_blocks"
"""Type of a pydantic error that a rule between blocks raises: its message is a whole sentence."""


class StudyError(ValueError):
    """A study that cannot be used: one sentence per fault, with file and line where known."""


def sentence(fault: Any) -> tuple[Sequence[Any], str]:
    """The keys of the file at which a pydantic error stands, and the error as a sentence."""
    keys = _keys(fault["loc"])
    return keys, fault["msg"] if fault["type"] == BETWEEN_BLOCKS else _wrong(keys, fault)


_ARMS = get_args(ArmName)


def _keys(location: Sequence[Any]) -> list[Any]:
    """The keys of the file that lead to an error.

    pydantic adds two keys: `[key]` where the key itself is wrong, and a route's arm, by which it
    chose the route's class.
    """
    keys = [key for key in location if key != "[key]"]
    if keys[0] == "routes" and len(keys) > 2 and keys[2] in _ARMS:
        del keys[2]
    return keys


_QUESTIONS = {
    "requests": "how many requests a month?",
    "input_tokens": "how many input tokens does a request have?",
    "output_tokens": "how many output tokens does an answer have?",
    "ttft_p95": "what is the target for the p95 time to first token?",
    "data_class": "how sensitive is the data?",
    "peak_to_mean": "how many times the mean load is that of the peak hour?",
    "context_tokens": "how many tokens of context are needed?",
    "gpu_platform": "do you already run Kubernetes with GPUs?",
}
"""Intake questions, each of which may be answered `unknown`."""


_KINDS = {
    "string": "text: put it in quotes",
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "dict": "a mapping: write `key: value` lines below it",
    "model": "a mapping: write `key: value` lines below it",
    "tuple": "a list: write `- ` before each of its entries",
}
"""First word of pydantic's error type -> what the value must be."""


def _wrong(keys: Sequence[Any], fault: Any) -> str:
    """What is wrong with the value at these keys, and how to correct it."""
    name = ".".join(excerpt(str(key)) if str(key).strip() else f'"{key}"' for key in keys)
    value, context, kind = fault["input"], fault.get("ctx", {}), fault["type"]
    text = _value_text(value)
    arms = ", ".join(map(repr, _ARMS))
    match kind:
        case "value_error":
            return f"{name} {fault['msg'].removeprefix('Value error, ')}"
        case "missing" if keys[0] == "workloads" and keys[-1] in _QUESTIONS:
            return f"{name} is missing: {_QUESTIONS[keys[-1]]} Answer it, or write unknown."
        case "missing":
            return f"{name} is missing: add it."
        case "extra_forbidden":
            return f"{name} is not a key of a study: remove or correct it."
        case "literal_error" if fault["loc"][-1] == "[key]":
            return f"{name} is not a key of a study: use one of {context['expected']}."
        case "literal_error":
            return f"{name} is {text}, but must be one of {context['expected']}."
        case "greater_than_equal":
            return f"{name} is {text}, but must be {context['ge']} or more."
        case "greater_than":
            return f"{name} is {text}, but must be more than {context['gt']:g}."
        case "less_than_equal":
            return f"{name} is {text}, but must be {context['le']} or less."
        case "less_than":
            return f"{name} is {text}, but must be less than {context['lt']}."
        case "string_too_long":
            return (
                f"{name} has {len(value):,} characters, but at most {context['max_length']} have "
                "room: shorten it."
            )
        case "too_long":
            return (
                f"{name} has {context['actual_length']} entries, but must have "
                f"{context['max_length']}."
            )
        case "union_tag_invalid":
            return f"{name}.arm is {excerpt(repr(context['tag']))}, but must be one of {arms}."
        case "union_tag_not_found" | "model_attributes_type":
            return f"{name}.arm is missing: add one of {arms}."
        case _:
            must = _KINDS.get(kind.partition("_")[0], fault["msg"])
            return f"{name} is {text}, but must be {must}."


def _value_text(value: Any) -> str:
    """A value as its author wrote it."""
    if value is None or isinstance(value, bool):
        return "empty" if value is None else str(value).lower()
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return excerpt(repr(value))
