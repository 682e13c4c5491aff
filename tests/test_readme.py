"""What the README shows can be typed as it stands."""

import re
import shlex
from collections.abc import Mapping

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from llmstudy import paths, study
from llmstudy.cli import app

README = (paths.ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
EXAMPLES = [text for kind, text in BLOCKS if kind == "yaml"]


def merged(document, more):
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(document.get(key), Mapping):
            merged(document[key], value)
        else:
            document[key] = value


@pytest.mark.parametrize("example", EXAMPLES, ids=[text.split(":")[0] for text in EXAMPLES])
def test_what_a_study_is_said_to_hold_it_may_hold(example, tmp_path):
    document = YAML(typ="rt").load(paths.params("default.yaml").read_text(encoding="utf-8"))
    merged(document, YAML(typ="rt").load(example))
    file = tmp_path / "study.yaml"
    with file.open("w", encoding="utf-8") as out:
        YAML(typ="rt").dump(document, out)
    assert study.load(file) != study.load(paths.params("default.yaml"))


def test_the_study_that_is_made_with_flags_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = (line for _, text in BLOCKS for line in text.splitlines())
    (shown,) = [line for line in lines if "llmstudy init acme --" in line]
    done = CliRunner().invoke(app, [*shlex.split(shown)[1:], "--as-of", "2026-11-23"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "acme/study.yaml: today's bill is about USD 8.4k a month" in done.stdout


def test_every_command_is_in_the_table_and_the_table_names_no_other():
    from typer.main import get_command

    named = re.findall(r"^\| `llmstudy (\w+)", README, flags=re.MULTILINE)
    assert sorted(named) == sorted(get_command(app).commands)  # type: ignore[attr-defined]
