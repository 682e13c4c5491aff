"""`llmstudy notebooks`: the chapters as notebooks of your own, to read, change and execute."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from llmstudy.cli.terminal import AsJson, mistakes, print_json, say


def notebooks(
    folder: Annotated[
        Path, typer.Argument(help="Folder for the notebooks, made if need be.", metavar="DIR")
    ],
    as_json: AsJson = False,
) -> None:
    """Copy the chapters and the panel of sliders into DIR, to open in JupyterLab.

    Each runs from any folder, in JupyterLab or under papermill. Its cell of parameters names the
    study: `params/default.yaml` is the bundled one; put the path of your own in its place. A
    chapter reads what those before it have written: execute them in their order. `llmstudy run`
    executes the bundled chapters, not these.

    A file in DIR that differs from the one to copy is never overwritten, and then none is copied.

    Exit codes: 0 the notebooks are there; 2 one of them differs, or DIR cannot be written.

    ```
    llmstudy notebooks chapters
    jupyter lab chapters
    papermill chapters/01_evidence.ipynb executed.ipynb -p study acme/study.yaml
    ```

    JSON: `{folder, notebooks: [name], next}`.
    """
    with mistakes(as_json):
        from llmstudy import paths
        from llmstudy.io import write

        bundled = {f.name: f.read_bytes() for f in sorted(paths.notebooks().glob("*.ipynb"))}
        other = [
            name
            for name, content in bundled.items()
            if (folder / name).exists() and (folder / name).read_bytes() != content
        ]
        if other:
            raise ValueError(
                f"{folder} has its own {', '.join(other)}: move what you changed, or name another "
                "folder."
            )
        for name, content in bundled.items():
            write(folder / name, content)
    command = f"jupyter lab {folder}"
    if find_spec("jupyterlab") is None:
        say("JupyterLab is missing here: `llmstudy doctor` names the command that adds it.")
    if as_json:
        print_json({"folder": str(folder), "notebooks": list(bundled), "next": command})
    else:
        typer.echo(f"Copied {len(bundled)} notebooks. To open them:\n  {command}")
