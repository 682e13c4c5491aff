"""The workflow that `llmstudy init --ci` writes is one that GitHub takes, and does what it says.

Its commands are run here with stand-ins for the programs they call; `tests/wheel` runs them with
the real ones, from an installed wheel.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from jsonschema import Draft7Validator
from ruamel.yaml import YAML
from typer.testing import CliRunner

from llmstudy.cli import app
from llmstudy.cli import workflow as flow
from llmstudy.memo import render

SCHEMA = json.loads((Path(__file__).parents[1] / "schemas" / "github-workflow.json").read_text())
PLACE = Path(".github/workflows/llmstudy.yml")


@pytest.fixture(autouse=True)
def _in_a_new_repository(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def origin(monkeypatch):
    """What pip noted of where this package was installed from; nothing, until a test says so."""
    record = {}
    package = SimpleNamespace(read_text=lambda name: json.dumps(record))
    monkeypatch.setattr(flow, "distribution", lambda name: package)
    monkeypatch.setattr(flow, "paths", SimpleNamespace(ROOT=Path("nowhere")))
    return record


GIT = "https://git.example/you/llmstudy.git"


def init(*arguments, install=("--install", GIT)):
    return CliRunner().invoke(app, ["init", *arguments, *install])


def workflow():
    return YAML(typ="safe").load(PLACE)


def block(name):
    """The commands of the step with this name, and the variables that it is given."""
    found = workflow()
    (step,) = [s for s in found["jobs"]["memo"]["steps"] if s.get("name", "").startswith(name)]
    return step["run"], found["env"]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Puts programs on the path that note how they are called and then do as they are told."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def stand_in(name, does=""):
        file = folder / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path / "calls"}\n{does}\n')
        file.chmod(0o755)

    def run(step, **more):
        commands, given = block(step)
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        summary = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
        done = subprocess.run(
            ["bash", "-e", "-c", commands],  # as GitHub does where no shell is named
            env={**os.environ, **given, **summary, **more, "PATH": path},
            capture_output=True,
            text=True,
        )
        calls = tmp_path / "calls"
        return done, calls.read_text().splitlines() if calls.exists() else []

    return stand_in, run


def test_github_takes_it():
    assert init("acme", "--ci").exit_code == 0
    Draft7Validator.check_schema(SCHEMA)
    assert list(Draft7Validator(SCHEMA).iter_errors(workflow())) == []
    broken = workflow()
    broken["jobs"]["memo"]["steps"][0]["run"] = 7
    assert list(Draft7Validator(SCHEMA).iter_errors(broken))


def test_it_runs_once_a_month_and_when_asked_for_with_no_right_to_write():
    init("acme", "--ci")
    found = workflow()
    assert found["on"].keys() == {"schedule", "workflow_dispatch"}
    minute, hour, day, month, weekday = found["on"]["schedule"][0]["cron"].split()
    assert minute.isdigit() and hour.isdigit() and day.isdigit()  # noqa: PT018
    assert (month, weekday) == ("*", "*")
    assert found["permissions"] == {"actions": "read", "contents": "read"}


def test_its_commands_are_bash_and_name_no_file_but_by_variable():
    init("my study", "--name", "mine", "--ci")
    assert workflow()["env"]["STUDY"] == "my study/study.yaml"
    for step in workflow()["jobs"]["memo"]["steps"]:
        if "run" in step:
            subprocess.run(["bash", "-n", "-c", step["run"]], check=True)
            assert "my study" not in step["run"]
            assert "${{" not in step["run"]  # what is pasted into a script can break out of it


@pytest.mark.parametrize(
    ("given", "installed"),
    [
        (GIT, f"git+{GIT}"),
        (f"git+{GIT}@v1", f"git+{GIT}@v1"),
        ("git@git.example:you/llmstudy.git", "git+ssh://git@git.example/you/llmstudy.git"),
        ("https://files.example/l-1.whl", "https://files.example/l-1.whl"),
        ("wheels/l-1.whl", "./wheels/l-1.whl"),
    ],
)
def test_it_installs_from_where_it_is_told(given, installed):
    Path("wheels").mkdir()
    Path("wheels/l-1.whl").touch()
    assert init("acme", "--ci", install=("--install", given)).exit_code == 0
    assert workflow()["env"]["INSTALL"] == installed


def test_it_installs_from_where_pip_did(origin):
    origin |= {"url": GIT, "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    assert init("acme", "--ci", install=()).exit_code == 0
    assert workflow()["env"]["INSTALL"] == f"git+{GIT}@abc"


def test_a_wheel_in_the_repository_is_installed_from_there(origin):
    wheel = Path("my wheels", "l-1.whl").absolute()
    wheel.parent.mkdir()
    wheel.touch()
    origin |= {"url": wheel.as_uri(), "archive_info": {}}
    assert init("acme", "--ci", install=()).exit_code == 0
    assert workflow()["env"]["INSTALL"] == "./my wheels/l-1.whl"


@pytest.mark.parametrize(
    ("remote", "installed"),
    [
        ("https://git.example/you/l.git", "git+https://git.example/you/l.git"),
        ("git@git.example:you/l.git", "git+ssh://git@git.example/you/l.git"),
        ("https://me:secret@git.example/you/l.git", None),
        ("/home/me/l", None),
    ],
)
def test_a_clone_is_installed_from_its_remote_unless_ci_cannot_reach_it(
    monkeypatch, tmp_path_factory, remote, installed
):
    clone = tmp_path_factory.mktemp("clone")
    who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    for command in (
        ("init", "--quiet"),
        (*who, "commit", "--quiet", "--allow-empty", "-m", "first"),
        ("remote", "add", "origin", remote),
    ):
        subprocess.run(["git", "-C", clone, *command], check=True)
    monkeypatch.setattr(flow, "paths", SimpleNamespace(ROOT=clone))
    done = init("acme", "--ci", install=())
    if installed:
        assert re.fullmatch(re.escape(installed) + "@[0-9a-f]{40}", workflow()["env"]["INSTALL"])
    else:
        assert done.exit_code == 2
        assert "secret" not in done.output


def test_where_it_cannot_be_installed_from_is_refused_in_one_sentence_and_nothing_is_written():
    for install in ((), ("--install", "llmstudy"), ("--install", "/elsewhere/l-1.whl")):
        done = init("acme", "--ci", install=install)
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert "git URL" in done.stderr
        assert not Path("acme").exists()
        assert not PLACE.exists()


def test_what_it_installs_is_the_package_and_what_a_pdf_needs(programs):
    stand_in, run = programs
    init("acme", "--ci")
    for name in ("sudo", "pip"):
        stand_in(name)
    done, calls = run("Install")
    assert done.returncode == 0
    assert calls[-1] == f"pip install git+{GIT}"
    (packages,) = [call for call in calls if "install -y" in call]
    assert packages.endswith(re.findall("`apt-get install ([^`]+)`", render._PANGO)[0])


def test_the_memo_is_kept_alone_and_a_study_that_fails_fails_the_run(programs):
    stand_in, run = programs
    init("acme", "--ci")
    for name in ("20260901T000000Z-aaaaaa", "20261001T000000Z-bbbbbb"):
        Path("outputs/acme", name).mkdir(parents=True)
    stand_in("llmstudy", "echo $PWD/outputs/acme/20261001T000000Z-bbbbbb/memo.html")
    done, calls = run("Execute")
    assert (done.returncode, calls) == (0, ["llmstudy run acme/study.yaml"])
    assert [f.name for f in Path("outputs/acme").iterdir()] == ["20261001T000000Z-bbbbbb"]
    stand_in("llmstudy", "exit 1")
    assert run("Execute")[0].returncode == 1
    assert [f.name for f in Path("outputs/acme").iterdir()] == ["20261001T000000Z-bbbbbb"]


def test_the_last_memo_that_can_be_had_is_fetched_and_none_is_no_mistake(programs):
    stand_in, run = programs
    init("acme", "--ci")
    listed = '[ "$2" = list ] && { echo 31; echo 30; echo 29; exit; }\n[ "$3" = 30 ]'
    stand_in("gh", listed)
    done, calls = run("Fetch", GITHUB_WORKFLOW="llmstudy")
    assert done.returncode == 0
    assert [call.split()[3] for call in calls[1:]] == ["31", "30"]
    stand_in("gh", "exit 1")
    assert run("Fetch", GITHUB_WORKFLOW="llmstudy")[0].returncode == 0


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (0, "Nobody needs to act."),
        (3, "A trigger fired, or the budget is exceeded: somebody must act."),
        (4, "Evidence is stale: renew it and run again before you act on a trigger."),
        (2, "The study could not be checked."),
    ],
)
def test_the_run_ends_as_the_check_does_and_its_summary_says_why(programs, code, says):
    stand_in, run = programs
    init("acme", "--ci")
    stand_in("llmstudy", f"echo 'Stale: the price has expired.'\nexit {code}")
    done, calls = run("Check")
    assert done.returncode == code
    assert calls == ["llmstudy check acme/study.yaml"]
    summary = Path("summary.md").read_text()
    assert summary.startswith(f"**{says}**")
    assert "Stale: the price has expired." in summary


def test_all_logs_of_the_folder_are_judged_together(programs):
    stand_in, run = programs
    init("acme", "--ci")
    Path("acme/logs").mkdir()
    stand_in("llmstudy")
    for name in (".gitkeep", "2026-11.parquet", "2026-09.parquet"):
        Path("acme/logs", name).touch()
        _, calls = run("Check")
    assert calls == [
        "llmstudy check acme/study.yaml",
        "llmstudy check acme/study.yaml --log acme/logs",
        "llmstudy check acme/study.yaml --log acme/logs",
    ]


def test_the_repository_is_the_one_that_holds_the_study():
    done = init("teams/acme", "--ci", "--json")
    assert json.loads(done.stdout)["workflow"] == str(PLACE.absolute())
    assert workflow()["env"] == {
        "STUDY": "teams/acme/study.yaml",
        "LOGS": "teams/acme/logs",
        "INSTALL": f"git+{GIT}",
        "COLUMNS": "150",
    }


def test_a_study_that_is_there_gets_the_workflow_and_stays_as_it_is():
    init("acme")
    before = Path("acme/study.yaml").read_bytes()
    done = init("acme", "--ci")
    assert done.exit_code == 0
    assert "llmstudy.yml: commit it" in done.stdout
    assert "today's bill" not in done.stdout
    assert PLACE.is_file()
    assert Path("acme/study.yaml").read_bytes() == before


def test_answers_for_a_study_that_is_there_are_refused_and_nothing_is_written():
    init("acme")
    done = init("acme", "--ci", "--requests", "5")
    assert (done.exit_code, PLACE.exists()) == (2, False)
    assert "acme/study.yaml exists already" in done.stderr


def test_a_workflow_is_never_overwritten():
    PLACE.parent.mkdir(parents=True)
    PLACE.write_text("mine")
    done = init("acme", "--ci")
    assert (done.exit_code, PLACE.read_text()) == (2, "mine")
    assert "llmstudy.yml exists already" in done.stderr
    assert not Path("acme").exists()


def test_outside_git_nothing_is_written(tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("bare"))
    done = init("acme", "--ci")
    assert done.exit_code == 2
    assert "is not in a git repository" in done.stderr
    assert list(Path().iterdir()) == []


def test_a_workflow_that_cannot_be_written_leaves_no_study_without_one():
    Path(".github").write_text("no folder")
    done = init("acme", "--ci")
    assert (done.exit_code, Path("acme").exists()) == (2, False)
    assert done.stderr.endswith(".github/workflows: Not a directory.\n")


def test_a_study_that_is_a_link_is_run_where_the_repository_has_it(tmp_path_factory):
    init("acme")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "study.yaml"
    Path("acme/study.yaml").rename(elsewhere)
    Path("acme/study.yaml").symlink_to(elsewhere)
    assert init("acme", "--ci").exit_code == 0
    assert workflow()["env"]["STUDY"] == "acme/study.yaml"
