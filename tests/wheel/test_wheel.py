"""The package works as users get it: a wheel, in an environment of its own, far from any clone.

`make test-wheel` builds the wheel and names it in LLMSTUDY_WHEEL. The commands are those of the
workflow that `llmstudy init --ci` writes, run as GitHub would run them. What the package needs is
lent by this environment, so that nothing is fetched.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from llmstudy.memo import render

WHEEL = os.environ.get("LLMSTUDY_WHEEL", "")

pytestmark = pytest.mark.skipif(not WHEEL, reason="needs a wheel: run `make test-wheel`")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment with pip and all that llmstudy needs, but without llmstudy."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", with_pip=True)
    lent = folder / "lent"
    lent.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "llmstudy" not in entry.name and entry.name not in ("pip", "setuptools"):
            (lent / entry.name).symlink_to(entry)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = folder / "venv" / "lib" / version / "site-packages"
    (site / "lent.pth").write_text(f"{lent}\n")
    share = folder / "venv" / "share"
    share.mkdir(exist_ok=True)
    (share / "jupyter").symlink_to(Path(sys.prefix, "share", "jupyter"))  # nbconvert's templates
    # the packages of the system are another matter, which tests/cli/test_cli_init_ci.py looks after
    sudo = folder / "venv" / "bin" / "sudo"
    sudo.write_text("#!/bin/sh\n")
    sudo.chmod(0o755)
    return folder / "venv"


@pytest.fixture(scope="module")
def repository(environment, tmp_path_factory):
    """A company's repository with a study and its workflow, both made by the installed package."""
    folder = tmp_path_factory.mktemp("company")
    run = runner(environment, folder)
    run("git init --quiet .")
    (folder / "wheels").mkdir()
    shutil.copy(WHEEL, folder / "wheels")
    run("pip install --quiet wheels/*.whl")
    run("llmstudy init acme --ci --as-of 2026-11-23 --provider openai --model gpt-4o "
        "--monthly-tokens 2.1B --invoice-usd 9000")  # fmt: skip
    write_log(folder / "acme" / "logs" / "2026-11.csv")
    return folder


def runner(environment, folder, **more):
    """Runs commands in a folder as a step of a workflow; an exit code above 0 is an error."""
    given = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))},
        "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        **more,
    }

    def run(commands, check=True):
        done = subprocess.run(
            ["bash", "-e", "-c", commands], cwd=folder, env=given, capture_output=True, text=True
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    return run


def write_log(file):
    """Five whole weeks of November's requests, one every ten minutes."""
    file.parent.mkdir()
    first = datetime(2026, 10, 19, tzinfo=UTC)
    rows = [
        f"{(first + timedelta(minutes=10 * n)).isoformat()},product,openai,gpt-4o,1200,200,true"
        for n in range(5 * 7 * 144)
    ]
    names = "ts_start,workload,provider,model_served,input_tokens,output_tokens,ok"
    file.write_text("\n".join([names, *rows]) + "\n")


def test_the_package_is_the_wheel_and_holds_what_it_needs(environment, repository):
    asked = "import llmstudy, llmstudy.paths as p; print(llmstudy.__file__); print(p.ROOT)"
    done = runner(environment, repository)(f'python -c "{asked}"')
    package, root = map(Path, done.stdout.split())
    assert environment in package.parents
    assert root == package.parent / "_bundled"
    assert {folder.name for folder in root.iterdir()} >= {"data", "notebooks", "params"}


def test_every_step_of_the_workflow_does_its_work(environment, repository):
    workflow = YAML(typ="safe").load(repository / ".github" / "workflows" / "llmstudy.yml")
    steps = [step for step in workflow["jobs"]["memo"]["steps"] if "run" in step]
    run = runner(environment, repository, GITHUB_WORKFLOW="llmstudy", **workflow["env"])
    *before, check = steps
    for step in before:
        run(step["run"])
    (made,) = (repository / "outputs" / "acme").iterdir()
    assert "gpt-4o" in (made / "memo.html").read_text(encoding="utf-8")
    assert len(list(made.glob("0?_*.html"))) == 9
    try:
        render.check_pdf()
    except render.PdfError:
        pass
    else:
        assert (made / "memo.pdf").read_bytes().startswith(b"%PDF")

    done = run(check["run"], check=False)
    summary = (repository / "summary.md").read_text()
    says = {0: "Nobody needs to act", 3: "A trigger fired", 4: "Evidence is stale"}
    assert summary.startswith(f"**{says[done.returncode]}")
    assert "G1" in summary
    assert "acme on 20" in summary


@pytest.mark.parametrize("where", ["elsewhere", "their own folder"])
def test_copied_notebooks_run_from_anywhere(environment, repository, tmp_path, where):
    """As papermill runs them in the caller's folder, and JupyterLab in their own."""
    runner(environment, tmp_path)("llmstudy notebooks mine")
    run = runner(environment, tmp_path if where == "elsewhere" else tmp_path / "mine")
    for name in ("01_evidence", "02_cost"):
        file = tmp_path / "mine" / f"{name}.ipynb"
        run(f"python -m papermill --no-progress-bar {file} {tmp_path}/{name}.ipynb")
        assert "outputs" in (tmp_path / f"{name}.ipynb").read_text(encoding="utf-8")


def test_the_commands_of_a_user_work_with_nothing_but_the_wheel(environment, repository):
    run = runner(environment, repository)
    assert "ok  Python" in run("llmstudy doctor").stdout
    (made,) = (repository / "outputs" / "acme").iterdir()
    again = Path(run("llmstudy run acme/study.yaml").stdout.strip()).parent
    assert set(json.loads((again / "provenance.json").read_text())["reused"]) >= {"01_evidence"}
    assert "Recommendation: the same" in run(f"llmstudy diff {made} {again}").stdout
