"""The inputs of a run: hashes of all that a result can depend on, and the code's version."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from llmstudy import __version__, paths
from llmstudy.io import sha256


def fingerprint(notebook: Path) -> str:
    """SHA-256 of a notebook's cells: their kind, source and tags, but not what they put out."""
    cells = [
        (cell["cell_type"], "".join(cell["source"]), sorted(cell["metadata"].get("tags", [])))
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    ]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def run_id(started: datetime, inputs: Mapping[str, Any]) -> str:
    """The moment in UTC, and six hex digits of the hash of the run's inputs; sorts by time.

    >>> from datetime import UTC
    >>> run_id(datetime(2026, 11, 23, 20, 5, tzinfo=UTC), {"study_sha256": "ab"})
    '20261123T200500Z-ea1dec'
    """
    hashes = {key: inputs[key] for key in inputs if key.endswith("_sha256")}
    text = json.dumps(hashes, sort_keys=True)
    return f"{started:%Y%m%dT%H%M%SZ}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def made_of(study: Path, log: Path | None = None) -> dict[str, Any]:
    """The inputs of a run of a study file, for `provenance.json`.

    log: the request log that the study names.
    Returns: package and Python versions, git_sha and git_dirty (null outside git), and the SHA-256
    of the study, of its log (null without it), of each file in data/, of code and notebooks, and
    of the lock (null without one).
    """
    lock = paths.ROOT / "requirements.lock"
    package = Path(__file__).parents[1]
    notebooks = sorted(paths.notebooks().glob("*.ipynb"))
    data = paths.data()
    tables = [*data.glob("*.csv"), *data.glob("probes/*/*.csv")]
    code = [f for f in package.rglob("*") if f.suffix in {".py", ".j2", ".js", ".css"}]
    return {
        "package": __version__,
        "python": platform.python_version(),
        **_git(),
        "study_sha256": sha256(study),
        "log_sha256": sha256(log) if log and log.is_file() else None,
        "data_sha256": {f.relative_to(data).as_posix(): sha256(f) for f in sorted(tables)},
        "code_sha256": _sha256_of_all(code, package),
        "notebooks_sha256": {f.stem: fingerprint(f) for f in notebooks},
        "lock_sha256": sha256(lock) if lock.is_file() else None,
    }


def _sha256_of_all(files: Iterable[Path], root: Path) -> str:
    hashes = {file.relative_to(root).as_posix(): sha256(file) for file in files}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def _git() -> dict[str, Any]:
    # only of our own clone: an installed package may lie inside somebody else's
    if not (paths.ROOT / ".git").exists():
        return {"git_sha": None, "git_dirty": None}

    def git(*arguments: str) -> str:
        process = subprocess.run(
            ["git", "-C", str(paths.ROOT), *arguments], capture_output=True, text=True, check=True
        )
        return process.stdout.strip()

    try:
        sha, changes = git("rev-parse", "HEAD"), git("status", "--porcelain")
        return {"git_sha": sha, "git_dirty": changes != ""}
    except (OSError, subprocess.CalledProcessError):  # no git here, or no commit yet
        return {"git_sha": None, "git_dirty": None}
