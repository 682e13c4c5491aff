"""What tests of evaluations share: the scripted server, loaded by its path, and items."""

import importlib.util
import sys
from functools import cache
from pathlib import Path

import pytest

from llmstudy.evals import scorers
from llmstudy.evals.judges import Judge
from llmstudy.evals.routes import route
from llmstudy.evals.runner import run_evaluation


def module(name):
    file = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"evals_{name}", file)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded  # a dataclass looks its module up by name
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="session")
def scripted():
    """The module `scripted_server`; `scripted.running(reply)` starts one."""
    return module("scripted_server")


@pytest.fixture(scope="session")
def planted():
    """The module `planted`: six cases of known truth."""
    return module("planted")


@pytest.fixture(scope="session")
def evaluated(scripted, planted, tmp_path_factory):
    """The evaluation of a planted case on two servers, and of its judge where it has one."""

    @cache
    def of(name, judged=False):
        case, folder = planted.CASES[name], tmp_path_factory.mktemp("planted")
        with (
            scripted.running(planted.answers(scripted, case, "today")) as today,
            scripted.running(planted.answers(scripted, case, "open")) as open_,
            scripted.running(planted.judge(scripted, case)) as judge,
        ):
            routes = [
                route("today", today.base_url, "today", price=(2.5, 10.0)),
                route("open", open_.base_url, "open", price=(0.2, 0.6)),
            ]
            scorer = scorers.numeric
            if judged:
                judging = route("judge", judge.base_url, "open", price=(0.2, 0.6))
                scorer = Judge(judging, against="today")
            return run_evaluation(
                case.items,
                routes,
                scorer,
                folder / "evaluation.jsonl",
                second_scorer=scorers.numeric if judged else None,
                max_spend_usd=5,
                max_output_tokens=64,
            )

    return of


@pytest.fixture
def route_to():
    """A route to a scripted server; free unless it has a price."""

    def to(server, name="open", model=None, price=(0.0, 0.0), **options):
        return route(name, server.base_url, model or name, price=price, **options)

    return to


@pytest.fixture
def sums():
    """n items that ask for a sum."""

    def items(n):
        return [
            {"item_id": f"sum-{i}", "prompt": f"What is {i} + 1?", "reference": i + 1}
            for i in range(n)
        ]

    return items
