"""Starts the real gateway offline on loopback, waits until it is ready, and stops it always.

It is a child process in a process group of its own, in a folder of its own, with an environment
that holds nothing of the caller's but what a process needs: no key of the user reaches it.
"""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

HOST = "127.0.0.1"

OFFLINE = {
    f"LITELLM_LOCAL_{name}": "True"
    for name in (
        *("MODEL_COST_MAP", "ANTHROPIC_BETA_HEADERS", "AUTOROUTER_PRESETS"),
        *("POLICY_TEMPLATES", "BLOG_POSTS"),
    )
} | {"LITELLM_TELEMETRY": "False", "HF_HUB_OFFLINE": "1", "NO_DOCS": "True"}
"""With them the gateway asks the network for nothing; without, it dials out at its start."""

_START = """
from litellm.caching.in_memory_cache import InMemoryCache
InMemoryCache.__init__.__defaults__ = (100_000, *InMemoryCache.__init__.__defaults__[1:])
from litellm import run_server
run_server()
"""
"""LiteLLM forgets failures and cooldowns where more than some 50 deployments are busy: its router
remembers 200 items, and drops first what ends first. A drill has more names than a gateway."""

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH")
_READY_S = 240.0
_PATIENCE_S = {signal.SIGTERM: 5.0, signal.SIGKILL: 5.0}


@dataclass(frozen=True)
class Proxy:
    """A running gateway. log: the file of its output. start_s: until it was ready."""

    base_url: str
    key: str
    log: Path
    start_s: float

    def get(self, path: str, timeout_s: float = 120.0) -> dict[str, Any]:
        """The JSON document at a path such as `/model/info`."""
        headers = {"authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(self.base_url + path, headers=headers)
        with _direct().open(request, timeout=timeout_s) as reply:
            document: dict[str, Any] = json.load(reply)
        return document

    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def running(
    config: Mapping[str, Any],
    folder: Path,
    python: Path,
    key: str,
    environment: Mapping[str, str],
    way_out: str,
) -> Iterator[Proxy]:
    """Runs the gateway on a free port of loopback for the time of the block.

    config: of LiteLLM; written to `folder/config.yaml`, beside which lie the modules of its
    callbacks. python: an interpreter that has LiteLLM. key: the gateway's master key. environment:
    the variables that the configuration names. way_out: address of an HTTP proxy for everything
    that is not on loopback.

    Raises: ValueError, with the end of its log, if it stops or is not ready in four minutes.
    """
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port = listener.getsockname()[1]
    path, log = folder / "config.yaml", folder / "proxy.log"
    yaml = YAML(typ="safe", pure=True)
    yaml.version = "1.1"  # as the gateway reads it: 2e-07 is a text
    yaml.dump(dict(config), path)
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    ways = {
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), way_out),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), f"{HOST},localhost"),
    }
    words = ["--config", str(path), "--host", HOST, "--port", str(port)]
    started = time.monotonic()
    with log.open("wb") as output:
        child = subprocess.Popen(
            [str(python), "-c", _START, *words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**passed_on, **OFFLINE, **environment, **ways},
            start_new_session=True,
        )
    try:
        base_url = f"http://{HOST}:{port}"
        _wait_until_ready(child, base_url, log, started)
        yield Proxy(base_url, key, log, time.monotonic() - started)
    finally:
        _stop(child)


def _wait_until_ready(
    child: "subprocess.Popen[bytes]", base_url: str, log: Path, started: float
) -> None:
    while child.poll() is None and time.monotonic() - started < _READY_S:
        with (
            suppress(OSError),
            _direct().open(f"{base_url}/health/readiness", timeout=5) as reply,
        ):
            if reply.status == 200:
                return
        time.sleep(0.1)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    words = lines[-1] if lines else "it wrote nothing"
    raise ValueError(f"the gateway does not start with this configuration: {words}")


def _direct() -> urllib.request.OpenerDirector:
    """Of requests to loopback, whatever proxy the user's environment names."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """Ends the whole process group, by SIGTERM and, where that is not enough, SIGKILL."""
    for kill_signal, patience_s in _PATIENCE_S.items():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, kill_signal)
        with suppress(subprocess.TimeoutExpired):
            child.wait(patience_s)
    child.poll()
