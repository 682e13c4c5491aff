"""Runs the chapters of a study in order, two at a time, into one folder.

A run is written completely or not at all: it goes to a draft folder that is renamed at the end, and
a run that fails leaves the last good one as it was.
"""

import json
import re
import shlex
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from itertools import chain
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmstudy import io, paths
from llmstudy.chapters import READS
from llmstudy.run import leftovers, provenance
from llmstudy.run.errors import NotebookError
from llmstudy.run.notebook import Execution, load_libraries
from llmstudy.run.progress import reporting
from llmstudy.run.reuse import Desk

if TYPE_CHECKING:
    from llmstudy.compare.diff import Run
    from llmstudy.study import Study


AT_ONCE = 2
"""Notebooks that run in parallel: a third makes all of them slower on a machine with two cores."""

CELL_TIMEOUT_S = 300.0

PROBING, PROBING_TIMEOUT_S = "05_self_hosting", 7200.0
"""The chapter with the parameter `probe`, and the time limit of its cells when it uses a GPU."""

CHAPTERS = {name: READS[name] for name in sorted(READS, key=lambda name: name != PROBING)}
"""Each chapter, and those whose results it reads. The longest is first, so that it starts first."""

_FILES = {
    "memo": "memo.html",
    "pdf": "memo.pdf",
    "index": "index.html",
    "results": "results.json",
    "figures": "figures.csv",
    "provenance": "provenance.json",
}

_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


