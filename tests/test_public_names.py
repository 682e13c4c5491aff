"""What `import llmstudy` offers by name: it is there, explained, and quick to import."""

import inspect
import subprocess
import sys
from importlib.util import find_spec

import pytest

import llmstudy


@pytest.mark.parametrize("name", llmstudy.__all__)
def test_a_public_name_is_there_with_an_example_and_hides_no_module(name):
    assert name in dir(llmstudy)
    assert ">>>" in inspect.getdoc(getattr(llmstudy, name))
    assert find_spec(f"llmstudy.{name}") is None


def test_the_docstring_names_what_is_offered():
    assert not [name for name in llmstudy.__all__ if f"`{name}`" not in llmstudy.__doc__]


def test_a_name_that_is_not_offered_is_an_error():
    with pytest.raises(AttributeError, match="has no attribute 'latency_tabel'"):
        llmstudy.latency_tabel  # noqa: B018


def test_importing_the_package_alone_loads_no_library_of_arrays():
    loaded = "import sys, llmstudy; print(*{'numpy', 'pandas', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True)
    assert done.stdout.strip() == "", done.stderr
