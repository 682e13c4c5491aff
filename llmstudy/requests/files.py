"""The files of a log. Nothing here opens them to read, so that a command may ask at no cost."""

from collections.abc import Sequence
from glob import glob
from pathlib import Path

from llmstudy.io import sha256, sha256_of_all


def files_of(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files of a log, in order: a file, a folder with all that is in it, a glob, or several.

    Markers beside the parts of a log (`_SUCCESS`, `.crc` and other hidden files) are no part of it.
    Raises: ValueError if one is absent, or there is none.
    """
    files: list[Path] = []
    for each in [source] if isinstance(source, str | Path) else source:
        path = Path(each)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not _is_marker(p, path))
        elif path.is_file():
            inside = [path]
        else:
            inside = sorted(Path(p) for p in glob(str(each), recursive=True) if Path(p).is_file())
            if not inside:
                raise ValueError(f"{path}: there is no such file; check the path of the log")
        files += inside
    of_log = [path for path in dict.fromkeys(files) if not _is_marker(path) or len(files) == 1]
    if not of_log:
        raise ValueError(f"{source}: no file of a log is in it; name the file or its folder")
    return of_log


def log_files(path: Path) -> list[Path]:
    """The files of a log; none where it is gone."""
    try:
        return files_of(path)
    except ValueError:
        return []


def log_sha256(path: Path) -> str | None:
    """The SHA-256 of a log of one file, and of all its files together; None where it is gone."""
    files = log_files(path)
    return sha256(files[0]) if len(files) == 1 else sha256_of_all(files) if files else None


def _is_marker(path: Path, root: Path | None = None) -> bool:
    names = path.relative_to(root).parts if root else (path.name,)
    return any(name.startswith((".", "_")) and "=" not in name for name in names)
