"""Does an export do what its plan says? The file is checked, then started, then drilled."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from llmstudy.export.check import Config, faults, read_config
from llmstudy.text import listed


@dataclass(frozen=True)
class Verification:
    """What the check and the drill of an export saw, of all its phases.

    table: see `drill.Drill`, with the phase. retrieval, weights: likewise. faults, limits,
    changes: sentences, each once. drilled: whether the gateway was started, which it is not with a
    faulty file. start_s, drill_s: of all phases together.
    """

    table: pd.DataFrame
    retrieval: pd.DataFrame
    weights: pd.DataFrame
    faults: tuple[str, ...]
    limits: tuple[str, ...]
    changes: tuple[str, ...]
    drilled: bool
    requests: int
    start_s: float
    drill_s: float


def verify(folder: Path, say: Callable[[str], None] = lambda line: None) -> Verification:
    """Checks the files of `llmstudy export gateway`, and drills each phase on the real gateway.

    Everything is on loopback: the upstreams are mocks, and no key is used.
    Raises: ValueError if the folder is no export, if the gateway's environment cannot be made, or
    if the gateway does not start; OSError if a file cannot be read.
    """
    phases = _phases(folder)
    configs = {name: read_config(folder / phase["config"]) for name, phase in phases.items()}
    wrong = [
        f"phase {name}: {fault}"
        for name, phase in phases.items()
        for fault in (*faults(configs[name], phase), *_unlisted(folder, configs[name]))
    ]
    wrong += [
        f".env.example: {name} has a value, so that everyone who reads the file has it: leave the "
        "name alone."
        for name, value in _example(folder).items()
        if value
    ]
    if wrong:
        empty = pd.DataFrame()
        return Verification(empty, empty, empty, tuple(wrong), (), (), False, 0, 0.0, 0.0)

    # scipy and the importer load slowly, and a faulty file needs neither
    from llmstudy.export.drill import drill, limits_of
    from llmstudy.export.environment import proxy_python

    python = proxy_python(say)
    drills = {}
    for name, phase in phases.items():
        say(f"Phase {name}: starting the gateway.")
        modules = sorted((folder / phase["config"]).parent.glob("*.py"))
        drills[name] = drill(configs[name], modules, python, say)
    every = drills.values()
    table = pd.concat([each.table.assign(phase=name) for name, each in drills.items()])
    alone = sorted({name for each in every for name in each.alone})
    limits = limits_of(table)
    if alone:
        limits.append(f"Nothing answers in place of the only upstream of {listed(alone)}.")
    return Verification(
        table,
        pd.concat([each.retrieval.assign(phase=name) for name, each in drills.items()]),
        pd.concat([each.weights.assign(phase=name) for name, each in drills.items()]),
        tuple(f"phase {name}: {fault}" for name, each in drills.items() for fault in each.faults),
        tuple(limits),
        tuple(dict.fromkeys(change for each in every for change in each.changes)),
        True,
        sum(each.requests for each in every),
        sum(each.start_s for each in every),
        sum(each.drill_s for each in every),
    )


def _phases(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        phases = json.loads((folder / "plan.json").read_text(encoding="utf-8"))["phases"]
        return {
            str(name): {**phase, "config": str(phase["config"])} for name, phase in phases.items()
        }
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(
            f"{folder} has no plan.json of an export: give a folder written by `llmstudy export "
            "gateway`."
        ) from None


def _unlisted(folder: Path, config: Config) -> list[str]:
    """Variables of a configuration that `.env.example` lacks: an unset key shows only when used."""
    return [
        f"{name} is not in .env.example, so that nobody sets it and its upstream never answers: "
        "add it."
        for name in sorted(set(_variables(config)) - _example(folder).keys())
    ]


def _example(folder: Path) -> dict[str, str]:
    """The variables of `.env.example`, and what stands behind each, which is to be nothing."""
    file = folder / ".env.example"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _variables(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [name for each in value.values() for name in _variables(each)]
    if isinstance(value, list):
        return [name for each in value for name in _variables(each)]
    prefix = "os.environ/"
    return [value.removeprefix(prefix)] if str(value).startswith(prefix) else []
