"""Starts a vLLM server for a probe, waits until it is ready, and stops it without leftovers.

The server is a child process in a process group of its own, listening on loopback only, its output
in a log file, from which its progress, its resolved settings and the cause of a failure are read.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from itertools import pairwise
from json import loads
from pathlib import Path
from typing import Any

from llmstudy.probe.vllm.hardware import gpu_facts
from llmstudy.probe.vllm.log import cause, doing, engine_settings, first_error
from llmstudy.probe.vllm.model import OFFLINE, has_tokenizer, read_config, weights

HOST = "127.0.0.1"

_CLI = "vllm.entrypoints.cli.main"
_TAIL_LINES = 15
_PATIENCE_S = {"die": 2.0, "ask": 20.0, "tell": 5.0, "kill": 10.0}


class ServerFailed(ValueError):  # noqa: N818 - the server's failure, told to the user
    """vLLM did not start, or stopped while it was in use. The message ends with its log."""


@dataclass(frozen=True)
class Server:
    """A running server. base_url ends in /v1. serving: the facts of a run, see `probe.run`."""

    base_url: str
    model: str
    serving: dict[str, Any]
    start_s: float
    log: Path


@contextmanager
def serve(
    model: Path | str,
    flags: Sequence[str] = (),
    *,
    port: int = 0,
    python: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
    timeout_s: float = 1800.0,
) -> Iterator[Server]:
    """A vLLM server for the time of the block, on loopback.

    model: a folder. With `config.json` alone it is served with random weights, and without a
    tokenizer with token ids only; the facts say `weights: "dummy"`. flags: further arguments of
    `vllm serve`. port: 0 takes a free one. python: an interpreter that has vLLM; else this one,
    else the command `vllm`. env: added to this process' environment and to what keeps vLLM
    offline. log: where the server's output is kept; else it is dropped in the end. progress: is
    told in a line what the server is doing. timeout_s: until it is ready.

    The facts in `Server.serving` are the engine's own words, None where it does not say: engine,
    engine_version, model, model_config, weights, precision ("bf16", "fp8", ...; "fp32" or the
    quantisation's name where capacity knows none), quantization, kv_dtype, tensor_parallel,
    prefix_caching, max_model_len, kv_cache_tokens, enforce_eager, device, flags, start_s, and those
    of `gpu_facts`.

    Raises: ValueError if the port is taken, vLLM is not installed, or the model cannot be measured
    so; ServerFailed, with the cause, what to change and the log's tail, if the server ends by
    itself or is not ready in time.
    """
    words = [*command(python), "serve", str(model)]
    chosen = _chosen_flags(model, flags)
    port = _free_port(port)
    words += ["--host", HOST, "--port", str(port), *chosen]
    with ExitStack() as stack:
        if log is None:
            log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "vllm.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        output = stack.enter_context(log.open("wb"))
        started = time.monotonic()
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**OFFLINE, **os.environ, **(env or {})},
            start_new_session=True,
        )
        stack.callback(_stop, child)
        _wait_until_ready(child, port, log, progress, started + timeout_s)
        name = str(_value(chosen, "--served-model-name"))
        start_s = round(time.monotonic() - started, 1)
        progress(f"vLLM: ready after {start_s:.0f} s")
        facts = {
            "engine": "vllm",
            "engine_version": _version(port),
            "model": name,
            "model_config": read_config(model),
            "weights": weights(model, _value(chosen, "--load-format")),
            **engine_settings(_read(log)),
            "flags": list(chosen),
            "start_s": start_s,
            **gpu_facts(),
        }
        try:
            yield Server(f"http://{HOST}:{port}/v1", name, facts, start_s, log)
        except Exception as error:
            # its connections end a moment before the process does
            with suppress(subprocess.TimeoutExpired):
                child.wait(_PATIENCE_S["die"])
            if _died(child, log):
                raise _failure("stopped while it was in use", child, log) from error
            raise
        if _died(child, log):
            raise _failure("stopped while it was in use", child, log)


def command(python: Path | str | None) -> list[str]:
    """The words that run vLLM's command line."""
    if python is not None:
        return [str(python), "-m", _CLI]
    if find_spec("vllm"):
        return [sys.executable, "-m", _CLI]
    if executable := shutil.which("vllm"):
        return [executable]
    raise ValueError(
        "vLLM is not installed: on Linux with an NVIDIA GPU, install the extra gpu "
        "(`llmstudy doctor` says how), or name an interpreter that has it"
    )


def _chosen_flags(model: Path | str, flags: Sequence[str]) -> list[str]:
    """The user's flags, then those that the model's folder calls for."""
    chosen = []
    for flag in flags:
        chosen += flag.split("=", 1) if flag.startswith("--") else [flag]
    load_format = _value(chosen, "--load-format")
    if weights(model, load_format) == "dummy" and load_format is None:
        chosen += ["--load-format", "dummy"]
    if not has_tokenizer(model) and "--skip-tokenizer-init" not in chosen:
        chosen.append("--skip-tokenizer-init")
    if "--served-model-name" not in chosen:
        chosen += ["--served-model-name", Path(model).resolve().name]
    return chosen


def _value(flags: Sequence[str], name: str) -> str | None:
    """The word after a flag; None without the flag."""
    return dict(pairwise(flags)).get(name)


def _free_port(port: int) -> int:
    """The port, or for 0 one that is free. Raises ValueError if something listens on it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ValueError(
                f"port {port} cannot be used ({error.strerror}): another server listens on it? "
                "Stop that, choose another port, or take port=0 for a free one"
            ) from error
        return int(probe.getsockname()[1])


def _wait_until_ready(
    child: "subprocess.Popen[bytes]",
    port: int,
    log: Path,
    progress: Callable[[str], None],
    deadline: float,
) -> None:
    """Returns once /health answers; reports every new step, and the same one every 10 s."""
    started, reported, reported_at = time.monotonic(), "", -10.0
    while child.poll() is None:
        now = time.monotonic()
        if _get(port, "/health") is not None:
            return
        if now > deadline:
            raise _failure(f"was not ready after {now - started:.0f} s", child, log)
        step = doing(_read(log))
        if step != reported or now - reported_at >= 10:
            progress(f"vLLM: {step} ({now - started:.0f} s)")
            reported, reported_at = step, now
        time.sleep(0.5)
    raise _failure("did not start", child, log)


def _get(port: int, path: str) -> str | None:
    """The server's answer; None while it gives none."""
    connection = HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        return text if answer.status == 200 else None
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def _version(port: int) -> str | None:
    """The engine's version; None where the server does not say."""
    answer = _get(port, "/version")
    return str(loads(answer).get("version")) if answer else None


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """Ends the whole process group: by SIGINT, as Ctrl-C does, then SIGTERM, then SIGKILL.

    Raises: RuntimeError if a process outlives even that; it may hold the GPU.
    """
    child.send_signal(signal.SIGINT)  # to the parent alone: it ends its engine in order
    with suppress(subprocess.TimeoutExpired):
        child.wait(_PATIENCE_S["ask"])
    for kill_signal, way in ((signal.SIGTERM, "tell"), (signal.SIGKILL, "kill")):
        if not _runs(child.pid):
            break
        with suppress(ProcessLookupError):
            os.killpg(child.pid, kill_signal)
        until = time.monotonic() + _PATIENCE_S[way]
        while _runs(child.pid) and time.monotonic() < until:
            child.poll()
            time.sleep(0.1)
    child.poll()
    if _runs(child.pid):
        raise RuntimeError(f"processes of vLLM's group {child.pid} outlive SIGKILL: end them")


def _runs(group: int) -> bool:
    """Does a process of the group still run? A zombie, which nobody may reap, does not."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, member_of = file.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(member_of) == group and state not in "ZX":
            return True
    return False


def _died(child: "subprocess.Popen[bytes]", log: Path) -> bool:
    """Has the server ended, or its engine, which it outlives by some seconds?"""
    return child.poll() is not None or "EngineDeadError" in _read(log)


def _failure(what: str, child: "subprocess.Popen[bytes]", log: Path) -> ServerFailed:
    """The error that says what failed, why, what to change, and shows the end of the log."""
    text = _read(log)
    code = child.poll()
    ended = "" if code is None else f" (exit code {code})"
    lines = [f"vLLM {what}{ended}: {cause(text, code)}."]
    if error := first_error(text):
        lines.append(f"Its first error: {error}")
    lines += ["The end of its log:", *text.splitlines()[-_TAIL_LINES:]]
    return ServerFailed("\n".join(lines))


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")
