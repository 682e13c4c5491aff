"""`llmstudy doctor`: what this machine lacks."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from llmstudy.cli.terminal import AsJson, mistakes, print_json

if TYPE_CHECKING:
    from llmstudy.doctor import Part


def doctor(as_json: AsJson = False) -> None:
    """Say what this machine lacks, and the command that adds it.

    Python and the packages that every command needs; the extras (`lab`, `gpu`, `pii`, `rag`,
    `finetune`, `test`) and what each would add; pango for the PDF; git; a place to write to.

    Exit codes: 0 every command can run, even if extras are missing; 1 a package is missing or too
    old.

    ```
    llmstudy doctor
    llmstudy doctor --json
    ```
    """
    with mistakes(as_json):
        from llmstudy import doctor as examination

        report = examination.examine(Path("outputs"))
    if as_json:
        parts = {"core": report.core, "extras": report.extras, "machine": report.machine}
        print_json({"exit_code": report.exit_code, **parts})
    else:
        _show("Needed", report.core)
        _show("Extras", report.extras, examination.ADDS)
        _show("Machine", report.machine)
    raise typer.Exit(report.exit_code)


def _show(title: str, parts: "tuple[Part, ...]", adds: dict[str, str] | None = None) -> None:
    typer.echo(f"{title}:")
    for part in parts:
        mark = "ok  " if part.ok else "--  "
        typer.echo(f"  {mark}{part.name:<14} {part.found}")
        if adds and not part.ok:
            typer.echo(f"      {'':<14} would add {adds[part.name]}")
        if part.mend:
            typer.echo(f"      {'':<14} {part.mend}")
