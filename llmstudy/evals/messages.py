"""What was asked, and what was answered? Plain messages from the bodies that providers log.

Chat Completions and Responses of OpenAI, Messages of Anthropic, Converse and InvokeModel of
Bedrock, generateContent of Gemini, spans of OpenTelemetry, inputs of Langfuse, and plain text.
"""

import json
from collections.abc import Mapping
from typing import Any

Message = dict[str, str]
"""role (system, user, assistant) and content."""


class UnfitError(ValueError):
    """A request that cannot be an item; its message is the reason."""


def messages_of(prompt: Any, system: Any = None) -> list[Message]:
    """The messages of a prompt, as a Chat Completions endpoint takes them.

    prompt: a body, its list of messages, or text; as JSON or parsed. system: a prompt beside it.
    Raises: UnfitError if there is no text, or not text alone: pictures, tools.

    >>> messages_of('{"system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}]}')
    [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hi'}]
    >>> messages_of({"contents": [{"parts": [{"text": "Hi"}]}]})
    [{'role': 'user', 'content': 'Hi'}]
    """
    body = _parsed(prompt)
    if isinstance(body, Mapping):
        if isinstance(inner := _parsed(body.get("body")), Mapping):
            return messages_of(inner, system)
        system = next((body[key] for key in _SYSTEM if body.get(key)), system)
        body = next((body[key] for key in _PROMPT if body.get(key)), _numbered(body))
        body = _parsed(body)
    if isinstance(body, Mapping):
        return messages_of(body, system) if "role" not in body else messages_of([body], system)
    if isinstance(body, str):
        body = [{"role": "user", "content": body}]
    if isinstance(body, list) and body and all(isinstance(each, str) for each in body):
        body = [{"role": "user", "content": "\n".join(body)}]
    if not isinstance(body, list) or not all(isinstance(each, Mapping) for each in body):
        raise UnfitError(NO_PROMPT)
    if all("role" not in each and "parts" not in each for each in body):
        body = [{"role": "user", "content": body}]
    messages = [message for each in body if (message := _message(each))["content"]]
    if text := _text(_parsed(system)):
        messages.insert(0, {"role": "system", "content": text})
    if not any(message["role"] == "user" for message in messages):
        raise UnfitError(NO_PROMPT)
    return messages


def answer_of(answer: Any) -> str | None:
    """The text of an answer; None where it is none, as of a call of a tool.

    answer: the body that an API returned, parts of it, or text; as JSON or parsed.

    >>> answer_of('{"choices": [{"message": {"content": "Hello"}}], "usage": {}}')
    'Hello'
    >>> answer_of([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}])
    'Hello'
    """
    try:
        return _answer(_parsed(answer)).strip() or None
    except UnfitError:
        return None


NO_PROMPT = "without a prompt"

_PROMPT = (
    *("messages", "gen_ai.input.messages", "contents", "input", "prompt", "inputText", "inputs"),
    *("text", "query", "question", "content"),
)
_SYSTEM = (
    *("system", "gen_ai.system_instructions", "systemInstruction", "system_instruction"),
    "instructions",
)
_ANSWER = (
    *("choices", "candidates", "gen_ai.output.messages", "output_text", "output", "message"),
    *("content", "parts", "completion", "generation", "results", "outputText", "delta", "text"),
    *("contentBlockDelta", "response", "body", "answer", "gen_ai.completion.0.content"),
)
_ROLES = {"developer": "system", "model": "assistant", "ai": "assistant", "human": "user"}
_REDACTED = ("redacted-by-litellm", "[REDACTED]", "REDACTED")
"""What a gateway writes where it is set to log no text."""

_SILENT = ("thinking", "redacted_thinking", "reasoning", "reasoningContent", "cachePoint")
_TOOLS = (
    *("tool_use", "tool_result", "tool_call", "tool_call_response", "toolUse", "toolResult"),
    *("function_call", "function_call_output", "functionCall", "functionResponse"),
)


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):  # else it is plain text
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _numbered(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Messages in attributes of a span, `gen_ai.prompt.0.content`."""
    messages: list[dict[str, Any]] = []
    while (content := body.get(f"gen_ai.prompt.{len(messages)}.content")) is not None:
        role = body.get(f"gen_ai.prompt.{len(messages)}.role", "user")
        messages.append({"role": role, "content": content})
    return messages


def _message(message: Mapping[str, Any]) -> Message:
    role = str(message.get("role", "user")).lower()
    if message.get("tool_calls") or role in ("tool", "function") or message.get("type") in _TOOLS:
        raise UnfitError("uses tools")
    content = message.get("content", message.get("parts"))
    return {"role": _ROLES.get(role, role), "content": _text(content)}


def _text(content: Any) -> str:
    """The text of a message's content. Raises: UnfitError if it is not of text alone."""
    if content is None or isinstance(content, str):
        return "" if content is None or content in _REDACTED else content
    if isinstance(content, list):
        return "".join(_text(part) for part in content)
    if not isinstance(content, Mapping):
        raise UnfitError("not of text alone")
    kinds = _kinds(content)
    if kinds & {*_SILENT}:
        return ""
    if kinds & {*_TOOLS}:
        raise UnfitError("uses tools")
    text = next((content[key] for key in ("text", "content", "parts") if key in content), 0)
    return _text(text)


def _kinds(part: Mapping[str, Any]) -> set[str]:
    """What a part says that it is: its type, or the names of what it has."""
    return {str(part.get("type")), *(str(name) for name, value in part.items() if value)}


def _answer(answer: Any) -> str:
    if isinstance(answer, list):
        if answer and isinstance(answer[0], Mapping) and {"message", "index"} & {*answer[0]}:
            return _answer(answer[0])  # of several choices the caller takes the first
        parts = [each for each in answer if not isinstance(each, Mapping) or _is_answer(each)]
        return "".join(map(_answer, parts[-1:] if _are_messages(parts) else parts))
    if not isinstance(answer, Mapping):
        return _text(answer)
    if _kinds(answer) & {*_SILENT, *_TOOLS}:
        return ""
    return next((_answer(_parsed(answer[key])) for key in _ANSWER if answer.get(key)), "")


def _are_messages(parts: list[Any]) -> bool:
    return bool(parts) and all(isinstance(part, Mapping) and "role" in part for part in parts)


def _is_answer(part: Mapping[str, Any]) -> bool:
    return _ROLES.get(str(part.get("role", "ai")).lower(), part.get("role")) == "assistant"
