"""What tests share: the studies that ship, assessed once each, a run's pages, real traces."""

import fcntl
import json
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from llmstudy import paths
from llmstudy.study import Study, load

# what passes here passes in CI: an example that nobody has seen is no reason to refuse a change
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@dataclass(frozen=True)
class Assessment:
    """A case and what its chapters wrote, by chapter name."""

    case: Any
    results: Mapping[str, Any]

    def rows(self, chapter, table, **wanted):
        """Rows of a result table whose columns hold the wanted values."""
        rows = self.results[chapter][table]
        return [row for row in rows if all(row[k] == v for k, v in wanted.items())]

    def row(self, chapter, table, **wanted):
        """The one such row."""
        (found,) = self.rows(chapter, table, **wanted)
        return found


def run_chapters(study: Study) -> Assessment:
    """The chapters in order; each reads what the ones before it wrote, as the notebooks do."""
    # imported here: most tests do without the assessment, and it takes seconds to import
    from llmstudy.chapters.all import chapter_results
    from llmstudy.evidence.case import open_case

    case = open_case(study)
    return Assessment(case, chapter_results(case))


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory, worker_id) -> Path:
    """A folder that the workers of a session share."""
    folder = tmp_path_factory.getbasetemp()
    return folder if worker_id == "master" else folder.parent


@pytest.fixture(scope="session", autouse=True)
def _cache_of_session(session_folder) -> None:
    """What the package stores lies in the session's folder; matplotlib keeps its fonts."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("MPLCONFIGDIR", str(user / "matplotlib"))
    os.environ["XDG_CACHE_HOME"] = str(session_folder / "cache")


@pytest.fixture(scope="session")
def once(session_folder) -> Callable[[str, Callable[[], Any]], Any]:
    """What takes long is made once by its name, by the first worker of a session that needs it."""
    folder = session_folder

    def made(name: str, make: Callable[[], Any]) -> Any:
        file = folder / f"{name}.pickle"
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not file.is_file():
                file.write_bytes(pickle.dumps(make()))
        return pickle.loads(file.read_bytes())

    return made


@pytest.fixture(scope="session")
def reference() -> Mapping[str, Any]:
    """What the chapters of the reference run, of the default study, wrote, by chapter name."""
    folder = paths.ROOT / "outputs" / "reference" / "results"
    return {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("0*.json"))}


@pytest.fixture(scope="session")
def default_case() -> Any:
    """The default study with its traffic read."""
    from llmstudy.evidence.case import open_case

    return open_case(load(paths.params("default.yaml")))


@pytest.fixture(scope="session")
def priced(default_case, reference) -> Any:
    """The default study, and what every route charges every workload, from the reference run."""
    from llmstudy.simulate.inputs import market

    return default_case.study, market(reference["02_cost"], reference["05_self_hosting"])


@pytest.fixture(scope="session")
def base(default_case, reference) -> Any:
    """The default study prepared for an answer under changes, from the reference run."""
    from llmstudy.answer import prepare

    return prepare(default_case, reference)


@pytest.fixture(scope="session")
def assess() -> Callable[[Study], Assessment]:
    """Assesses a study, with smaller samples where only a ranking or a replay rests on them."""
    from llmstudy.decide import waiting
    from llmstudy.measures.capacity.sizing import peak
    from llmstudy.simulate import drivers

    def assess_(study: Study) -> Assessment:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(waiting, "N_PATHS", 1000)
            patch.setattr(drivers, "N_SOBOL", 256)
            patch.setattr(drivers, "N_PAWN", 1000)
            patch.setattr(drivers, "MOST_FLIPS", 4)
            patch.setattr(peak, "PEAK_REQUESTS", 20_000)
            return run_chapters(study)

    return assess_


@pytest.fixture(scope="session")
def run_of(once, tmp_path_factory) -> Callable[[str], Any]:
    """The finished run of a study that ships, by its name, executed once for all workers."""
    from llmstudy.run import run_study

    def run(name: str) -> Any:
        out = tmp_path_factory.mktemp("outputs")
        return run_study(paths.params(f"{name}.yaml"), out, progress=False)

    return cache(lambda name: once(f"run_{name}", lambda: run(name)))


@pytest.fixture(scope="session")
def assessed(run_of) -> Callable[[str], Assessment]:
    """A study that ships, by its name, and what the chapters of its run wrote."""
    from llmstudy.evidence.case import open_case

    def of(name: str) -> Assessment:
        chapters = {}
        for file in sorted((run_of(name).folder / "results").glob("0[1-7]_*.json")):
            chapters[file.stem] = json.loads(file.read_text(encoding="utf-8"))
            del chapters[file.stem]["study_sha256"]
        return Assessment(open_case(load(paths.params(f"{name}.yaml"))), chapters)

    return cache(of)


@pytest.fixture
def variant(tmp_path) -> Callable[..., Path]:
    """Writes a study that ships with some of its text replaced, once per (old, new) pair."""

    def write(name: str, *changes: tuple[str, str]) -> Path:
        text = paths.params(f"{name}.yaml").read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text, f"{name}.yaml does not hold {old!r}"
            text = text.replace(old, new, 1)
        file = tmp_path / f"{name}.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def reference_pages(tmp_path_factory) -> Path:
    """A folder of the pages that a run writes, made from the chapters of `outputs/reference`."""
    from llmstudy.run import CHAPTERS, made_of, pages

    folder = tmp_path_factory.mktemp("reference") / "run"
    chapters, study = sorted(CHAPTERS), paths.params("default.yaml")
    shutil.copytree(paths.ROOT / "outputs" / "reference", folder)
    (folder / "notebooks").mkdir()
    for name in chapters:
        (folder / f"{name}.ipynb").rename(folder / "notebooks" / f"{name}.ipynb")
        pages.write_chapter(folder, name, chapters)
    made = {"command": "llmstudy run params/default.yaml", "seed": 1, **made_of(study, load(study))}
    pages.write_memo(folder, made, with_pdf=False, fresh=False)
    pages.write_index(folder, load(study), chapters)
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of figures and traces beside the checkout."""
    folder = paths.ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder `shared` beside the checkout")
    return folder