class RunError(ValueError):
    """A run that failed; the message names the chapter, the cell and the reason."""


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    paths: memo, index, results, figures, provenance, and pdf if one could be made. note: empty, or
    sentences on how to get a PDF, on a PDF that is too long, on items that were judged again
    without counting a look, and on why there are no files of a gateway.
    """

    run_id: str
    folder: Path
    paths: Mapping[str, Path]
    note: str


def run_study(
    study_path: str | Path,
    out: str | Path | None = None,
    progress: bool = True,
    probe: bool = False,
    previous: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    fresh: bool = False,
) -> RunResult:
    """Executes the chapters of a study and renders the memo, in `out/STUDY/RUN-ID/`.

    A chapter that an earlier run executed on the same inputs is not executed again: its outputs are
    taken from the user's cache (see `reuse`), and `reused` in `provenance.json` names that run.

    out: by default `outputs` in the current folder. progress: whether to show it on stderr. probe:
    whether chapter 05 measures this machine's GPU first. previous: the folder of the run that this
    memo is compared with; by default the study's latest comparable run in `out` without overrides
    or, if nothing has changed since, the run that that one was compared with. The changes are
    written to `results/diff.json` (see `llmstudy.compare.diff`) before the memo is. overrides:
    values in place of the study's, as `Study.with_`. fresh: whether to execute every chapter.
    Raises: StudyError if the study cannot be used, ValueError if its log, a probe run that it names
    or the previous run cannot (in these cases nothing is written); RunError if a chapter fails
    (everything written so far is then in `out/STUDY/failed-RUN-ID/`).
    """
    started = datetime.now(UTC)
    from llmstudy.study import load
    from llmstudy.study.snapshot import to_json

    study, file = load(study_path, overrides), paths.resolve(study_path).absolute()
    home = Path(out or "outputs").absolute() / study.study
    _check_owner(home, file)
    state = provenance.state(file, study)
    inputs = provenance.made_of(file, study)
    run_id = provenance.run_id(started, inputs)
    while (home / run_id).exists():  # a run of the same inputs that ended within this second
        time.sleep(0.1)
        started = datetime.now(UTC)
        run_id = provenance.run_id(started, inputs)
    draft = home / f".{run_id}.partial"
    parameters: dict[str, Any] = {"study": str(file), "probe": probe}
    parameters |= {"overrides": dict(overrides)} if overrides else {}
    desk = Desk(
        draft,
        run_id,
        CHAPTERS,
        parameters,
        [provenance.of_all_chapters(inputs), to_json(study)],
        lambda: provenance.state(file, study) == state,
        set(CHAPTERS) if fresh else {PROBING} if probe else set(),
    )
    if not all(desk.has(name) for name, needs in CHAPTERS.items() if not needs):
        load_libraries()
    # imported in parallel with the server's imports, since both are slow
    from llmstudy.run import pages
    from llmstudy.run.record import paths_of

    # the inputs are read first, so that faults are reported before any chapter runs
    if study.requests:
        from llmstudy.evidence.traffic import traffic_of

        traffic_of(study)
    if any(route.probe for route in study.routes.values()):
        from llmstudy.evidence.probes import probes_of

        probes_of(study)
    assignments = {path: json.dumps(x) for path, x in (overrides or {}).items()}
    same_inputs = None if previous or overrides else _latest_of(home, inputs)
    then = None if same_inputs else _previous(previous, study.study, out)
    inputs |= {"paths": {"study": file, **paths_of(study)}}

    refused: list[str] = []

    def begin(name: str) -> Execution | None:
        if name == "08_memo":
            refused.append(pages.write_gateway(draft, study.study))
            inputs["previous"] = _write_changes(then, same_inputs, draft, run_id, study, inputs)
        if desk.take(name):
            return None
        load_libraries()
        return begin_chapter(name, desk.open(name), draft / "notebooks")

    with _whole(draft, home / run_id):
        seconds: dict[str, float] = {}
        with closing(executed(begin, progress, desk.close)) as rounds:
            first = next(rounds)
            note = pages.why_no_pdf()  # loads the PDF libraries while the first chapter runs
            for ended in chain([first], rounds):
                for name, took_s in ended.items():
                    if took_s is not None:
                        seconds[name] = took_s
                        pages.write_chapter(draft, name, sorted(CHAPTERS))
                        desk.store(name)
        pages.write_results(draft)
        command = f"llmstudy run {study_path}" + (" --probe" if probe else "")
        command += f" --previous {previous}" if previous else ""
        command += "".join(f" --set {shlex.quote(f'{k}={v}')}" for k, v in assignments.items())
        origin = {"seed": study.seed, "command": command, "overrides": assignments, **inputs}
        n_pages, long = pages.write_memo(draft, origin, not note, fresh)
        record = {
            "run_id": run_id,
            "study": study.study,
            "started": started,
            "finished": datetime.now(UTC),
            "seconds": seconds,
            "reused": desk.reused,
            "memo_pages": n_pages,
            **origin,
        }
        pages.write_provenance(draft, record)
        pages.write_index(draft, study, sorted(CHAPTERS))
    folder = home / run_id
    written = {key: folder / name for key, name in _FILES.items() if (folder / name).exists()}
    changes = folder / "results" / "diff.json"
    looks = json.loads(changes.read_text("utf-8"))["looks"] if changes.is_file() else []
    return RunResult(
        run_id, folder, written, " ".join(filter(None, [*looks, *refused, note or long]))
    )


def latest_run(study_name: str, out: str | Path | None = None) -> Path | None:
    """The folder of a study's latest finished run without overrides, or None.

    study_name: the study's `study` key.
    """
    return _latest(Path(out or "outputs").absolute() / study_name)


def _latest(home: Path) -> Path | None:
    finished = (file.parent for file in home.glob("*/provenance.json"))
    runs = sorted((f for f in finished if _RUN_ID.fullmatch(f.name)), reverse=True)
    return next((folder for folder in runs if not _overrides(folder)), None)


def _overrides(run: Path) -> Any:
    """The overrides of a run, or None."""
    try:
        return _record(run).get("overrides")
    except (OSError, ValueError, AttributeError):  # whoever reads the run says what is wrong
        return None


def _record(run: Path) -> Any:
    return json.loads((run / "provenance.json").read_text(encoding="utf-8"))


def _check_owner(home: Path, study: Path) -> None:
    """Raises ValueError if a folder belongs to another study: a copied file keeps its name."""
    reserved = [paths.outputs() / name for name in ("reference", "example", "notebooks")]
    if home in [folder.absolute() for folder in reserved]:
        raise ValueError(
            f"{study}: study: {home.name} is the name of a folder that this project uses "
            "itself: give the study another name."
        )
    try:
        record = _record(_latest(home) or home)
        other = Path(record["paths"]["study"])
        belongs_to_other = other.exists() and not other.samefile(study)
    except (OSError, ValueError, KeyError, TypeError):  # of another version, or nobody's
        return
    if belongs_to_other and other.read_bytes() != study.read_bytes():
        raise ValueError(
            f"{study}: study: {home.name} is also the name of {other}, whose runs are in {home}: "
            "give the study a name of its own, or its runs another folder with --out."
        )


# ---- the memo before this one -------------------------------------------------------------------


def _previous(folder: Path | None, study_name: str, out: str | Path | None) -> "Run | None":
    """The run to compare with: the one in folder, else the latest one that can be read."""
    from llmstudy.run.record import read_run

    if folder is not None:
        run = read_run(folder)
        if run.results["study"] != study_name:
            raise ValueError(
                f"{folder} is a run of {run.results['study']}, not of {study_name}: give a run of "
                "the same study."
            )
        return run
    latest = latest_run(study_name, out)
    try:
        return None if latest is None else read_run(latest)
    except ValueError:  # of another version, say: nobody asked for it
        return None


def _latest_of(home: Path, inputs: Mapping[str, Any]) -> Path | None:
    """The latest run in a study's folder if it has the same inputs, else None."""
    latest = _latest(home)
    try:
        return (
            latest if latest and io.run_inputs(_record(latest)) == io.run_inputs(inputs) else None
        )
    except (OSError, ValueError, KeyError, TypeError):  # of another version
        return None


