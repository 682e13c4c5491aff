"""How long does an analyst wait for a slider? The panel's redraw, and what it is made of.

    .venv/bin/python benchmarks/explore.py [--study params/default.yaml] [--repeats 30]

Each lever is turned to values that it has not had before, so that nothing is remembered of them.
Both clocks are printed, processor time of the process and wall time: on a machine that does other
work the second says how busy it was. The aim is a redraw within 100 ms.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from statistics import median

from llmstudy import paths
from llmstudy.answer import Changes, Prepared, answer, break_evens, crossovers, prepare
from llmstudy.chapters.all import MEASURES, chapter_results
from llmstudy.evidence.case import open_case
from llmstudy.explore import Panel
from llmstudy.explore.page import page, view
from llmstudy.study import load

AIM_MS = 100.0


def main() -> None:
    """Prints one line for each step, in milliseconds: the median and the slowest of ten."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", default=str(paths.params("default.yaml")))
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--json", help="a file for the figures")
    given = parser.parse_args()
    case = open_case(load(given.study))
    began = time.perf_counter()
    base = prepare(case, chapter_results(case, MEASURES))
    print(f"prepared in {time.perf_counter() - began:.1f} s, targets at the study's own")
    rows = {step: _timed(run, given.repeats) for step, run in _steps(base, given.study)}
    print(f"{'step':<34}{'CPU ms':>10}{'p90':>8}{'wall ms':>10}{'p90':>8}")
    for step, (cpu, wall) in rows.items():
        print(
            f"{step:<34}{median(cpu):>10.1f}{_p90(cpu):>8.1f}{median(wall):>10.1f}{_p90(wall):>8.1f}"
        )
    slowest = max(median(cpu) for step, (cpu, _) in rows.items() if step.startswith("redraw"))
    print(f"slowest redraw {slowest:.0f} ms of CPU, {slowest / AIM_MS:.2f} of the aim")
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump({step: {"cpu_ms": c, "wall_ms": w} for step, (c, w) in rows.items()}, file)


def _steps(base: Prepared, study: str) -> Iterator[tuple[str, Callable[[int], object]]]:
    panel = Panel(base, study)
    at_base = view(base)

    def turn(lever: str, value: Callable[[int], float]) -> Callable[[int], object]:
        def run(i: int) -> None:
            panel.levers[lever].value = value(i)

        return run

    yield "redraw, volume", turn("volume", lambda i: 1.1 + 0.05 * i)
    panel.to_base()
    yield "redraw, growth", turn("growth", lambda i: 0.5 * (1 + i % 18))
    panel.to_base()
    yield "redraw, GPU price", turn("gpu_price", lambda i: 0.95 - 0.02 * i)
    panel.to_base()
    yield "redraw, team", turn("team", lambda i: 1.05 + 0.05 * i)
    panel.to_base()
    yield "redraw, margin, seen before", turn("margin", lambda i: 0.5 * (i % 2))
    yield "answer", lambda i: answer(base, Changes(volume=2.01 + 0.01 * i))
    yield "break-evens", lambda i: break_evens(base, at_base.outcome)
    yield "crossovers", lambda i: crossovers(base, answer(base, Changes(gpu_price=1.01 + 0.01 * i)))
    yield "page of text and charts", lambda i: page(at_base, at_base)


def _timed(run: Callable[[int], object], repeats: int) -> tuple[list[float], list[float]]:
    cpu, wall = [], []
    for i in range(repeats + 2):  # the first two are not counted
        at, now = time.process_time(), time.perf_counter()
        run(i)
        cpu.append(1e3 * (time.process_time() - at))
        wall.append(1e3 * (time.perf_counter() - now))
    return cpu[2:], wall[2:]


def _p90(times: list[float]) -> float:
    return sorted(times)[int(0.9 * (len(times) - 1))]


if __name__ == "__main__":
    main()
