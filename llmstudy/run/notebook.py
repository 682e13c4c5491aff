"""Executes notebooks in parallel, each in its own process with preloaded libraries.

Importing pandas, scipy and matplotlib takes longer than most notebooks. One server process imports
them once, and every execution is forked from it: a fresh state in a fraction of a second. On
systems without fork (Windows), each process imports for itself.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing import forkserver, get_all_start_methods, get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

from llmstudy.run import leftovers
from llmstudy.run.errors import NotebookError

LIBRARIES = [
    "papermill",
    "jupyter_client.manager",
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "matplotlib.backends.backend_svg",
    "matplotlib_inline.backend_inline",
    "pandas",
    "scipy.stats",
    "scipy.optimize",
    "pydantic",
    "ruamel.yaml",
    "duckdb",
    "genai_prices",
    "SALib.analyze.sobol",
    "llmstudy.run.kernel",
    "llmstudy.evidence.case",
    "llmstudy.chapters.findings",
    "llmstudy.memo.document",
    "llmstudy.run.record",
]
"""What chapters import. The server loads it once: code that is edited later needs a new process."""


class Execution:
    """A notebook that is being executed into target.

    target gets the notebook even if it fails. timeout_s: per cell.
    """

    def __init__(
        self, source: Path, target: Path, parameters: Mapping[str, Any], timeout_s: float
    ) -> None:
        self._report, sender = _context().Pipe(duplex=False)
        job = (source, target, dict(parameters), timeout_s, sender)
        self._process = _context().Process(target=_work, args=job)
        self._process.start()
        sender.close()
        self.sentinel: int = self._process.sentinel
        """What `multiprocessing.connection.wait` waits for: ready when the execution is over."""

    @property
    def over(self) -> bool:
        """Whether it has ended, successfully or not."""
        return not self._process.is_alive()

    def finish(self) -> None:
        """Waits for the end. Raises: NotebookError if the notebook failed."""
        self._process.join()
        try:
            fault = self._report.recv()
        except EOFError:
            fault = f"its process ended with exit code {self._process.exitcode}"
        if fault:
            raise NotebookError(fault)

    def stop(self) -> None:
        """Ends the execution and its kernel."""
        self._process.terminate()
        self._process.join()


def load_libraries() -> None:
    """Starts the imports of the server, without waiting for them."""
    leftovers.short_temporary_folder()
    leftovers.clear(Path(tempfile.gettempdir()), "llmstudy-*")
    # two notebooks run at once: a second thread each costs more in waiting than it saves
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if _METHOD == "forkserver":
        forkserver.set_forkserver_preload(LIBRARIES)
        forkserver.ensure_running()


_METHOD = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"


def _context() -> Any:
    return get_context(_METHOD)


def _work(
    source: Path, target: Path, parameters: dict[str, str], timeout_s: float, report: Connection
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, who then stops us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the kernel is cleared away
    Thread(target=_end_with_caller, daemon=True).start()
    from llmstudy.run.kernel import execute

    try:
        execute(source, target, parameters, timeout_s)
    except NotebookError as error:
        report.send(str(error))
    except Exception as error:  # a traceback in a worker helps nobody: its line is the report
        report.send(f"{type(error).__name__}: {error}")
    else:
        report.send("")


def _end_with_caller() -> None:
    """Ends this process once its caller has gone, since a killed caller cannot do so."""
    caller = parent_process()
    assert caller is not None
    caller.join()
    os.kill(os.getpid(), signal.SIGTERM)
