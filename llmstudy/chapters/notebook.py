"""What a notebook needs besides prose: a place for its results, and ways to show them.

Nothing is computed here. The same results always show the same text, so that `nbval` can compare
it; text from a study or a log is escaped before it is shown.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import display

from llmstudy import charts, io, paths, tables
from llmstudy.chapters import BEFORE_MEMO
from llmstudy.study import Study, load
from llmstudy.study.document import mapping
from llmstudy.study.snapshot import to_json


class ChapterError(ValueError):
    """A chapter needs results that no earlier chapter of the same study has written."""


@dataclass(frozen=True)
class Chapter:
    """An open notebook: its name, its study and the folder that its run fills.

    The committed reference is read and never written: `make reference` executes into another folder
    and renames it.
    """

    name: str
    study: Study
    run: Path

    @cached_property
    def study_sha256(self) -> str:
        """SHA-256 of the study with its figures, stored with every result."""
        return sha256(io.dumps(to_json(self.study)).encode()).hexdigest()

    def read(self, name: str) -> dict[str, Any]:
        """The results of an earlier chapter of this study, as it wrote them.

        In a notebook that is executed by itself (a folder of `outputs/notebooks`), the committed
        reference is used if it is of this study; else the results are computed here, and the page
        says so.
        Raises: ChapterError if the notebook is part of a run in which that chapter has no results
        of this study.
        """
        if (results := self._written(name)) is not None:
            return results
        if self._alone:
            self.say(f"The results of {name} are computed here, as it was not executed yet.")
            return self._computed(name)
        file = self.run / "results" / f"{name}.json"
        changed = "are of another study, or of this one before a change,"
        fault = changed if file.is_file() else "are missing"
        raise ChapterError(
            f"{self.name} needs the results of {name}, which {fault} in {self.run}: execute "
            f"{name}.ipynb for this study first, or `llmstudy run` for all chapters."
        )

    @property
    def _alone(self) -> bool:
        """Whether the notebook is executed by itself."""
        return self.run.parent == paths.outputs() / "notebooks"

    def _written(self, name: str) -> dict[str, Any] | None:
        """The results that a chapter wrote for this study, or None."""
        for folder in [self.run, paths.reference()] if self._alone else [self.run]:
            file = folder / "results" / f"{name}.json"
            results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
            if results.pop("study_sha256", None) == self.study_sha256:
                return dict(results)
        return None

    def _computed(self, name: str) -> dict[str, Any]:
        from llmstudy.chapters.all import (
            chapter_results,  # it imports every chapter: most need none
        )
        from llmstudy.evidence.case import open_case

        earlier = {n: results for n in BEFORE_MEMO if (results := self._written(n)) is not None}
        results = chapter_results(open_case(self.study), [name], earlier)
        for chapter in results.keys() - earlier:
            replace(self, name=chapter).write(results[chapter])
        return results[name]

    def write(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """Writes the chapter's results to `results/NAME.json`, for later chapters and other tools.

        Returns: the results as later chapters read them.
        Raises: ValueError as `io.plain` does: write None, not NaN.
        """
        text = io.dumps({"study_sha256": self.study_sha256, **results})
        self._save(f"results/{self.name}.json", text)
        return {key: x for key, x in json.loads(text).items() if key != "study_sha256"}

    def _save(self, name: str, content: str) -> None:
        if self.run.resolve() != paths.reference().resolve():
            io.write(self.run / name, content)

    def show(self, name: str, chart: charts.Chart | None) -> None:
        """Shows a chart with its text alternative, and writes it to `charts/NAME.svg`.

        A chart of None, which has nothing to show, is left out.
        """
        if chart is None:
            return
        drawing = charts.svg(chart.figure)
        self._save(f"charts/{name}.svg", drawing)
        alt = {"image/svg+xml": {"alt": chart.alt}}
        _display({"image/svg+xml": drawing, "text/plain": chart.alt}, alt)

    def table(self, name: str, rows: pd.DataFrame | list[dict[str, Any]]) -> None:
        """Shows a table as described in `llmstudy.tables`, and writes it to `tables/NAME.csv`.

        For a table without rows, its description says whether a sentence says so or nothing is
        shown. Raises: KeyError for a table that is not described.
        """
        frame, described = io.columns(pd.DataFrame(rows)), tables.tables()[name]
        if not frame.empty or described.says_none:
            self.keep(frame, name)
        if not frame.empty:
            page = tables.page_table(frame, name)
            self.html(tables.table_html(page, described.caption, name))
        elif described.says_none:
            self.say(f"{described.caption}: none.")

    def keep(self, frame: pd.DataFrame, name: str) -> None:
        """Writes a table to `tables/NAME.csv` without showing it."""
        self._save(f"tables/{name}.csv", io.csv(frame))

    def heading(self, text: str) -> None:
        """Shows a finding as a heading of the third level. text: plain, as for `say`."""
        _display({"text/markdown": f"### {_literal(text)}"})

    def say(self, text: str) -> None:
        """Shows plain text as prose: `$`, `<b>` and `[a](b)` are shown as they are."""
        _display({"text/markdown": _literal(text)})

    def bullets(self, texts: Iterable[str]) -> None:
        """Shows a bulleted list, one bullet per text. texts: plain, as for `say`."""
        _display({"text/markdown": "\n".join(f"- {_literal(text)}" for text in texts)})

    def html(self, fragment: str) -> None:
        """Shows HTML as it is: the caller has escaped text from outside."""
        _display({"text/html": fragment})

    def page(
        self,
        pieces: Iterable[tuple[str, str]],
        by_name: Mapping[str, charts.Chart | None],
        sliders: str,
    ) -> None:
        """Shows the pieces of a page in order.

        pieces: ("html", HTML), ("chart", a name in `by_name`) or ("sliders", "").
        """
        for what, piece in pieces:
            if what == "chart":
                self.show(piece, by_name[piece])
            else:
                self.html(sliders if what == "sliders" else piece)


_MARKUP = re.compile(
    r"[\\`*_\[\]<>|~$&@#^{}]"  # emphasis, links, tags, code, tables, mathematics
    r"|^\s*[-+=]|(?<=^\d)[.)]|(?<=^\d\d)[.)]"  # lists and underlined headings
    r"|:(?=//)|(?<=www)\."  # addresses that would become links
)


def _literal(text: str) -> str:
    """Markdown that shows a text as it is, on one line.

    >>> _literal("[x](http://a) costs $5")
    '&#91;x&#93;(http&#58;//a) costs &#36;5'
    """
    line = " ".join(text.split())
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", line)


def _display(data: dict[str, str], metadata: Mapping[str, Any] | None = None) -> None:
    display(data, raw=True, metadata=metadata)  # type: ignore[no-untyped-call]


def open_chapter(
    name: str, study: str | Study, run: str = "", overrides: Mapping[str, Any] | str = ""
) -> Chapter:
    """The chapter that a notebook's first cell opens.

    study: a study file, relative to the current folder or the project's root, or a study, such as
    `chapter.study.with_({...})`. run: the folder that the run fills, also relative, created if
    missing; by default a folder in `outputs/notebooks` for this study file and these overrides.
    overrides: as in `Study.with_`, or the mapping as YAML text.
    Raises: StudyError if the study cannot be used.
    """
    if isinstance(overrides, str):
        overrides = mapping(overrides)
    if isinstance(study, Study):
        loaded = study.with_(overrides)
        place = io.dumps(to_json(loaded))
    else:
        loaded = load(study, overrides)
        place = str(paths.resolve(study).resolve())
        if overrides:
            place += io.dumps(to_json(loaded)["overrides"])
    folder = Path(run)
    if not run:
        short = sha256(place.encode()).hexdigest()[:6]
        folder = paths.outputs() / "notebooks" / f"{loaded.study}-{short}"
    elif not folder.exists():
        folder = paths.outputs().parent / folder
    folder.mkdir(parents=True, exist_ok=True)
    return Chapter(name, loaded, folder)
