"""What a route is sent for an item: its messages, or those that a template makes of them.

A template is a text in which `{input}`, `{context}` and `{choices}` stand for the item's own. Its
version is the hash of its text: answers to two versions are answers to two prompts.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FIELDS = ("input", "context", "choices")
"""Fields of an item that a template may name."""

_FIELD = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Prompt:
    """A template of the last user message, and a system message in place of the item's.

    Raises: ValueError for a template without `{input}`, and for a field that is none.

    >>> item = {"item_id": 1, "prompt": "Where is my parcel?"}
    >>> Prompt('Classify: {input}\\nAnswer as {"label": ...}').messages(item)[0]["content"]
    'Classify: Where is my parcel?\\nAnswer as {"label": ...}'
    """

    template: str = "{input}"
    system: str | None = None

    def __post_init__(self) -> None:
        """Refuse a template that leaves the item out, or names what no item has."""
        names = _FIELD.findall(self.template)
        if unknown := [name for name in names if name not in FIELDS]:
            raise ValueError(
                f"the prompt names {{{unknown[0]}}}, which no item has: write "
                f"{', '.join(f'{{{name}}}' for name in FIELDS)}"
            )
        if "input" not in names:
            raise ValueError("the prompt has no {input}: write it where the item's text belongs")

    @property
    def version(self) -> str:
        """The first 12 digits of the SHA-256 of the template and the system message."""
        text = json.dumps([self.template, self.system])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def messages(self, item: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The messages for an item.

        Raises: ValueError for an item without `messages` or `prompt`, without a field of the
        template, and for messages that are none.
        """
        messages = item_messages(item)
        if self.template != "{input}":
            last = messages[-1]
            if last.get("role") != "user" or not isinstance(last.get("content"), str):
                raise ValueError(
                    f"item {item['item_id']}: its last message is not a user's text, which the "
                    "template needs: leave the template out, or the item"
                )
            messages[-1] = {**last, "content": self._filled(item, last["content"])}
        if self.system is not None:
            others = [each for each in messages if each["role"] not in ("system", "developer")]
            messages = [{"role": "system", "content": self.system}, *others]
        return messages

    def _filled(self, item: Mapping[str, Any], text: str) -> str:
        def value(match: re.Match[str]) -> str:
            if match[1] == "input":
                return text
            given = item.get(match[1])
            if not given:
                raise ValueError(
                    f"item {item['item_id']} has no {match[1]}, which the prompt names"
                )
            return _lines(given)

        return _FIELD.sub(value, self.template)


def item_messages(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An item's messages, or its `prompt` as the only one. Raises: ValueError if it has neither.

    >>> item_messages({"item_id": 1, "prompt": "2 + 2?"})
    [{'role': 'user', 'content': '2 + 2?'}]
    """
    given = item.get("messages")
    if given is None and isinstance(item.get("prompt"), str) and item["prompt"]:
        return [{"role": "user", "content": item["prompt"]}]
    if (
        not isinstance(given, Sequence)
        or isinstance(given, str)
        or not given
        or not all(isinstance(m, Mapping) and m.get("role") and "content" in m for m in given)
    ):
        raise ValueError(
            f"item {item.get('item_id')}: give `messages`, a list of {{role, content}}, or a "
            "`prompt`, a text"
        )
    return [dict(message) for message in given]


def _lines(value: Any) -> str:
    """The choices as lettered lines, the parts of a context as paragraphs, a text as it is."""
    if isinstance(value, Mapping):
        return "\n".join(f"{letter}. {text}" for letter, text in value.items())
    if not isinstance(value, list | tuple):
        return str(value)
    if any(isinstance(part, Mapping) for part in value):
        return "\n\n".join(f"[{part.get('id', '')}] {part.get('text', '')}" for part in value)
    return "\n".join(f"{chr(ord('A') + place)}. {text}" for place, text in enumerate(value))
