"""Results of slow functions, computed once and then read from disk.

Each result is a file in the user's cache folder, which may be deleted at any time. Its name is the
hash of everything that the result depends on, so that it is never out of date.
"""

import hashlib
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache, wraps
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from llmstudy import io, paths

P = ParamSpec("P")
R = TypeVar("R")

_PACKAGE = Path(__file__).parent
_SOURCES = ("*.py", "measures/**/*.py", "requests/**/*.py", "prices/**/*.py", "tables/**/*.py")
"""The code that `measures` may import: its own and that of the layers below."""

_LIBRARIES = ("duckdb", "numba", "numpy", "pandas", "scipy")
_DIGEST_BYTES = 32


def on_disk(function: Callable[P, R]) -> Callable[P, R]:
    """Caches the results of a function of `measures`, or of a layer below, that reads no file.

    A result is stored under its arguments, the numeric constants of the function's module (a
    notebook may set them), the code and the versions of the libraries. A file that cannot be read
    is computed again; a result that cannot be written, or an error, is not stored.
    """

    @wraps(function)
    def cached(*args: P.args, **kwargs: P.kwargs) -> R:
        name = _name(function, args, kwargs)
        try:
            folder = paths.cache("fits")
        except RuntimeError:  # no home
            return function(*args, **kwargs)
        return in_file(folder / name, lambda: function(*args, **kwargs))

    return cached


def in_file(path: Path, compute: Callable[[], R]) -> R:
    """The result that a file holds, else what `compute` gives, which the file holds from then on.

    The file's name, or that of its folder, tells all that the result depends on.
    """
    with suppress(Exception):  # missing, truncated or not readable
        entry = path.read_bytes()
        digest, content = entry[:_DIGEST_BYTES], entry[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() == digest:
            result: R = pickle.loads(content)
            return result
    result = compute()
    content = pickle.dumps(result)
    with suppress(OSError):  # a full disk, or another user's folder
        io.write(path, hashlib.sha256(content).digest() + content)
    return result


def _name(function: Callable[..., Any], args: Any, kwargs: Any) -> str:
    """The name of the file that holds the result of a call."""
    import joblib  # slow to import, and most commands cache nothing

    module = vars(sys.modules[function.__module__])
    numbers = {n: x for n, x in module.items() if n.isupper() and isinstance(x, int | float)}
    dependencies = (function.__module__, args, kwargs, numbers, code())
    return f"{function.__name__.strip('_')}-{joblib.hash(dependencies)}.pickle"


@cache
def code() -> str:
    """SHA-256 of the sources below `measures`, and of the libraries' versions."""
    files = sorted(file for pattern in _SOURCES for file in _PACKAGE.glob(pattern))
    versions = [library.version for name in _LIBRARIES for library in distributions(name=name)]
    return hashlib.sha256("".join([*map(io.sha256, files), *versions]).encode()).hexdigest()
