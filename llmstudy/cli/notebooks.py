"""`llmstudy notebooks`: copies the chapters, to read, change and execute."""

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

    Each runs from any folder, in JupyterLab or under papermill. Its parameter cell names the study:
    replace `params/default.yaml`, the bundled one, by the path of your own. A chapter reads what
    earlier chapters wrote: execute them in order. `llmstudy run`
    executes the bundled chapters, not these.

    If a file in DIR differs from the one to copy, nothing is copied.

    Exit codes: 0 copied; 2 one of them differs, or DIR cannot be written.

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
                f"{folder} has other versions of {', '.join(other)}: move them away, or give "
                "another folder."
            )
        for name, content in bundled.items():
            write(folder / name, content)
    command = f"jupyter lab {folder}"
    if find_spec("jupyterlab") is None:
        say("JupyterLab is not installed: `llmstudy doctor` names the command that adds it.")
    if as_json:
        print_json({"folder": str(folder), "notebooks": list(bundled), "next": command})
    else:
        typer.echo(f"Copied {len(bundled)} notebooks. To open them:\n  {command}")
