"""`llmstudy doctor`: what this machine lacks, and which command adds it.

The requirements are read from the package's metadata, so that pyproject.toml alone states them.
"""

import os
import platform
import shutil
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

import typer
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from llmstudy.cli.terminal import AsJson, mistakes, print_json

ADDS = {
    "lab": "JupyterLab, to read the chapters and move the sliders",
    "pii": "presidio, whose recognisers redact more than the own patterns",
    "gpu": "vLLM, to measure self-hosted routes on your own GPU",
    "test": "what the package's own tests need",
}
"""What each extra of pyproject.toml adds."""


@dataclass(frozen=True)
class Part:
    """Something that the machine has or lacks.

    detail: its version, its path, or what is wrong. command: what to type to add it, "" if nothing.
    """

    name: str
    ok: bool
    detail: str
    command: str = ""


@dataclass(frozen=True)
class Report:
    """core: needed by every command. extras, machine: each makes more commands or formats work."""

    core: tuple[Part, ...]
    extras: tuple[Part, ...]
    machine: tuple[Part, ...]

    @property
    def exit_code(self) -> int:
        """1 if a part of the core is missing or too old."""
        return 0 if all(part.ok for part in self.core) else 1


def examine(outputs: Path) -> Report:
    """Examines this interpreter and machine. outputs: the folder that runs are written to."""
    requirements = [Requirement(line) for line in requires("llmstudy") or []]
    core = [requirement for requirement in requirements if _applies(requirement, "")]
    return Report(
        core=(_python(), *(_package(requirement) for requirement in core)),
        extras=tuple(_extra(name, requirements) for name in ADDS),
        machine=(_pdf(), _git(), _writable(outputs)),
    )


# --- packages -------------------------------------------------------------------------------


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _python() -> Part:
    needed = metadata("llmstudy")["Requires-Python"]
    installed = platform.python_version()
    ok = SpecifierSet(needed).contains(installed, prereleases=True)
    return Part("Python", ok, installed, "" if ok else f"install Python {needed}")


def _package(requirement: Requirement) -> Part:
    name, needed = requirement.name, requirement.specifier
    command = f"pip install '{name}{needed}'"
    try:
        installed = version(name)
    except PackageNotFoundError:
        return Part(name, False, f"missing, needs {needed}", command)
    if needed.contains(installed, prereleases=True):
        return Part(name, True, installed)
    return Part(name, False, f"{installed}, needs {needed}", command)


def _extra(extra: str, requirements: Iterable[Requirement]) -> Part:
    extras = [r for r in requirements if _applies(r, extra) and not _applies(r, "")]
    if not extras:
        return Part(extra, False, "not for this kind of machine")
    lacking = [part for part in map(_package, extras) if not part.ok]
    if not lacking:
        return Part(extra, True, "installed")
    names = ", ".join(part.name for part in lacking)
    wanted = " ".join(part.command.removeprefix("pip install ") for part in lacking)
    return Part(extra, False, f"lacks {names}", f"pip install {wanted}")


# --- the machine ----------------------------------------------------------------------------


def _pdf() -> Part:
    try:
        from llmstudy.run.pages import why_no_pdf
    except ImportError as error:
        return Part("PDF", False, f"cannot be checked: {error}")
    why = why_no_pdf()
    return Part("PDF", not why, why or "pango is installed")


def _git() -> Part:
    path = shutil.which("git")
    if path is None:
        return Part("git", False, "missing: a run cannot say which commit it came from")
    return Part("git", True, path)


def _writable(outputs: Path) -> Part:
    place = next(folder for folder in (outputs, *outputs.absolute().parents) if folder.exists())
    if place.is_dir() and os.access(place, os.W_OK):
        return Part("outputs", True, f"{outputs} can be written")
    return Part("outputs", False, f"{place} cannot be written", "llmstudy run STUDY --out DIR")


def doctor(as_json: AsJson = False) -> None:
    """Say what this machine lacks, and the command that adds it.

    Python and the packages that every command needs; the extras `lab`, `pii`, `gpu` and `test`, and
    what each would add; pango for the PDF; git; a place to write to.

    Exit codes: 0 every command can run, even if extras are missing; 1 a package is missing or too
    old.

    ```
    llmstudy doctor
    llmstudy doctor --json
    ```
    """
    with mistakes(as_json):
        report = examine(Path("outputs"))
    if as_json:
        parts = {"core": report.core, "extras": report.extras, "machine": report.machine}
        print_json({"exit_code": report.exit_code, **parts})
    else:
        _show("Needed", report.core)
        _show("Extras", report.extras, ADDS)
        _show("Machine", report.machine)
    raise typer.Exit(report.exit_code)


def _show(title: str, parts: "tuple[Part, ...]", adds: dict[str, str] | None = None) -> None:
    typer.echo(f"{title}:")
    for part in parts:
        mark = "ok  " if part.ok else "--  "
        state = part.detail
        if "`" not in state:  # a command to copy stays on its line
            state = textwrap.fill(state, 58, break_on_hyphens=False).replace("\n", f"\n{'':<21}")
        typer.echo(f"  {mark}{part.name:<14} {state}")
        if adds and not part.ok:
            typer.echo(f"{'':<21}adds {adds[part.name]}")
        if part.command:
            typer.echo(f"{'':<21}{part.command}")
