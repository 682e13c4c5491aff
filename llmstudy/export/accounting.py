"""What became of a request, judged by the content of its answer and never by its status.

A gateway may answer with status 200 and an ending that it made up, although the upstream broke off.
"""

import re
from dataclasses import dataclass
from typing import Literal

from llmstudy.export.upstreams import TOKENS

Verdict = Literal["answered", "truncated", "failed"]

_TOKEN = re.compile(r"(\S+)#(\d+)(?:\s|$)")


@dataclass(frozen=True)
class Reply:
    """What a client got for one request.

    content: the text of the answer. error: the gateway said, by its status or in the stream, that
    something failed. ended: the answer came to an end in the protocol's own way (`[DONE]`, or a
    whole JSON document). first_s: until the first text of a stream; None where none came.
    """

    content: str
    error: bool
    ended: bool
    first_s: float | None
    whole_s: float

    @property
    def verdict(self) -> Verdict:
        """`answered`: all tokens of one upstream, in order, and an end without an error.
        `failed`: nothing came, and the client can tell. `truncated`: anything between.

        >>> whole = " ".join(f"api-a#{i}" for i in range(1, 21))
        >>> Reply(whole, error=False, ended=True, first_s=0.1, whole_s=0.2).verdict
        'answered'
        >>> Reply("api-a#1 api-a#2", error=False, ended=True, first_s=0.1, whole_s=0.2).verdict
        'truncated'
        """
        if self._whole and self.ended and not self.error:
            return "answered"
        return "truncated" if self.content or self.silent else "failed"

    @property
    def silent(self) -> bool:
        """Whether nothing but its content tells the client that the answer is not whole."""
        return self.ended and not self.error and not self._whole

    @property
    def answered_by(self) -> str | None:
        """The upstream whose tokens came; None if none did, or those of several."""
        return next(iter(self._names)) if len(self._names) == 1 else None

    @property
    def failover_s(self) -> float:
        """How long the client waited: for the first text of a stream, else for the whole answer."""
        return self.whole_s if self.first_s is None else self.first_s

    @property
    def _whole(self) -> bool:
        numbers = [int(n) for _, n in _TOKEN.findall(self.content)]
        return numbers == list(range(1, TOKENS + 1)) and len(self._names) == 1

    @property
    def _names(self) -> set[str]:
        return {name for name, _ in _TOKEN.findall(self.content)}
