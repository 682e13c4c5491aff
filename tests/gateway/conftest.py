"""The real LiteLLM proxy, in an environment of its own; without it, these tests are skipped.

`make test-gateway` makes the environment in the user's cache folder and runs them.
"""

import os
from pathlib import Path

import pytest

from llmstudy.export.environment import proxy_python

VARIABLE = "LLMSTUDY_TEST_GATEWAY"


@pytest.fixture(scope="session", autouse=True)
def gateway_python() -> Path:
    """The interpreter that has LiteLLM."""
    if not os.environ.get(VARIABLE):
        pytest.skip("needs the real gateway: run `make test-gateway`")
    return proxy_python()