def _write_changes(
    then: "Run | None",
    same_inputs: Path | None,
    draft: Path,
    run_id: str,
    study: "Study",
    inputs: Mapping[str, Any],
) -> str | None:
    """Writes what has changed since the previous run, for the memo. Returns: the ID of that run.

    same_inputs: the latest run if it has the same inputs. If its results are the same too, so is
    the memo, which is then compared with the same previous run.
    """
    changes = draft / "results" / "diff.json"
    if same_inputs and all(
        (same_inputs / "results" / file.name).read_bytes() == file.read_bytes()
        for file in draft.glob("results/*.json")
    ):
        if (same_inputs / "results" / changes.name).is_file():
            io.write(changes, (same_inputs / "results" / changes.name).read_bytes())
        previous: str | None = _record(same_inputs).get("previous")
        return previous
    from llmstudy.compare.runs import compared
    from llmstudy.run.record import read_run, run_under_way

    if same_inputs:
        then = read_run(same_inputs)
    if then is None:
        return None
    difference = compared(then, run_under_way(draft, run_id, study, inputs))
    difference["now"]["run_id"] = None  # it has a time in it, which results must not
    io.write(changes, io.dumps(difference))
    return then.run_id


# ---- the chapters in order ----------------------------------------------------------------------


def executed(
    begin: Callable[[str], Execution | None],
    progress: bool,
    close: Callable[[str], None] = lambda name: None,
) -> Generator[dict[str, float | None]]:
    """Executes all chapters, and yields whenever some have begun or ended.

    begin: begins a chapter, or returns None if it need not be executed. close: called when an
    execution has ended, even if it failed, before any chapter that depends on it begins.
    Yields: the chapters that have ended since the last yield, with the seconds each took (None: not
    executed). Close the generator to stop what still runs.
    Raises: RunError that names chapter and cell.
    """
    order = TopologicalSorter(CHAPTERS)
    order.prepare()
    ready: list[str] = []
    running: dict[str, tuple[Execution, float]] = {}
    ended: dict[str, float | None] = {}
    with reporting(len(CHAPTERS), progress) as tell:
        try:
            while order.is_active():
                ready += order.get_ready()
                while ready and len(running) < AT_ONCE:
                    name = ready.pop(0)
                    execution = begin(name)
                    if execution:
                        running[name] = (execution, time.monotonic())
                    else:
                        ended[name] = None
                        order.done(name)
                        ready += order.get_ready()
                tell(running, {name: _outcome(took_s) for name, took_s in ended.items()})
                yield ended
                ended = {}
                if running:
                    wait([execution.sentinel for execution, _ in running.values()])
                for name in [name for name, (execution, _) in running.items() if execution.over]:
                    ended[name] = _end(name, *running.pop(name), close)
                    order.done(name)
            tell(running, {name: _outcome(took_s) for name, took_s in ended.items()})
            yield ended
        finally:
            for name, (execution, _) in running.items():
                execution.stop()
                close(name)


def begin_chapter(name: str, parameters: Mapping[str, Any], folder: Path) -> Execution:
    """Begins the execution of a chapter into a folder. parameters: those of all chapters."""
    folder.mkdir(parents=True, exist_ok=True)
    source = paths.notebooks() / f"{name}.ipynb"
    measures = name == PROBING and parameters.get("probe")
    limit_s = PROBING_TIMEOUT_S if measures else CELL_TIMEOUT_S
    values = {key: value for key, value in parameters.items() if key != "probe" or name == PROBING}
    return Execution(source, folder / f"{name}.ipynb", values, limit_s)


def _end(name: str, execution: Execution, began: float, close: Callable[[str], None]) -> float:
    try:
        execution.finish()
    except NotebookError as error:
        raise RunError(f"{name}: {error}") from None
    finally:
        close(name)
    return round(time.monotonic() - began, 3)


def _outcome(took_s: float | None) -> str:
    return "unchanged since an earlier run" if took_s is None else f"executed in {took_s:.0f} s"


# ---- whole or not at all ------------------------------------------------------------------------


@contextmanager
def _whole(draft: Path, final: Path) -> Iterator[None]:
    leftovers.clear(final.parent, ".*.partial")
    try:
        draft.mkdir(parents=True)
    except FileExistsError:
        raise RunError(f"A run {final.name} of this study is in progress: wait for it.") from None
    try:
        with leftovers.locked(draft):
            yield
    except BaseException as error:
        failed = _settle(draft, final.with_name(f"failed-{final.name}"))
        if isinstance(error, ValueError):
            fault = str(error).rstrip(".")
            raise RunError(f"{fault}. What was written is in {failed}.") from None
        raise
    _settle(draft, final)


def _settle(draft: Path, final: Path) -> Path:
    """Renames a draft, also within its notebooks, whose parameters name the folder."""
    for notebook in draft.glob("notebooks/*.ipynb"):
        text = notebook.read_text(encoding="utf-8")
        notebook.write_text(text.replace(str(draft), str(final)), encoding="utf-8")
    return draft.rename(final)
