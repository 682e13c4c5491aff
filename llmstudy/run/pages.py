"""What does a reader open? The pages of a run, and the files that other programs read."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from llmstudy import canonical
from llmstudy.memo import render


def why_no_pdf() -> str:
    """Why this machine can make no PDF, with the command that mends it; empty where it can."""
    try:
        render.check_pdf()
    except render.PdfError as error:
        return str(error)
    return ""


def write_chapter(folder: Path, name: str, chapters: Iterable[str]) -> None:
    """The executed chapter as `NAME.html`, with links to the others.

    Raises: RenderError as `render.chapter_html` does.
    """
    links = {"Overview": "index.html", "Memo": "memo.html"}
    links |= {_title(chapter): f"{chapter}.html" for chapter in chapters}
    try:
        page = render.chapter_html(_notebook(folder, name), _title(name), links)
    except render.RenderError as error:
        raise render.RenderError(f"{name}: {error}") from None
    canonical.write(folder / f"{name}.html", page)


def write_memo(folder: Path, name: str, with_pdf: bool) -> int | None:
    """The memo chapter as `memo.html`, and as `memo.pdf` if asked.

    Returns: pages of the PDF, or None without one. Raises: RenderError as `render.memo_html` does.
    """
    page = render.memo_html(_notebook(folder, name))
    canonical.write(folder / "memo.html", page)
    return render.pdf(page, folder / "memo.pdf") if with_pdf else None


def write_results(folder: Path, name: str) -> None:
    """`results.json` from the memo chapter's results, and `figures.csv`, the ledger of figures.

    Raises: ValueError if the chapters wrote no such results or no table `figures`.
    """
    try:
        memo = json.loads((folder / "results" / f"{name}.json").read_text(encoding="utf-8"))
        canonical.write(folder / "results.json", canonical.dumps(memo["results"]))
        canonical.write(folder / "figures.csv", (folder / "tables" / "figures.csv").read_bytes())
    except (FileNotFoundError, KeyError) as error:
        raise ValueError(
            f"{name} must write `results` and some chapter the table `figures`, but {error} is "
            "missing."
        ) from None


def write_provenance(folder: Path, record: Mapping[str, Any]) -> None:
    """`provenance.json`: of what and how the run was made."""
    canonical.write(folder / "provenance.json", canonical.dumps(record))


def write_index(folder: Path, question: str, chapters: Iterable[str]) -> None:
    """`index.html`: links to all that the run's folder holds."""
    parts = {
        "Memo": [p.name for p in (folder / "memo.html", folder / "memo.pdf") if p.exists()],
        "Chapters": [f"{name}.html" for name in chapters],
        "Charts": _names(folder, "charts/*.svg"),
        "Tables": ["figures.csv", *_names(folder, "tables/*.csv")],
        "For programs": ["results.json", "provenance.json", *_names(folder, "results/*.json")],
        "Executed notebooks": _names(folder, "notebooks/*.ipynb"),
    }
    text = [f"# {question}"]
    for part, files in parts.items():
        text += [f"## {part}", "\n".join(f"- [{_title(Path(f).stem)}]({f})" for f in files)]
    cell = nbformat.v4.new_markdown_cell("\n\n".join(text))  # type: ignore[no-untyped-call]
    listing = nbformat.v4.new_notebook(cells=[cell])  # type: ignore[no-untyped-call]
    page = render.chapter_html(listing, "Overview", {})
    canonical.write(folder / "index.html", page)


def _names(folder: Path, pattern: str) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.glob(pattern))


def _title(name: str) -> str:
    return name.replace("_", " ")


def _notebook(folder: Path, name: str) -> NotebookNode:
    file = folder / "notebooks" / f"{name}.ipynb"
    return nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call, no-any-return]
