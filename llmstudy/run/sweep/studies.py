"""Runs many studies in parallel, so that one that fails does not stop the others.

With memos, each study is a `llmstudy run` in its own process: cluster workers may not be allowed to
start the processes that notebooks need (Dask's are not, by default), and a run that crashes does
not crash a worker. Without memos, the functions of the chapters are called in the worker: the same
figures about ten times faster, with no page but the portfolio.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import joblib

from llmstudy import io, paths
from llmstudy.chapters import BEFORE_MEMO
from llmstudy.chapters.all import chapter_results
from llmstudy.evidence.case import open_case
from llmstudy.memo.context import facts_of
from llmstudy.run import leftovers
from llmstudy.run.progress import reporting
from llmstudy.run.provenance import run_id
from llmstudy.run.sweep.portfolio import Row, Totals, failed, row, totals
from llmstudy.study import Study, StudyError, load


@dataclass(frozen=True)
class Portfolio:
    """A finished sweep: its rows in the order of the files, and the files written.

    paths: portfolio (the page), csv and json.
    """

    rows: tuple[Row, ...]
    totals: Totals
    paths: Mapping[str, Path]

    @property
    def failures(self) -> list[Row]:
        """The studies that failed."""
        return [row for row in self.rows if row.error]


def planned(files: Iterable[str | Path]) -> dict[Path, Study]:
    """The studies of these files, by path, all checked before any is run.

    Raises: StudyError with a line per fault of any file, or for two studies of the same name.

    >>> [study.study for study in planned([paths.params("default.yaml")]).values()]
    ['default']
    """
    studies: dict[Path, Study] = {}
    faults: list[str] = []
    named: dict[str, str | Path] = {}
    for file in files:
        try:
            study = load(file)
        except StudyError as error:
            faults += str(error).splitlines()
            continue
        if study.study in named:
            faults.append(
                f"{file}: its study is called {study.study}, as that of {named[study.study]} is: "
                "rename one of them."
            )
        named.setdefault(study.study, file)
        studies[paths.resolve(file).absolute()] = study
    if faults:
        raise StudyError("\n".join(faults))
    if not studies:
        raise StudyError("No study to run: name at least one study file.")
    return studies


def sweep(
    files: Iterable[str | Path],
    out: str | Path | None = None,
    memos: bool = True,
    n_jobs: int | None = None,
    progress: bool = True,
    fresh: bool = False,
) -> Portfolio:
    """Runs many studies in parallel, and writes them as one portfolio.

    The portfolio appears whole as `out/portfolio-ID/`, beside the runs of its studies. The rows do
    not depend on the workers; the row of a study that fails says why.

    out: by default `outputs` in the current folder; on a cluster a folder that all workers share.
    memos: whether every study becomes a full run with a memo. n_jobs: studies at once, as
    `joblib.Parallel`; None means as the active `joblib.parallel_config` says, else 1. progress:
    whether to show on stderr which studies have ended. fresh: whether the full runs execute every
    chapter, as in `run_study`.
    Raises: StudyError as `planned`; OSError if nothing can be written. Then no study is run.
    """
    studies = planned(files)
    hashes = {s.study: hashlib.sha256(f.read_bytes()).hexdigest() for f, s in studies.items()}
    name = f"portfolio-{run_id(datetime.now(UTC), {'studies_sha256': hashes})}"
    home = Path(out or "outputs").absolute()
    work = joblib.delayed(_timed_row)
    jobs = (work(file, study, home if memos else None, fresh) for file, study in studies.items())
    rows: dict[str, Row] = {}
    with (
        _draft(home / name) as draft,  # fails before anybody waits
        reporting(len(studies), progress) as tell,
    ):
        for ended, took_s in joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs):
            rows[ended.study] = ended
            verb = "failed after" if ended.error else "done in"
            tell((), {ended.study: f"{verb} {took_s:.0f} s"})
        return _write(tuple(rows[study] for study in hashes), draft, home / name)


@contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """A draft that becomes the folder at the end, or is removed on failure."""
    leftovers.clear(folder.parent, ".portfolio-*.partial")
    draft = folder.with_name(f".{folder.name}.partial")
    draft.mkdir(parents=True)
    try:
        with leftovers.locked(draft):
            yield draft
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write(rows: tuple[Row, ...], draft: Path, folder: Path) -> Portfolio:
    """Writes a portfolio to the draft of its folder."""
    # imported here, because it is slow and workers do not need it
    from llmstudy.run.sweep import page

    summed = totals(rows)
    linked = [replace(r, memo=r.memo and page.relative(Path(r.memo), folder)) for r in rows]
    written = {
        "portfolio": ("portfolio.html", page.html(linked, summed)),
        "csv": ("portfolio.csv", page.csv(linked)),
        "json": ("portfolio.json", io.dumps({"studies": linked, "totals": summed})),
    }
    for name, text in written.values():
        io.write(draft / name, text)
    return Portfolio(rows, summed, {key: folder / name for key, (name, _) in written.items()})


# ---- one study ----------------------------------------------------------------------------------


def _timed_row(file: Path, study: Study, home: Path | None, fresh: bool) -> tuple[Row, float]:
    """One study in a worker: its row, and the seconds that it took."""
    began = time.monotonic()
    return _row(file, study, home, fresh), time.monotonic() - began


def _row(file: Path, study: Study, home: Path | None, fresh: bool) -> Row:
    """The row of one study. home: where its run goes; None for the figures alone."""
    try:
        if home is None:
            return row(facts_of(study, chapter_results(open_case(study))))
        memo = _run(file, home, fresh)
        results = memo.parent / "results"
        chapters = {
            name: json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
            for name in BEFORE_MEMO
        }
        return row(facts_of(study, chapters), str(memo))
    except ValueError as error:
        return failed(study, str(error))
    except Exception as error:  # one study's error must not stop the others
        return failed(study, f"{type(error).__name__}: {error}")


def _run(file: Path, home: Path, fresh: bool) -> Path:
    """`llmstudy run` of a study. Returns: its memo. Raises: ValueError with its errors."""
    command = [sys.executable, "-m", "llmstudy", "run", str(file), "--out", str(home), "--json"]
    command += ["--fresh"] if fresh else []
    process = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    try:
        output = json.loads(process.stdout)
    except json.JSONDecodeError:  # it was killed
        last = process.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
        raise ValueError(f"Its run ended with exit code {process.returncode}: {last[0]}") from None
    if process.returncode:
        raise ValueError(" ".join(output["errors"]))
    return Path(output["paths"]["memo"])
