"""The pinned environment in which the real gateway runs: never a dependency of this package.

It lies in the user's cache folder under the hash of its lock file, so that another lock is another
environment, and is made once: some 120 packages, 580 MB.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from llmstudy import io, paths

LOCK = "litellm.lock"
"""Of `litellm[proxy]`, in `data/`; made by `uv pip compile --universal --python-version 3.11
--generate-hashes --no-emit-index-url --no-header --no-annotate`."""


def proxy_python(say: Callable[[str], None] = lambda line: None) -> Path:
    """The interpreter of the environment, which is made where it is absent.

    say: receives a line when it has to be made.
    Raises: ValueError if it cannot be made, with the installer's last words.
    """
    lock = paths.data(LOCK)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = paths.cache("litellm") / f"{io.sha256(lock)[:16]}-{version}"
    if not _python(folder).exists():
        say(f"Installing the gateway into {folder}, once.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        # whole or not at all, and two at once must not mix: made elsewhere, then renamed
        draft = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            for command in install_commands(draft, lock):
                _run(command)
            if not folder.exists():
                draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return _python(folder)


def install_commands(folder: Path, lock: Path) -> list[list[str]]:
    """The commands that make the environment: with uv where there is one, else with pip."""
    python = str(_python(folder))
    beside = Path(sys.executable).with_name("uv")
    if uv := str(beside) if beside.exists() else shutil.which("uv"):
        make = [uv, "venv", "--quiet", "--python", sys.executable, str(folder)]
        install = [uv, "pip", "install", "--quiet", "--python", python]
    else:
        make = [sys.executable, "-m", "venv", str(folder)]
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [make, [*install, "--require-hashes", "-r", str(lock)]]


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise ValueError(
            f"the gateway's environment cannot be made: {words[-1].strip()} "
            f"(`{' '.join(command[:4])} ...`): it needs a package index once; see that pip or uv "
            "reaches one, and run this again"
        )
