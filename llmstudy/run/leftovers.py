"""Removes the folders that killed runs have left behind, which their locks tell.

The operating system releases a lock when its process ends, for whatever reason: a folder whose lock
can be acquired belongs to a dead run. On systems without such locks (Windows), nothing is removed.
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
"""Longest name of a temporary folder: a socket's path may have 107 bytes, and ours need the
rest."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Marks a folder as in use within the block."""
    with (folder / _LOCK).open("w") as lock:
        if fcntl:
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            (folder / _LOCK).unlink(missing_ok=True)


def clear(parent: Path, pattern: str) -> None:
    """Removes the folders of dead runs in parent whose name matches the pattern."""
    for lock in parent.glob(f"{pattern}/{_LOCK}") if fcntl else ():
        try:
            with lock.open("w") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:  # it is in use, or belongs to another user
            continue


def short_temporary_folder() -> None:
    """Makes this process and its children use /tmp if TMPDIR is too long for a socket's path."""
    if len(os.fsencode(tempfile.gettempdir())) > SOCKET_BYTES and os.access("/tmp", os.W_OK):
        os.environ["TMPDIR"] = tempfile.tempdir = "/tmp"
