"""The command that serves each self-hosted route of phase 3, as the fleet was sized."""

import shlex
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from llmstudy.evidence.case import rows_of
from llmstudy.export.plan import Plan, variable
from llmstudy.export.source import Decision
from llmstudy.study import SelfHostedRoute

_CHECKPOINTS = {"fp8": ("fp8",), "fp4": ("fp4", "gpt-oss")}
"""What a model's name says where its weights are published in a precision already."""


def serving_scripts(decision: Decision, plan: Plan) -> dict[str, str]:
    """A shell script for each self-hosted route of phase 3, by its path in the folder.

    Raises: ValueError for weights that vLLM cannot quantise as it loads them.
    """
    routes: dict[str, list[str]] = {}
    for alias in plan.phases[3].values():
        for each in alias.deployments:
            if each.arm == "self_hosted" and alias.workload not in routes.get(each.route, []):
                routes.setdefault(each.route, []).append(alias.workload)
    fleets = decision.results["05_self_hosting"]["fleets"]
    scripts = {}
    for name, workloads in routes.items():
        rows = [row for w in workloads for row in rows_of(fleets, workload=w, route=name)]
        scripts[f"serving/{name}.sh"] = _script(decision, name, rows)
    return scripts


def _script(decision: Decision, name: str, fleets: list[dict[str, Any]]) -> str:
    route = decision.study.routes[name]
    assert isinstance(route, SelfHostedRoute)
    flags = serve_flags(name, route, max(int(row["concurrency"]) for row in fleets))
    replicas = "".join(
        f"# {row['workload']}: {row['replicas']} replicas, {row['spare']} of them spare\n"
        for row in fleets
    )
    return (
        "#!/bin/sh\n"
        f"# One replica of {name}: {route.tensor_parallel} x {route.gpu}, sized by llmstudy from "
        f"{decision.origin}.\n{replicas}"
        "# The study pins no revision of the weights: add --revision COMMIT once it is chosen.\n"
        f"export VLLM_API_KEY=${{{variable(name, 'API_KEY')}:?set it as the gateway has it}}\n"
        f"exec vllm serve {shlex.quote(route.model)} \\\n  "
        + " \\\n  ".join(flags)
        + ' \\\n  "$@"\n'
    )


def serve_flags(name: str, route: SelfHostedRoute, concurrency: int) -> list[str]:
    """The flags of `vllm serve` for a route, each with its value.

    concurrency: the most requests in a batch at which the fleet was sized.
    Raises: ValueError as `serving_scripts`.
    """
    flags: list[tuple[str, Any]] = [
        ("--served-model-name", name),
        ("--tensor-parallel-size", route.tensor_parallel),
        ("--max-model-len", round(route.context_tokens.value)),
        ("--max-num-seqs", concurrency),
        *(("--quantization", kind) for kind in _quantisation(name, route)),
        ("--enable-prefix-caching", None),
        ("--enable-per-request-metrics", None),
        ("--host", "0.0.0.0"),
        ("--port", 8000),
    ]
    check_flags(flags)
    return [flag if value is None else f"{flag} {shlex.quote(str(value))}" for flag, value in flags]


def _quantisation(name: str, route: SelfHostedRoute) -> list[str]:
    """How vLLM quantises the weights as it loads them; nothing where they are published so."""
    published = _CHECKPOINTS.get(route.precision, ())
    if route.precision == "bf16" or any(word in route.model.lower() for word in published):
        return []
    if route.precision == "fp8":
        return ["fp8"]
    raise ValueError(
        f"routes.{name}: vLLM cannot quantise {route.model} to {route.precision} as it loads it: "
        f"name weights that are published in {route.precision} as the model."
    )


@cache
def known_flags() -> Mapping[str, str]:
    """The flags of `vllm serve` that this room writes, and the type of each one's value."""
    table = pd.read_csv(Path(__file__).with_name("flags.csv"))
    return dict(zip(table["flag"], table["type"], strict=True))


def check_flags(flags: Iterable[tuple[str, Any]]) -> None:
    """Checks flags and their values (None: a switch).

    Raises: ValueError for a flag that is not known, or a value of another type.

    >>> check_flags([("--max-num-seqs", 64), ("--enable-prefix-caching", None)])
    >>> check_flags([("--max-num-seq", 64)])
    Traceback (most recent call last):
    ValueError: --max-num-seq: no flag of vllm serve: write one of llmstudy/export/flags.csv.
    """
    for flag, value in flags:
        if flag not in known_flags():
            raise ValueError(
                f"{flag}: no flag of vllm serve: write one of llmstudy/export/flags.csv."
            )
        kind = "switch" if value is None else "whole number" if type(value) is int else "text"
        if kind != known_flags()[flag]:
            raise ValueError(f"{flag} takes a {known_flags()[flag]}, but {value!r} is given.")
