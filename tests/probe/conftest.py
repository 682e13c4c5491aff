"""What tests of the probe share: the mock server, loaded by its path, and short ways to ask it."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from llmstudy.probe.endpoint import Endpoint
from llmstudy.probe.prompts import fixed_lengths, plan


@pytest.fixture(scope="session")
def mock_server():
    """The module `mock_server`; `mock_server.running(itl_ms=5)` starts one."""
    file = Path(__file__).with_name("mock_server.py")
    spec = importlib.util.spec_from_file_location("probe_mock_server", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks its module up by name
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def mock(mock_server):
    """A server with quick answers; a request changes its behaviour under `mock` in its body."""
    with mock_server.running(ttft_ms=5, itl_ms=1) as server:
        yield server


@pytest.fixture
def ask():
    """An endpoint of a mock server; keywords are the script of every request."""

    def endpoint(server, **script):
        return Endpoint(server.base_url, "mock", body={"mock": script})

    return endpoint


@pytest.fixture
def timed():
    """A plan of short requests at these times."""

    def made(times_s, input_tokens=5, output_tokens=3, seed=1, **options):
        times_s = np.asarray(times_s, dtype=float)
        lengths = fixed_lengths(len(times_s), input_tokens, output_tokens)
        return plan(lengths, seed, times_s, **options)

    return made
