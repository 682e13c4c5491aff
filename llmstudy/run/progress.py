"""How does somebody who waits see how far a run or a sweep is? On stderr, part by part."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

Tell = Callable[[Iterable[str], Mapping[str, str]], None]
"""Takes the names of the parts that run now, and how each part that has just ended went."""


@contextmanager
def reporting(total: int, visible: bool) -> Iterator[Tell]:
    """Shows the progress of `total` parts: a bar on a terminal, else a line per part that ends.

    Yields: the function to call whenever a part begins or ends.

    >>> with reporting(1, visible=False) as tell:
    ...     tell([], {"01_evidence": "executed in 2 s"})
    """
    if visible and not sys.stderr.isatty():
        yield _print_lines
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), "{task.description}")
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not visible) as bar:
        task = bar.add_task("", total=total)

        def update(running: Iterable[str], ended: Mapping[str, str]) -> None:
            bar.update(task, advance=len(ended), description=", ".join(running))

        yield update


def _print_lines(running: Iterable[str], ended: Mapping[str, str]) -> None:
    for name, outcome in ended.items():
        print(f"{name}: {outcome}", file=sys.stderr, flush=True)
