"""Makes the executed notebooks in `outputs/reference/`, which tests compare with.

`nbval` compares their outputs with a fresh execution. They contain nothing that changes from one
execution to the next, so that executing them again changes no file.
"""

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from llmstudy import paths
from llmstudy.run import provenance
from llmstudy.run.chapters import CHAPTERS, begin_chapter, executed
from llmstudy.run.notebook import load_libraries


def execute_reference(progress: bool = True) -> Path:
    """Executes every chapter for the default study into `outputs/reference/` of the clone.

    `fingerprint.json` there holds the SHA-256 of each source notebook's cells.
    Returns: the folder. Raises: RunError if a chapter fails, and then the folder is as it was.
    """
    load_libraries()
    import nbformat  # while the server imports the chapters' libraries

    from llmstudy import io

    parameters = {"study": "params/default.yaml", "run": "."}  # the folder of the notebook itself
    with (
        _replaced(paths.reference()) as folder,
        closing(executed(lambda n: begin_chapter(n, parameters, folder), progress)) as rounds,
    ):
        for ended in rounds:
            for name in ended:
                notebook: Any = nbformat.read(folder / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
                text: str = nbformat.writes(_stable(notebook))  # type: ignore[no-untyped-call]
                io.write(folder / f"{name}.ipynb", text + "\n")
        fingerprints = {
            name: provenance.fingerprint(paths.notebooks() / f"{name}.ipynb")
            for name in sorted(CHAPTERS)
        }
        io.write(folder / "fingerprint.json", io.dumps(fingerprints))
    return paths.reference()


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """A draft that replaces the folder once it is complete; on failure the folder stays."""
    draft = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        yield draft
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _stable(notebook: Any) -> Any:
    """The notebook without clock times, random ids, versions and warnings."""
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    notebook.metadata.language_info = {"name": "python"}
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i:02d}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    return notebook
