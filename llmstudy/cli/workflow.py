"""How does a study run by itself every month? As a GitHub Actions workflow in its own repository.

The workflow executes the study on the newest log, publishes the memo and fails when somebody must
act. It calls the commands as anybody would; nothing is decided here.
"""

import json
from importlib.resources import files
from pathlib import Path

PLACE = Path(".github", "workflows", "llmstudy.yml")

PACKAGES = "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
"""What a PDF needs beside Python, as Ubuntu calls it."""


def planned(study: Path) -> Path:
    """Where the workflow of a study file is to be written: in the git repository that holds it.

    Raises: ValueError if there is none, or if a workflow is there already.
    """
    folder = study.parent.resolve()
    root = next(
        (parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), None
    )
    if root is None:
        raise ValueError(
            f"{study.parent} is in no git repository, so no workflow can run: `git init` the "
            "folder that is to become one, then give --ci again."
        )
    file = root / PLACE
    if file.exists():
        raise ValueError(f"{file} is there already: remove it, or leave out --ci.")
    return file


def text(study: Path, root: Path, version: str) -> str:
    """The workflow of a study file in a repository, with the package pinned to a version."""
    from jinja2 import Environment, StrictUndefined

    place = (study.parent.resolve() / study.name).relative_to(root)  # the file may be a link
    source = files("llmstudy.cli").joinpath("workflow.yml.j2").read_text(encoding="utf-8")
    # GitHub's own expressions are in double braces
    environment = Environment(
        variable_start_string="<<",
        variable_end_string=">>",
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    logs = place.parent / "logs"
    return environment.from_string(source).render(
        study=json.dumps(place.as_posix(), ensure_ascii=False),
        logs=json.dumps(logs.as_posix(), ensure_ascii=False),
        logs_name=logs.name,
        packages=PACKAGES,
        version=version,
    )
