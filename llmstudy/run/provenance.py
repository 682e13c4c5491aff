"""The inputs of a run: hashes of everything that a result can depend on, and the code version."""

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmstudy import __version__, paths
from llmstudy.io import sha256, sha256_of_all
from llmstudy.requests.files import log_files, log_sha256
from llmstudy.study.evaluations import evaluations

if TYPE_CHECKING:
    from llmstudy.study import Study


def fingerprint(notebook: Path) -> str:
    """SHA-256 of a notebook's cells: their type, source and tags, but not their outputs."""
    cells = [
        (cell["cell_type"], "".join(cell["source"]), sorted(cell["metadata"].get("tags", [])))
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    ]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def run_id(started: datetime, inputs: Mapping[str, Any]) -> str:
    """The time in UTC and six hex digits of the hash of the run's inputs; IDs sort by time.

    >>> from datetime import UTC
    >>> run_id(datetime(2026, 11, 23, 20, 5, tzinfo=UTC), {"study_sha256": "ab"})
    '20261123T200500Z-ea1dec'
    """
    hashes = {key: inputs[key] for key in inputs if key.endswith("_sha256")}
    text = json.dumps(hashes, sort_keys=True)
    return f"{started:%Y%m%dT%H%M%SZ}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def input_files(file: Path, study: "Study") -> dict[str, list[Path]]:
    """The files that a run of a study file depends on, by kind.

    Returns: study, log, evaluations and probes (if the study names any), and the package's data,
    code and notebooks.
    """
    package, data = Path(__file__).parents[1], paths.data()
    probes = {folder for route in study.routes.values() for folder in route.probe}
    return {
        "study": [file],
        "log": log_files(study.requests.path) if study.requests else [],
        "evaluations": sorted({e.evaluation for _, _, e in evaluations(study) if e.evaluation}),
        "probes": [f for folder in sorted(probes) for f in _files(folder)],
        "data": _files(data),
        "code": _files(package),
        "notebooks": sorted(paths.notebooks().glob("*.ipynb")),
    }


def made_of(file: Path, study: "Study") -> dict[str, Any]:
    """The inputs of a run of a study file, for `provenance.json`.

    Returns: package and Python versions, git_sha and git_dirty (null outside git), and the SHA-256
    of the study file, of its log, evaluations and probe runs (null without them), of each file in
    data/, of code and notebooks, and of the lock (null without one).
    """
    files = input_files(file, study)
    lock = paths.ROOT / "requirements.lock"
    return {
        "package": __version__,
        "python": platform.python_version(),
        **_git(),
        "study_sha256": sha256(file),
        "log_sha256": log_sha256(study.requests.path) if study.requests else None,
        "evaluations_sha256": sha256_of_all(files["evaluations"]) if files["evaluations"] else None,
        "probes_sha256": sha256_of_all(files["probes"]) if files["probes"] else None,
        "data_sha256": {f.relative_to(paths.data()).as_posix(): sha256(f) for f in files["data"]},
        "code_sha256": sha256_of_all(files["code"]),
        "notebooks_sha256": {f.stem: fingerprint(f) for f in files["notebooks"]},
        "lock_sha256": sha256(lock) if lock.is_file() else None,
    }


def state(file: Path, study: "Study") -> list[tuple[str, int, int]]:
    """The files that every chapter may depend on, with modification times and sizes.

    Comparing these is faster than comparing hashes.
    """
    files = (
        f for what, some in input_files(file, study).items() if what != "notebooks" for f in some
    )
    return [(str(f), f.stat().st_mtime_ns, f.stat().st_size) for f in files]


def of_all_chapters(made: Mapping[str, Any]) -> list[Any]:
    """What every chapter may depend on: inputs of the run, the machine, and installed packages.

    made: as `made_of`. Packages are told by the names of their metadata folders, which have
    versions.
    """
    inputs = {
        key: made[key] for key in made if key not in ("git_sha", "git_dirty", "notebooks_sha256")
    }
    packages = {f.name for place in sys.path for f in Path(place).glob("*.dist-info")}
    return [inputs, platform.machine(), platform.system(), sys.version, sorted(packages)]


def _files(folder: Path) -> list[Path]:
    """The files in a folder and below, except compiled, hidden and bundled ones."""
    below = ((file, file.relative_to(folder).parts) for file in folder.rglob("*"))
    return sorted(
        file
        for file, parts in below
        if not any(part[0] == "." or part in ("__pycache__", "_bundled") for part in parts)
        and file.is_file()
    )


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
