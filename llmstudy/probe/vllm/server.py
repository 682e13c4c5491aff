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
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from llmstudy.probe.server_metrics import engine_version, page
from llmstudy.probe.vllm.hardware import gpu_facts
from llmstudy.probe.vllm.log import cause, engine_settings, first_error, start_step
from llmstudy.probe.vllm.model import OFFLINE, has_tokenizer, read_config, weights

HOST = "127.0.0.1"

_CLI = "vllm.entrypoints.cli.main"
_TAIL_LINES = 15
_READY_S = 1800.0
"""Longest start of a server."""

_PATIENCE_S = {"die": 2.0, "interrupt": 20.0, "terminate": 5.0, "kill": 10.0}
"""Waits for a server to end, by itself or after each signal."""


class ServerFailed(ValueError):  # noqa: N818 - a failure of the server, not of this program
    """vLLM did not start, or stopped while it was in use. The message ends with its log."""


@dataclass(frozen=True)
class Server:
    """A running server. base_url ends in /v1. serving: the facts of a run, see `probe.run`."""

    base_url: str
    model: str
    serving: dict[str, Any]


@contextmanager
def serve(
    model: Path | str,
    flags: Sequence[str] = (),
    *,
    log: Path,
    python: Path | str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Server]:
    """Runs a vLLM server on a free port of loopback for the time of the block.

    model: a folder. With `config.json` alone it is served with random weights, and without a
    tokenizer with token ids only; the facts then have `weights: "dummy"`. flags: further arguments
    of `vllm serve`. log: file of the server's output. python: an interpreter that has vLLM; else
    this one, else the command `vllm`. say: receives a line for each step of the start.

    The facts in `Server.serving` are those in the engine's log, None where it is silent: engine,
    engine_version, model, model_config, weights, precision ("bf16", "fp8", ...; "fp32" or the
    quantisation's name where capacity has none), quantization, kv_dtype, tensor_parallel,
    prefix_caching, max_model_len, kv_cache_tokens, enforce_eager, device, flags, start_s, and those
    of `gpu_facts`.

    Raises: ValueError if vLLM is not installed or the model cannot be measured so; ServerFailed,
    with the cause, what to change and the log's tail, if the server ends by itself or is not ready
    in half an hour.
    """
    words = [*command(python), "serve", str(model)]
    chosen = _chosen_flags(model, flags)
    port = _free_port()
    base_url = f"http://{HOST}:{port}/v1"
    words += ["--host", HOST, "--port", str(port), *chosen]
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("wb") as output:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**OFFLINE, **os.environ},
            start_new_session=True,
        )
    try:
        _wait_until_ready(child, base_url, log, say, started)
        name = str(_value(chosen, "--served-model-name"))
        start_s = round(time.monotonic() - started, 1)
        say(f"vLLM: ready after {start_s:.0f} s")
        facts = {
            "engine": "vllm",
            "engine_version": engine_version(base_url),
            "model": name,
            "model_config": read_config(model),
            "weights": weights(model, _value(chosen, "--load-format")),
            **engine_settings(_read(log)),
            "flags": list(chosen),
            "start_s": start_s,
            **gpu_facts(),
        }
        error: Exception | None = None
        try:
            yield Server(base_url, name, facts)
        except Exception as raised:
            error = raised
            with suppress(subprocess.TimeoutExpired):
                # its connections end a moment before the process does
                child.wait(_PATIENCE_S["die"])
        # the server outlives its engine by some seconds
        if child.poll() is not None or "EngineDeadError" in _read(log):
            raise _failure("stopped while it was in use", child, log) from error
        if error is not None:
            raise error
    finally:
        _stop(child)


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


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def _wait_until_ready(
    child: "subprocess.Popen[bytes]",
    base_url: str,
    log: Path,
    say: Callable[[str], None],
    started: float,
) -> None:
    """Returns once /health answers; reports every new step, and the same one every 10 s."""
    reported, reported_at_s = "", -10.0
    while child.poll() is None:
        with suppress(ValueError):
            page(base_url, "/health")
            return
        elapsed_s = time.monotonic() - started
        if elapsed_s > _READY_S:
            raise _failure(f"was not ready after {elapsed_s:.0f} s", child, log)
        step = start_step(_read(log))
        if step != reported or elapsed_s - reported_at_s >= 10:
            say(f"vLLM: {step} ({elapsed_s:.0f} s)")
            reported, reported_at_s = step, elapsed_s
        time.sleep(0.5)
    raise _failure("did not start", child, log)


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """Ends the whole process group: by SIGINT, as Ctrl-C does, then SIGTERM, then SIGKILL.

    Raises: RuntimeError if a process outlives even that; it may hold the GPU.
    """
    child.send_signal(signal.SIGINT)  # to the parent alone: it ends its engine in order
    with suppress(subprocess.TimeoutExpired):
        child.wait(_PATIENCE_S["interrupt"])
    for kill_signal, way in ((signal.SIGTERM, "terminate"), (signal.SIGKILL, "kill")):
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
