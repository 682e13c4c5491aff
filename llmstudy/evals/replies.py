"""The replies of an evaluation on disk, each as soon as it has come.

A JSON Lines file to which finished replies are appended, so that the death of the process loses
none and a rerun pays for none again. Replies are looked up by the hash of all that they depend on:
with another scorer, more items or a further route, the same file answers what it can.
"""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from llmstudy.evals.calls import Reply

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


class Replies:
    """The replies in a file. `opened` makes one."""

    def __init__(self, stream: Any, replies: list[Reply]) -> None:
        self._stream, self._lock = stream, threading.Lock()
        self._answers: dict[str, Reply] = {}
        self._failures: dict[str, Reply] = {}
        self.spent_usd = 0.0
        """What all replies in the file have cost, failures included."""
        for reply in replies:
            self._take(reply)

    def get(self, key: str) -> Reply | None:
        """The answer to a call, None where there is none but failures."""
        return self._answers.get(key)

    def last(self, key: str) -> Reply | None:
        """The answer to a call, else its last failure."""
        return self._answers.get(key) or self._failures.get(key)

    def add(self, reply: Reply) -> None:
        """Appends a reply, which then survives the death of this machine."""
        line = json.dumps(asdict(reply), ensure_ascii=False, allow_nan=False) + "\n"
        with self._lock:
            self._stream.write(line.encode())
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._take(reply)

    def _take(self, reply: Reply) -> None:
        self.spent_usd += reply.cost_usd
        (self._answers if reply.error is None else self._failures)[reply.key] = reply


@contextmanager
def opened(file: Path) -> Iterator[Replies]:
    """Opens a file of replies to read and to append; a last line cut short by a kill is removed.

    Raises: ValueError that names a line that is no reply, and a file that another run is writing.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab+") as stream:
        if fcntl:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ValueError(
                    f"{file} is being written by another run: wait for its end, or name another "
                    "--out"
                ) from None
        stream.seek(0)
        text = stream.read()
        whole = text[: text.rfind(b"\n") + 1]
        replies = list(_read(file, whole))
        if whole != text:
            stream.truncate(len(whole))
        yield Replies(stream, replies)


def _read(file: Path, text: bytes) -> Iterator[Reply]:
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            yield Reply(**json.loads(line))
        except (ValueError, TypeError) as error:
            keys = ", ".join(field.name for field in fields(Reply))
            raise ValueError(
                f"{file}:{number} is not a reply ({error}): its keys must be of {keys}; move the "
                "file away to begin anew"
            ) from error
