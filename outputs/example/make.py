"""Renders the example memo and the README's picture from a fresh run of the default study."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from llmstudy import paths
from llmstudy.run import run_study

HERE = Path(__file__).parent

with tempfile.TemporaryDirectory() as folder:
    run = run_study(paths.params("default.yaml"), folder)
    for name in ("memo", "pdf"):
        shutil.copy(run.paths[name], HERE / run.paths[name].name)
subprocess.run(
    ["pdftoppm", "-png", "-r", "110", "-f", "1", "-l", "1", "-singlefile"]
    + [str(HERE / "memo.pdf"), str(HERE / "memo-page-1")],
    check=True,
)
