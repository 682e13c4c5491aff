"""A GitHub Actions workflow that runs a study every month, in the study's own repository.

The workflow executes the study on its logs, publishes the memo and fails when somebody must
act. It only calls the commands.
"""

import json
import re
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote, urlsplit

from llmstudy import paths

PLACE = Path(".github", "workflows", "llmstudy.yml")

PACKAGES = "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
"""Ubuntu packages that a PDF needs."""


def planned(study: Path) -> Path:
    """Where the workflow of a study file is to be written: in the git repository that holds it.

    Raises: ValueError if there is none, or if it has the workflow already.
    """
    folder = study.parent.resolve()
    root = next(
        (parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), None
    )
    if root is None:
        raise ValueError(
            f"{study.parent} is not in a git repository, so no workflow can run: `git init` a "
            "folder that holds it, then give --ci again."
        )
    file = root / PLACE
    if file.exists():
        raise ValueError(f"{file} exists already: remove it, or leave out --ci.")
    return file


def requirement(install: str, root: Path) -> str:
    """The argument of `pip install` in the workflow of a repository.

    install: a git URL, or the path or URL of a wheel; "" for where this package was installed from.
    Raises: ValueError if GitHub cannot install from there.

    >>> requirement("https://git.example/you/llmstudy.git", Path())
    'git+https://git.example/you/llmstudy.git'
    """
    address = _address(install or _origin())
    if address.startswith("file:"):
        address = unquote(urlsplit(address).path)
    if "://" in address:
        wheel_or_git = address.endswith(".whl") or address.startswith("git+")
        return address if wheel_or_git else f"git+{address}"
    wheel = Path(address).absolute()
    if address.endswith(".whl") and wheel.is_file() and root in wheel.parents:
        return f"./{wheel.relative_to(root).as_posix()}"
    fault = f"{install} is neither a git URL nor" if install else "CI must know where llmstudy is:"
    wanted = "a wheel" if install else "give --install with the git URL of your clone, or a wheel"
    raise ValueError(f"{fault} {wanted} in {root}, the repository that the workflow sees.")


def _origin() -> str:
    """Where pip installed this package from; for a clone, its remote and commit."""
    try:
        record = json.loads(distribution("llmstudy").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        record = {}
    if "vcs_info" in record:
        return f"git+{record['url']}@{record['vcs_info']['commit_id']}"
    if "archive_info" in record:
        return str(record["url"])
    if not (paths.ROOT / ".git").exists():
        return ""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(paths.ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        remote, commit = git("remote", "get-url", "origin"), git("rev-parse", "HEAD")
    except (OSError, subprocess.CalledProcessError):  # no git here, or no remote
        return ""
    # a URL with a password, or a folder of this machine, is nothing for a workflow
    usable = re.fullmatch(r"https://[^@\s]+|ssh://git@\S+", _address(remote))
    return f"git+{usable[0]}@{commit}" if usable else ""


def _address(source: str) -> str:
    """An address as a URL, where git writes `git@host:path`."""
    return re.sub(r"^([\w.-]+@[\w.-]+):", r"ssh://\1/", source)


def text(study: Path, root: Path, install: str) -> str:
    """The text of the workflow of a study file. install: the argument of `pip install`."""
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
        install=json.dumps(install, ensure_ascii=False),
    )
