"""Writes the pages of a run, and the files that other programs read."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from nbformat import NotebookNode

from llmstudy import io
from llmstudy.memo import document, lint, render
from llmstudy.run import provenance, reuse
from llmstudy.study import Study

MEMO = "08_memo"
"""The chapter that is the memo."""


def why_no_pdf() -> str:
    """Why this machine cannot make a PDF, with the command that installs what is missing; or ""."""
    try:
        render.check_pdf()
    except render.PdfError as error:
        return str(error)
    return ""


def write_chapter(folder: Path, name: str, chapters: Iterable[str]) -> None:
    """Writes an executed chapter to `NAME.html`, with links to the others.

    Raises: RenderError as `render.chapter_html`.
    """
    try:
        page = render.chapter_html(_notebook(folder, name), _title(name), _links(chapters))
    except render.RenderError as error:
        raise render.RenderError(f"{name}: {error}") from None
    io.write(folder / f"{name}.html", page)


def write_gateway(folder: Path, study_name: str) -> str:
    """Writes the gateway's files of the decision to `gateway/`, and their list for the memo.

    Returns: empty, or why the gateway cannot be written.
    """
    from llmstudy.export.gateway import export_gateway
    from llmstudy.export.source import decision

    try:
        files = export_gateway(replace(decision(folder), origin=study_name), folder / "gateway")
    except ValueError as error:
        return f"No gateway is written: {error}"
    listed = sorted(file.relative_to(folder).as_posix() for file in files)
    io.write(folder / "results" / "gateway.json", io.dumps({"files": listed}))
    return ""


def write_memo(
    folder: Path, inputs: Mapping[str, Any], with_pdf: bool, fresh: bool
) -> tuple[int | None, str]:
    """Writes the memo chapter to `memo.html`, and to `memo.pdf` if wanted.

    inputs: of the run, as in its provenance; they end the memo. They are not in the notebook, whose
    text must be the same at every commit. fresh: whether to draw the PDF even if an earlier run
    drew the same page.
    Returns: the pages of the PDF (None without one), and a note if the memo is too long.
    Raises: RenderError as `render.memo_html`, LintError if the memo breaks a rule; the files are
    then there to look at.
    """
    notebook = _notebook(folder, MEMO)
    notebook.cells.append(_html_cell(document.provenance(inputs)))
    page = render.memo_html(notebook)
    io.write(folder / "memo.html", page)
    pages = _paper(folder, page, inputs, fresh) if with_pdf else None
    lint.check(page)
    long = " and ".join([*lint.length_faults(page), *(lint.page_faults(*pages) if pages else ())])
    note = f"memo.html is long: {long}. Shorter names would help." if long else ""
    return sum(pages) if pages else None, note


def _paper(folder: Path, page: str, inputs: Mapping[str, Any], fresh: bool) -> tuple[int, int]:
    """Writes `memo.pdf`, or takes it from the cache. Returns: as `render.paper`."""
    key = reuse.key("memo.pdf", page, provenance.of_all_chapters(inputs))
    lengths = None if fresh else reuse.take(key, folder)
    if lengths is None:
        lengths = render.paper(page, folder / "memo.pdf", (lint.MEMO_PAGES, lint.APPENDIX_PAGES))
        reuse.store(key, folder, ["memo.pdf"], lengths)
    before_appendix, rest = lengths
    return before_appendix, rest


def write_results(folder: Path) -> None:
    """Writes `results.json` from the memo chapter's results, and `figures.csv`, the ledger.

    Raises: ValueError if the chapters wrote no such results or no table `figures`.
    """
    try:
        memo = json.loads((folder / "results" / f"{MEMO}.json").read_text(encoding="utf-8"))
        io.write(folder / "results.json", io.dumps(memo["results"]))
        io.write(folder / "figures.csv", (folder / "tables" / "figures.csv").read_bytes())
    except (FileNotFoundError, KeyError) as error:
        raise ValueError(
            f"{MEMO} must write `results`, and a chapter the table `figures`, but {error} is "
            "missing."
        ) from None


def write_provenance(folder: Path, record: Mapping[str, Any]) -> None:
    """Writes `provenance.json`: the inputs of the run, and how it was made."""
    io.write(folder / "provenance.json", io.dumps(record))


def write_index(folder: Path, study: Study, chapters: Iterable[str]) -> None:
    """Writes `index.html`: the memo, the findings of each chapter, and all files of the run."""
    files = {
        "Charts": _names(folder, "charts/*.svg"),
        "Tables": _names(folder, "tables/*.csv"),
        "For programs": [*_names(folder, "*.json"), *_names(folder, "figures.csv")],
        "Results of each chapter": _names(folder, "results/*.json"),
        "The gateway": _names(folder, "gateway/**/*.*"),
        "Executed notebooks": _names(folder, "notebooks/*.ipynb"),
        "Measured in this run": _names(folder, "probes/**/*.*"),
    }
    parts = [
        f"<h1>{escape(study.question)}</h1>",
        f'<p class="source">Study {escape(study.study)} · {escape(study.company)} · '
        f"evidence as of {study.as_of.isoformat()}</p>",
        f"<h2>The memo</h2><ul>{_memos(folder)}</ul>",
        "<h2>The chapters and their findings</h2>",
        *(_chapter_entry(folder, name) for name in chapters if f"{name}.html" not in _MEMOS),
        "<h2>Files</h2>",
        *(f"<h3>{part}</h3><p>{_listed(names)}</p>" for part, names in files.items() if names),
    ]
    listing = nbformat.v4.new_notebook(cells=[_html_cell("\n".join(parts))])  # type: ignore[no-untyped-call]
    page = render.chapter_html(listing, "Overview", _links(chapters))
    io.write(folder / "index.html", page)


def _html_cell(fragment: str) -> NotebookNode:
    output = nbformat.v4.new_output("display_data", {"text/html": fragment})  # type: ignore[no-untyped-call]
    cell: NotebookNode = nbformat.v4.new_code_cell(outputs=[output])  # type: ignore[no-untyped-call]
    return cell


_MEMOS = {
    "memo.html": "Read it: one file, which can be mailed",
    "memo.pdf": "Print it",
    "08_memo.html": "Check it: each figure is linked to the chapter that made it",
}


def _memos(folder: Path) -> str:
    return "".join(
        f'<li><a href="{file}">{text}</a></li>'
        for file, text in _MEMOS.items()
        if (folder / file).exists()
    )


def _chapter_entry(folder: Path, name: str) -> str:
    """A chapter's question and findings, linked to its page."""
    page = f"{name}.html"
    headings = render.headings((folder / page).read_text(encoding="utf-8"))
    question = headings[0].text if headings else _title(name)
    findings = "".join(
        f'<li><a href="{page}#{heading.anchor}">{escape(heading.text)}</a></li>'
        for heading in headings[1:]
    )
    return f'<h3>{name[:2]} <a href="{page}">{escape(question)}</a></h3><ul>{findings}</ul>'


def _listed(files: Iterable[str]) -> str:
    return " · ".join(f'<a href="{quote(file)}">{escape(Path(file).name)}</a>' for file in files)


def _links(chapters: Iterable[str]) -> dict[str, str]:
    pages = {"Overview": "index.html", "Memo": "memo.html"}
    return pages | {_title(chapter): f"{chapter}.html" for chapter in chapters}


def _names(folder: Path, pattern: str) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.glob(pattern))


def _title(name: str) -> str:
    return name.replace("_", " ")


def _notebook(folder: Path, name: str) -> NotebookNode:
    file = folder / "notebooks" / f"{name}.ipynb"
    return nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call, no-any-return]
