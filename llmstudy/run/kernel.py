"""Runs one notebook in a kernel that is forked from this process, driven by papermill.

The kernel is this interpreter with everything that is imported here, not a registered one that may
be different. Its sockets are in their own folder: another kernel that starts at the same time can
take a port, and a shared socket path mixes up the messages of kernels.
"""

import multiprocessing
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import nbformat
import papermill
from ipykernel.kernelapp import IPKernelApp
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from llmstudy.run import leftovers
from llmstudy.run.errors import NotebookError

START_TIMEOUT_S = 60


def execute(source: Path, target: Path, parameters: Mapping[str, Any], timeout_s: float) -> None:
    """Executes a notebook in target's folder and writes it to target, even if it fails.

    parameters: values for its cell tagged `parameters`, which must set each of them. timeout_s: per
    cell.
    Raises: NotebookError that says in one sentence which cell failed and why.
    """
    if missing := _unknown(source, parameters):
        raise NotebookError(f"its cell tagged `parameters` does not set {' and '.join(missing)}")
    papermill.log.logger.setLevel("CRITICAL")  # the error raised below says the same
    try:
        with _kernel(target.parent) as kernel:
            papermill.execute_notebook(
                str(source),
                str(target),
                parameters=dict(parameters),
                km=kernel,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                start_timeout=START_TIMEOUT_S,
                execution_timeout=timeout_s,
            )
    except papermill.PapermillExecutionError as error:
        reason = f"{error.ename}: {error.evalue}".strip().splitlines()[0]
        raise NotebookError(f"{_last_cell(target)} failed with {reason}") from None
    except CellTimeoutError:
        raise NotebookError(f"{_last_cell(target)} ran longer than {timeout_s:g} s") from None
    except DeadKernelError:
        raise NotebookError(f"{_last_cell(target)} ended its kernel: out of memory?") from None


class _Kernel(AsyncKernelManager):
    """A manager of the kernel process that is forked here; its parent class launches a command."""

    process: BaseProcess
    has_kernel = True

    async def _async_is_alive(self) -> bool:
        return self.process.is_alive()

    is_alive = _async_is_alive


@contextmanager
def _kernel(folder: Path) -> Iterator[_Kernel]:
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
    with (
        tempfile.TemporaryDirectory(prefix="llmstudy-") as sockets,
        leftovers.locked(Path(sockets)),
    ):
        kernel = _Kernel(connection_file=f"{sockets}/kernel.json")
        if os.name == "posix":
            kernel.transport, kernel.ip = "ipc", f"{sockets}/k"
        kernel.write_connection_file()
        kernel.process = context.Process(
            target=_serve, args=(kernel.connection_file, folder, os.getpid()), daemon=True
        )
        kernel.process.start()
        try:
            yield kernel
        finally:
            kernel.process.kill()
            kernel.process.join()


def _serve(connection_file: str, folder: Path, parent: int) -> None:
    os.chdir(folder)
    # nobody debugs this kernel, and loading the debugger takes longer than all the rest
    sys.modules["debugpy"] = None  # type: ignore[assignment]
    arguments = [
        f"--IPKernelApp.connection_file={connection_file}",
        f"--IPKernelApp.parent_handle={parent}",  # ends with its parent, whatever ends that
        "--HistoryManager.hist_file=:memory:",
    ]
    IPKernelApp.launch_instance(argv=arguments)


def _cells(notebook: Path) -> list[Any]:
    cells: list[Any] = nbformat.read(notebook, as_version=4).cells  # type: ignore[no-untyped-call]
    return cells


def _unknown(source: Path, parameters: Mapping[str, Any]) -> list[str]:
    """The parameters that the notebook does not use; papermill would set them to no effect."""
    tagged = [c.source for c in _cells(source) if "parameters" in c.metadata.get("tags", [])]
    named = set(re.findall(r"^(\w+)\b[^=\n]*=", "\n".join(tagged[:1]), re.MULTILINE))
    return sorted(set(parameters) - named)


def _last_cell(target: Path) -> str:
    """The last cell that was begun: its number and first line."""
    begun = [
        cell for cell in _cells(target) if cell.metadata.get("papermill", {}).get("start_time")
    ]
    code = [cell for cell in begun if cell.cell_type == "code"]
    first_line = code[-1].source.strip().partition("\n")[0]
    return f"cell [{len(code)}] `{first_line}`"
