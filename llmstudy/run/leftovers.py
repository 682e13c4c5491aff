"""Which folders did a run that was killed leave behind? Each contains a lock.

The system frees a lock when the process that holds it ends, however it ends: a folder whose lock
can be taken is a dead run's. Where there are no such locks (Windows), nothing is removed.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LOCK = ".lock"
SOCKET_BYTES = 60
"""Of a temporary folder's name: a socket's whole path may have 107, and ours need the rest."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Marks a folder as alive for the time of the block; the mark is gone at its end."""
    with (folder / _LOCK).open("w") as lock:
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            (folder / _LOCK).unlink(missing_ok=True)


def clear(parent: Path, pattern: str) -> None:
    """Removes the folders of dead runs among those in `parent` whose name has the pattern."""
    for lock in parent.glob(f"{pattern}/{_LOCK}") if fcntl else ():
        try:
            with lock.open("w") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:  # it is alive, or somebody else's
            continue


def short_temporary_folder() -> None:
    """Lets this process and its children use /tmp where TMPDIR is too long for a socket's path."""
    if len(os.fsencode(tempfile.gettempdir())) > SOCKET_BYTES and os.access("/tmp", os.W_OK):
        os.environ["TMPDIR"] = tempfile.tempdir = "/tmp"
