"""Reuses the chapters of earlier runs that had the same inputs.

The outputs of a chapter are stored in the user's cache folder under the hash of everything that it
can depend on: one ZIP file per chapter, the most recently used ones up to 200 MB. Broken files are
ignored, and if nothing can be written nothing is stored: no run fails because of its cache.
"""

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

from llmstudy import paths
from llmstudy.chapters import OF_RUN
from llmstudy.io import sha256, write

MOST_BYTES = 200_000_000

_ORIGIN = "origin.json"
_BROKEN = (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error, RuntimeError)


def take(key: str, folder: Path) -> Any:
    """Extracts the files stored under a key into a folder. Returns: their origin, or None."""
    try:
        file = _file(key)
        with ZipFile(file) as packed:
            contents = {name: packed.read(name) for name in packed.namelist()}
        origin = json.loads(contents.pop(_ORIGIN))
    except _BROKEN:
        return None
    with suppress(OSError):
        os.utime(file)  # the least recently used file is removed first
    for name, content in contents.items():
        write(folder / name, content)
    return origin


def store(key: str, folder: Path, names: Iterable[str], origin: Any) -> None:
    """Stores files of a folder under a key. origin: what `take` returns with them."""
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as target:
        for name in sorted(names):
            target.writestr(name, (folder / name).read_bytes())
        target.writestr(_ORIGIN, json.dumps(origin))
    with suppress(OSError, RuntimeError):
        write(_file(key), packed.getvalue())
        _trim(_file(key).parent)


def _file(key: str) -> Path:
    return paths.cache("chapters") / f"{key}.zip"


def _trim(home: Path) -> None:
    """Removes the least recently used files beyond `MOST_BYTES`."""
    used = 0
    by_age = [(file.stat(), file) for file in home.iterdir()]
    for status, file in sorted(by_age, key=lambda entry: -entry[0].st_mtime):
        used += status.st_size
        if used > MOST_BYTES:
            file.unlink(missing_ok=True)


def key(*parts: Any) -> str:
    """The SHA-256 of parts that can be written as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class Desk:
    """The chapters of one run, each in its own working folder within the run's draft.

    The folder has the results of the chapters that it reads, directly or indirectly, and nothing
    else: so it is certain what a chapter depends on, and what it wrote.
    """

    def __init__(
        self,
        draft: Path,
        run_id: str,
        chapters: Mapping[str, tuple[str, ...]],
        parameters: Mapping[str, Any],
        inputs: Any,
        unchanged: Callable[[], bool],
        fresh: Container[str],
    ) -> None:
        """chapters: each with those whose results it reads. parameters: of their notebooks, except
        the folder that they write to. inputs: what every chapter may depend on. unchanged: whether
        those inputs are still the same. fresh: the chapters to execute in any case.
        """
        self._draft, self._run_id, self._chapters = draft, run_id, chapters
        self._parameters, self._inputs = dict(parameters), inputs
        self._unchanged, self._fresh = unchanged, fresh
        self.reused: dict[str, str] = {}
        """The chapters taken from earlier runs, each with the ID of the run that executed it."""
        self._keys: dict[str, str] = {}
        self._wrote: dict[str, list[str]] = {}

    def has(self, name: str) -> bool:
        """Whether the chapter seems to be in the cache."""
        return name not in self._fresh and _file(self._key(name)).is_file()

    def take(self, name: str) -> bool:
        """Takes the chapter from an earlier run with the same inputs. Returns: whether there was
        one."""
        self._keys[name] = self._key(name)
        origin = None if name in self._fresh else take(self._keys[name], self._draft)
        if origin is None:
            return False
        self._rename(name, origin["folder"], self._draft)
        self.reused[name] = origin["run_id"]
        return True

    def open(self, name: str) -> dict[str, Any]:
        """Prepares the chapter's folder. Returns: the parameters of its notebook."""
        own = self._own(name)
        for file in self._read_by(name):
            write(own / file, (self._draft / file).read_bytes())
        own.mkdir(exist_ok=True)
        return self._parameters | {"run": str(own)}

    def close(self, name: str) -> None:
        """Moves what the chapter wrote to the run's draft."""
        own, read = self._own(name), self._read_by(name)
        files = [f.relative_to(own).as_posix() for f in own.rglob("*") if f.is_file()]
        self._wrote[name] = [file for file in files if file not in read]
        for file in self._wrote[name]:
            (self._draft / file).parent.mkdir(parents=True, exist_ok=True)
            (own / file).replace(self._draft / file)
        shutil.rmtree(own)
        self._rename(name, own, self._draft)

    def store(self, name: str) -> None:
        """Stores an executed chapter with its page, for later runs."""
        if self._key(name) != self._keys[name] or not self._unchanged():
            return  # edited meanwhile, so it is uncertain which inputs it was executed on
        names = [*self._wrote[name], f"notebooks/{name}.ipynb", f"{name}.html"]
        origin = {"run_id": self._run_id, "folder": str(self._draft)}
        store(self._keys[name], self._draft, names, origin)

    def _key(self, name: str) -> str:
        read = {file: sha256(self._draft / file) for file in self._read_by(name)}
        notebook = sha256(paths.notebooks() / f"{name}.ipynb")
        return key(name, notebook, read, self._parameters, self._inputs)

    def _own(self, name: str) -> Path:
        return self._draft / f".{name}"

    def _read_by(self, name: str) -> list[str]:
        """The result files that a chapter reads; the last one also what the run wrote."""
        reads: set[str] = set()
        new = set(self._chapters[name])
        while new:
            reads |= new
            new = {earlier for chapter in new for earlier in self._chapters[chapter]} - reads
        last = not any(name in needed for needed in self._chapters.values())
        files = [f"results/{chapter}.json" for chapter in sorted(reads)]
        files += [f"results/{name}.json" for name in OF_RUN] if last else []
        return [file for file in files if (self._draft / file).is_file()]

    def _rename(self, name: str, old: str | Path, new: Path) -> None:
        """Replaces a folder in the executed notebook, whose parameters name it."""
        notebook = self._draft / "notebooks" / f"{name}.ipynb"
        if notebook.is_file():
            text = notebook.read_text(encoding="utf-8")
            write(notebook, text.replace(str(old), str(new)))
