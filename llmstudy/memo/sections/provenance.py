"""How the figures were made, where each chapter is, and the inputs of the run."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from markupsafe import escape

from llmstudy.memo.context import BEFORE_MEMO, Facts
from llmstudy.memo.figures import counted, told
from llmstudy.memo.sections.prose import definitions, heading, owner_text, paragraph
from llmstudy.text import share


def method(facts: Facts) -> str:
    """How the figures were made, in a few lines."""
    study, figures = facts.study, facts.reckoned
    fits = facts.chapters["05_self_hosting"]["serving_fit"]
    cap = facts.stated("volume_cap")["value"]
    return heading("method", "Method") + paragraph(
        f"Every request is priced singly at {study.as_of}, on permitted routes only. Self-hosted "
        f"capacity follows a four-parameter serving curve fitted to measured vLLM points; over "
        f"{counted(fits)} groups its median held-out error is "
        f"{told(figures['heldout_error'], share)}. Fleets are whole replicas with "
        f"{told(figures['spare_replicas'])} spare, paid for every hour.",
        f"Costs are drawn {told(figures['draws'])} times over "
        f"{told(facts.stated('horizon')['value'])} months with common random numbers; a crossover "
        "is the constant volume from which an arm stays cheaper, and never means none below "
        f"{told(cap)} requests a month. Quality is judged by Tango intervals of paired differences "
        "against a non-inferiority margin.",
        "Capacity holds the mean pace of an answer to its target, so the slowest requests may miss "
        "it; each workload alone carries the whole team in its own verdict.",
    )


def chapter_links(chapters: Iterable[str] = BEFORE_MEMO) -> str:
    """Links to the chapters, which are beside the memo in the folder of its run."""
    links = [f'<a href="{name}.html">{name.replace("_", " ")}</a>' for name in chapters]
    return paragraph(
        "Each figure says on hovering how it was graded, its source, its date and the chapter that "
        f"made it; the chapters lie beside this memo in its run: {', '.join(links)}."
    )


def provenance(made: Mapping[str, Any]) -> str:
    """The inputs of the run, and the command to repeat it.

    made: command, seed, package, python, git_sha, git_dirty, study_sha256, lock_sha256 and
    data_sha256 (by file), as `provenance.json` holds them in full.
    """
    code = str(made["git_sha"] or "not in git")[:12]
    if made["git_dirty"]:
        code += " with uncommitted changes"
    data = sha256("".join(f"{k}{v}" for k, v in sorted(made["data_sha256"].items())).encode())
    terms = {
        "To reproduce": owner_text(made["command"]),
        "Code": f"llmstudy {made['package']}, {code}",
        "Python": str(made["python"]),
        "Seed": str(made["seed"]),
        "Study": str(made["study_sha256"])[:12],
        "Data": f"{data.hexdigest()[:12]} ({len(made['data_sha256'])} files)",
        "Lock": str(made["lock_sha256"] or "none")[:12],
    }
    listing = definitions({term: str(escape(text)) for term, text in terms.items()})
    return (
        '<section data-section="provenance" aria-label="Provenance">'
        f"<h2>Provenance</h2>{listing}</section>"
    )
