"""The real LiteLLM proxy, in an environment of its own; without it, these tests are skipped.

`make test-gateway` makes the environment in the user's cache folder and runs them.
"""

import json
import os
import time
from importlib.resources import files
from pathlib import Path

import pytest

from llmstudy.export import proxy
from llmstudy.export.copies import KEY
from llmstudy.export.drill import LOG_VARIABLE
from llmstudy.export.environment import proxy_python
from llmstudy.export.gateway import LOG_MODULE

VARIABLE = "LLMSTUDY_TEST_GATEWAY"


@pytest.fixture(scope="session", autouse=True)
def gateway_python() -> Path:
    """The interpreter that has LiteLLM."""
    if not os.environ.get(VARIABLE):
        pytest.skip("needs the real gateway: run `make test-gateway`")
    return proxy_python()


@pytest.fixture(scope="session")
def log_of(gateway_python, tmp_path_factory):
    """Starts the gateway on deployments, sends to its address, and reads its log until n rows."""

    def rows_of(mocks, deployments, send, n):
        folder = tmp_path_factory.mktemp("gateway")
        callback = (files("llmstudy.export") / "templates" / f"{LOG_MODULE}.py.j2").read_text()
        (folder / f"{LOG_MODULE}.py").write_text(callback)
        config = {
            "model_list": deployments,
            "litellm_settings": {"callbacks": [f"{LOG_MODULE}.handler"]},
            "general_settings": {"master_key": KEY},
        }
        log = folder / "rows.jsonl"
        variables = {LOG_VARIABLE: str(log)}
        with proxy.running(
            config, folder, gateway_python, KEY, variables, mocks.trap_url
        ) as gateway:
            send(gateway.base_url)
            until, rows = time.monotonic() + 30, []
            while len(rows) < n and time.monotonic() < until:
                time.sleep(0.5)
                lines = log.read_text().splitlines() if log.exists() else []
                rows = [json.loads(line) for line in lines]
        assert mocks.dialled == []
        return rows

    return rows_of
