"""What the README shows can be typed as it stands."""

import json
import re
import shlex
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
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
    (tmp_path / "evals").mkdir()
    routes = ("openai-gpt-4o", "openai-gpt-6-luna")
    rows = [
        {"item_id": i, "route": route, "score": int(i % 9 > 0), "slice": ("de", "contracts")[i % 2]}
        for route in routes
        for i in range(40)
    ]
    (tmp_path / "evals/extraction.jsonl").write_text("\n".join(map(json.dumps, rows)))
    file = tmp_path / "study.yaml"
    with file.open("w", encoding="utf-8") as out:
        YAML(typ="rt").dump(document, out)
    assert study.load(file) != study.load(paths.params("default.yaml"))


def test_the_study_that_is_made_with_flags_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = (line for _, text in BLOCKS for line in text.splitlines())
    (shown,) = [line for line in lines if "llmstudy init acme --monthly" in line]
    done = CliRunner().invoke(app, [*shlex.split(shown)[1:], "--as-of", "2026-11-23"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "acme/study.yaml: today's bill is about USD 8.4k a month" in done.stdout


def test_the_log_leads_to_a_study_by_the_first_command_shown_after_make(tmp_path, monkeypatch):
    made, own = [text for kind, text in BLOCKS if not kind][:2]
    assert made.startswith("make memo")
    first, then = (line.partition("#")[0].split() for line in own.splitlines())
    (tmp_path / "logs").mkdir()
    sample = paths.ROOT / "tests/requests/samples/litellm.jsonl"
    lines = sample.read_text(encoding="utf-8").splitlines(keepends=True)
    for name, part in {"october": lines[:4], "november": lines[4:]}.items():
        (tmp_path / f"logs/{name}.jsonl").write_text("".join(part), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    typed = [x for each in first[1:] for x in (sorted(map(str, Path().glob(each))) or [each])]
    done = CliRunner().invoke(app, [*typed, "--as-of", "2026-11-23"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"Next:\n  {' '.join(then)}\n" in done.stdout
    assert study.load(then[-1]).requests.path == Path("acme/../logs/*.jsonl")


def test_every_command_is_in_the_table_and_the_table_names_no_other():
    from typer.main import get_command

    named = re.findall(r"^\| `llmstudy (\w+)", README, flags=re.MULTILINE)
    assert sorted(named) == sorted(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def notebook():
    """What the code under "Without a study file" prints and assigns."""
    section = README.partition("## Without a study file")[2].partition("\n## ")[0]
    (code, shown) = re.findall(r"^```\w*\n(.*?)^```$", section, flags=re.DOTALL | re.MULTILINE)
    names: dict = {}
    with redirect_stdout(StringIO()) as out:
        exec(code, names)
    return names, shown, out.getvalue()


def test_what_needs_no_study_prints_what_the_readme_shows(notebook):
    _, shown, printed = notebook
    assert printed == shown


def test_what_needs_no_study_is_right_by_sums_of_ones_own(notebook):
    names, _, printed = notebook
    requests, bills, probe, scores = (names[x] for x in ("requests", "bills", "probe", "scores"))
    cached, usd = requests["cached_input_tokens"], bills.groupby("model")["usd"].sum()
    lengths = requests["input_tokens"] - cached, cached, requests["output_tokens"]
    for model, rates in {"today": (2.5, 1.25, 10), "open": (0.59, 0.59, 0.79)}.items():
        by_hand = sum(np.dot(tokens, rate) for tokens, rate in zip(lengths, rates, strict=True))
        assert usd[model] == pytest.approx(by_hand.sum() / 1e6)

    waits = probe["ttft_s"].where(probe["ok"], np.inf)
    p95 = np.quantile(waits, 0.95, method="inverted_cdf")
    assert f"p95     {p95:.3f}" in printed

    a, b = scores["today"].astype(float), scores["open"].astype(float)
    error = (b - a).std() / np.sqrt(len(a))  # Wald's, near to Tango's on so many items
    low, high = (b - a).mean() - 1.645 * error, (b - a).mean() + 1.645 * error
    found = [float(x) for x in re.search(r"\[(\S+), (\S+)\]", printed).groups()]
    assert found == pytest.approx([low, high], abs=0.002)
    assert "non-inferior" in printed
    assert low > -0.05

    rng, carries = np.random.default_rng(1), names["carries"]
    rent, team = (
        rng.triangular(*ends, 4_000) for ends in (names["rents"], (15_000, 20_000, 35_000))
    )
    of_replica = rng.triangular(0.7 * carries, carries, 1.2 * carries, 4_000)
    volumes = np.linspace(1e6, 3e7, 1_000)
    replicas = np.ceil(volumes / of_replica[:, None]) + 1
    dearer = replicas * rent[:, None] + team[:, None] >= usd["today"] / len(requests) * volumes
    crossings = np.array([volumes[row].max() for row in dearer])
    row = printed.splitlines()[-1].split()[1:4]
    assert [float(x) for x in row] == pytest.approx(
        np.quantile(crossings, [0.1, 0.5, 0.9]), rel=0.03
    )
