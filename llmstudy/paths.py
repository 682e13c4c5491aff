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
    """Path of a study file in the bundled `params/` folder."""
    return ROOT / "params" / name


def outputs() -> Path:
    """The folder that runs are written to: the clone's, or the current folder's when installed."""
    return (Path.cwd() if ROOT == _PACKAGE / "_bundled" else ROOT) / "outputs"


def cache(name: str) -> Path:
    """A folder in the user's cache, for files that can be computed again; it need not exist.

    Raises: RuntimeError if the user has no home folder.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "llmstudy", name)


def reference() -> Path:
    """The folder of the default study's executed chapters, which `make reference` writes."""
    return outputs() / "reference"


def resolve(path: str | Path) -> Path:
    """The path from the current folder if it exists there, else from the project's root.

    papermill runs a notebook in the caller's folder, nbval and JupyterLab in the notebook's own:
    a relative path in a notebook's parameters must mean the same file in all three.
    """
    path = Path(path)
    if path.is_absolute() or path.exists():
        return path
    return ROOT / path
