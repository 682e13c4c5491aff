"""Where bundled files are: beside the package in a clone, inside it in an installed wheel."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CLONE = _PACKAGE.parent
ROOT = _CLONE if (_CLONE / "pyproject.toml").exists() else _PACKAGE / "_bundled"


def data(name: str = "") -> Path:
    """Path of a file in the bundled `data/` folder.

    >>> data("gpu_prices.csv").name
    'gpu_prices.csv'
    """
    return ROOT / "data" / name


def notebooks() -> Path:
    """The folder of source notebooks."""
    return ROOT / "notebooks"


def params(name: str = "") -> Path:
    """Path of a study file that ships."""
    return ROOT / "params" / name


def outputs() -> Path:
    """The folder of runs: the clone's, or with an installed package the current folder's."""
    return (Path.cwd() if ROOT == _PACKAGE / "_bundled" else ROOT) / "outputs"


def cache(name: str) -> Path:
    """A folder of the user's cache, for what can be made again: it may be missing, or removed.

    Raises: RuntimeError where the user has no home.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "llmstudy", name)


def reference() -> Path:
    """The default study's chapters, executed and committed: `make reference` alone writes it."""
    return outputs() / "reference"


def resolve(path: str | Path) -> Path:
    """An existing file, looked for from the current folder first, then from the project's root.

    papermill runs a notebook in the caller's folder, nbval and JupyterLab in the notebook's own:
    a relative path in a notebook's parameters must mean the same file in all three.
    """
    path = Path(path)
    if path.is_absolute() or path.exists():
        return path
    return ROOT / path
