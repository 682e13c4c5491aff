"""What makes two items one: the hash of an item's prompt, reference and choices.

It is the same whichever tool wrote the item down, so that answers to it pair: a prompt is its
messages, of which role and text count, and one of a single text is the user's; a reference is its
text, whether it was a number or the only one of a list. What a template, a system message or a
context adds is of the run and not of the item.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


def item_hash(prompt: Any, reference: Any = None, choices: Any = None) -> str | None:
    """The SHA-256 of an item, by which an evaluation pairs items; None without a prompt.

    prompt: a text, messages of role and content, or either as JSON text. reference: what is right;
    null, or empty, until it is known. choices: answers offered, in order, or by letter.

    >>> item_hash("2 + 2?", 4) == item_hash([{"role": "user", "content": "2 + 2?"}], ["4"])
    True
    >>> item_hash("2 + 2?", 4) == item_hash("2 + 2?", 5)
    False
    >>> item_hash("Which?", "B", ["4", "5"]) == item_hash("Which?", "B", {"A": 4, "B": 6})
    False
    """
    messages = _messages(prompt)
    if messages is None:
        return None
    offered = choices.values() if isinstance(choices, Mapping) else choices or ()
    return sha256_of([messages, _text(reference), [_text(each) for each in offered]])


def sha256_of(value: Any) -> str:
    """The SHA-256 of a value of JSON, the same whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _messages(prompt: Any) -> list[Any] | None:
    """Role and text of each message."""
    value = prompt
    if isinstance(prompt, str) and prompt.lstrip().startswith("[{"):
        with suppress(ValueError, RecursionError):
            value = json.loads(prompt)
    messages = value if isinstance(value, list | tuple) else []
    if messages and all(isinstance(m, Mapping) and "content" in m for m in messages):
        return [[message.get("role"), _content(message["content"])] for message in messages]
    text = _text(prompt)
    return None if text is None else [["user", text]]


def _content(content: Any) -> Any:
    """The text of a message; parts of another kind, such as pictures, as they are."""
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    given = [text for text in texts if isinstance(text, str)]
    return "\n".join(given) if len(given) == len(texts) else content


def _text(value: Any) -> str | None:
    """A value as text: a number as it is written, the only one of a list, others as JSON."""
    if isinstance(value, list | tuple) and len(value) == 1:
        return _text(value[0])
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None if value != value else value
    if value is None or value == "" or value == [] or value == {}:
        return None
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
