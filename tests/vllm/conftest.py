"""A real vLLM on the CPU, in an environment of its own; without one, these tests are skipped.

`make test-vllm` makes the environment and runs them, in about ten minutes on two cores.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmstudy import paths

VARIABLE = "LLMSTUDY_VLLM_PYTHON"


@dataclass(frozen=True)
class Cpu:
    """What vLLM needs to be told on a small machine without a GPU."""

    env: Mapping[str, str]
    flags: tuple[str, ...]


CPU = Cpu(
    env={
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    },
    flags=("--dtype", "float32", "--enforce-eager", "--max-num-seqs", "16"),
)


@pytest.fixture(scope="session", autouse=True)
def vllm_python() -> Path:
    """The interpreter that has vLLM."""
    named = os.environ.get(VARIABLE)
    if not named:
        pytest.skip(f"needs a real vLLM: {VARIABLE} names no interpreter; run `make test-vllm`")
    return Path(named).absolute()


@pytest.fixture(scope="session")
def cpu() -> Cpu:
    return CPU


@pytest.fixture(scope="session")
def run_there(vllm_python, tmp_path_factory):
    """Runs a script in that interpreter, this checkout importable, and returns what it prints last
    as JSON."""
    environment = {**os.environ, **CPU.env, "PYTHONPATH": str(paths.ROOT), "HF_HUB_OFFLINE": "1"}

    def run(text: str, *arguments: str):
        script = tmp_path_factory.mktemp("script") / "probe_script.py"
        script.write_text(text)
        done = subprocess.run(
            [vllm_python, script, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return json.loads(done.stdout.strip().splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A model folder with nothing but config.json."""
    return _tiny_model(sys.executable, tmp_path_factory.mktemp("bare") / "tiny")


@pytest.fixture(scope="session")
def tiny_with_tokenizer(vllm_python, tmp_path_factory) -> Path:
    """The same with a tokenizer, made where `tokenizers` is installed."""
    return _tiny_model(vllm_python, tmp_path_factory.mktemp("whole") / "tiny", "--tokenizer")


def _tiny_model(python, folder: Path, *options: str) -> Path:
    script = Path(__file__).with_name("tiny_model.py")
    subprocess.run([python, script, folder, *options], check=True, timeout=120)
    return folder
