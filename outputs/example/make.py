"""Renders the example memo and the README's picture from a fresh run of the default study."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from llmstudy.run import run_study

HERE = Path(__file__).parent


def main() -> None:
    """Runs in the project's root, so that the memo names the command a reader can type."""
    with tempfile.TemporaryDirectory() as folder:
        run = run_study("params/default.yaml", folder)
        for name in ("memo", "pdf"):
            shutil.copy(run.paths[name], HERE / run.paths[name].name)
    subprocess.run(
        ["pdftoppm", "-png", "-r", "110", "-f", "1", "-l", "1", "-singlefile"]
        + [str(HERE / "memo.pdf"), str(HERE / "memo-page-1")],
        check=True,
    )


if __name__ == "__main__":
    main()
