"""What all commands share: results on stdout, messages on stderr, one sentence per mistake."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from llmstudy.text import unshowable

BAD_INPUT = 2

AsJson = Annotated[
    bool,
    typer.Option(
        "--json", metavar="", help="Print one JSON document on stdout, and nothing else there."
    ),
]

OutFolder = Annotated[
    Path | None,
    typer.Option(
        help="Folder of all studies' runs. [default: outputs, in the current folder]",
        metavar="DIR",
    ),
]

Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh", metavar="", help="Execute every chapter, even where nothing has changed."
    ),
]


def interactive() -> bool:
    """Whether stdin is a terminal, so that a person can answer."""
    return sys.stdin.isatty()


def say(text: str) -> None:
    """Prints a message on stderr."""
    typer.echo(printable(text), err=True)


def printable(text: str) -> str:
    r"""Text that is safe on a terminal: control characters are written as in JSON.

    >>> print(printable("a\x1b[31mb"))
    a\u001b[31mb
    """
    return "".join(f"\\u{ord(c):04x}" if c != "\n" and unshowable(c) else c for c in text)


def ask(question: str) -> str:
    """Asks on stderr and reads one line from stdin; an empty one is `unknown`."""
    typer.echo(f"{question} [unknown]: ", nl=False, err=True)
    line = sys.stdin.readline()
    if not line:
        raise typer.Abort
    return line.strip() or "unknown"


def print_json(value: Any) -> None:
    """Prints JSON on stdout. value: anything that `io.plain` accepts."""
    from llmstudy import io

    typer.echo(printable(io.dumps(value)), nl=False)


def stop(faults: str, exit_code: int, as_json: bool) -> NoReturn:
    """Ends the command and prints the faults, one sentence per line."""
    say(faults)
    if as_json:
        print_json({"exit_code": exit_code, "errors": faults.splitlines()})
    raise typer.Exit(exit_code)


@contextmanager
def mistakes(as_json: bool) -> Iterator[None]:
    """Ends the command with exit code 2 for a fault in the user's input.

    Every error of the package about its input is a ValueError; a file that cannot be read or
    written is an OSError.
    """
    try:
        yield
    except OSError as error:
        stop(f"{error.filename}: {error.strerror}.", BAD_INPUT, as_json)
    except ValueError as error:
        stop(str(error), BAD_INPUT, as_json)
