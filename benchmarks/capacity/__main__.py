"""How fast and how right are the capacity model and the Monte Carlo beside what else one would use?

One module per comparison, each a table of ratios from one run; see ../README.md.

    python benchmarks/capacity --only replay --json replay.json
    python benchmarks/capacity --only serving --peer-env ENV
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import montecarlo
import replay_simpy
import serving

COMPARISONS = ("replay", "serving", "montecarlo")


def main() -> None:
    """Runs the comparisons named, all unless named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=COMPARISONS, action="append")
    parser.add_argument(
        "--peer-env", type=Path, help="environment of aiconfigurator; made if absent"
    )
    parser.add_argument("--sample", type=int, default=6, help="held-out points of each group")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    wanted = given.only or COMPARISONS
    if "serving" in wanted and not given.peer_env:
        parser.error("serving needs --peer-env DIR, a folder for aiconfigurator's environment")
    run: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "replay": replay_simpy.replay_against_simpy,
        "serving": partial(serving.against_aiconfigurator, given.peer_env, given.sample),
        "montecarlo": montecarlo.against_a_loop,
    }
    found: dict[str, Any] = {"about": machine()}
    for name in wanted:
        found[name] = run[name]()
        sys.stdout.write(f"{name}\n")
        for row in found[name]:
            sys.stdout.write("  " + "  ".join(f"{k} {shown(v)}" for k, v in row.items()) + "\n")
    found["about"]["load_average_after"] = os.getloadavg()
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


def shown(value: Any) -> str:
    """A cell of the table."""
    return value if isinstance(value, str) else f"{value:.4g}"


def machine() -> dict[str, Any]:
    """What the figures were made on, and how busy it was before."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "python": platform.python_version(),
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "load_average_before": os.getloadavg(),
    }


if __name__ == "__main__":
    main()
