"""What tests of evaluations share: the scripted server, loaded by its path, and items."""

import importlib.util
import sys
from pathlib import Path

import pytest

from llmstudy.evals.routes import route


@pytest.fixture(scope="session")
def scripted():
    """The module `scripted_server`; `scripted.running(reply)` starts one."""
    file = Path(__file__).with_name("scripted_server.py")
    spec = importlib.util.spec_from_file_location("evals_scripted_server", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks its module up by name
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def route_to():
    """A route to a scripted server; free unless it has a price."""

    def to(server, name="open", model=None, price=(0.0, 0.0), **options):
        return route(name, server.base_url, model or name, price=price, **options)

    return to


@pytest.fixture
def sums():
    """n items that ask for a sum."""

    def items(n):
        return [
            {"item_id": f"sum-{i}", "prompt": f"What is {i} + 1?", "reference": i + 1}
            for i in range(n)
        ]

    return items
