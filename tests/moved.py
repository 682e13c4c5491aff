"""What has moved in the results since a revision? For a change that must move nothing, and for one
that moves a figure on purpose: its table goes into the commit.

`python tests/moved.py REVISION [STUDY ...]` runs the studies that ship once with the package as it
was and once as it is, and compares each result by its path: text, verdicts and counts exactly,
floats to 1e-9 of their size, and of the memo the figures that it shows and their places, not its
words. It prints what moved, and exits 1 if anything did. Runs are kept under `outputs/moved`, so
that a revision is run once.
"""

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STUDIES = ("default", "hyperscale", "regulated", "source_memo")
RELATIVE = 1e-9


def main() -> int:
    """Compares the two runs of each study, and says how many results moved."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("revision")
    parser.add_argument("studies", nargs="*", default=STUDIES)
    given = parser.parse_args()
    revision = _git("rev-parse", "--short=12", f"{given.revision}^{{commit}}")
    moved = 0
    for study in given.studies:
        before = _run_of_revision(revision, study)
        with tempfile.TemporaryDirectory() as folder:
            for line in differences(before, _run(ROOT, study, Path(folder))):
                print(f"{study}: {line}")
                moved += 1
    print(f"{moved} results moved since {revision}" if moved else f"nothing moved since {revision}")
    return int(bool(moved))


def differences(before: Path, after: Path) -> Iterator[str]:
    """What differs between two runs, a line for each result."""
    names = sorted({f.name for run in (before, after) for f in (run / "results").glob("*.json")})
    for name in names:
        pair = [run / "results" / name for run in (before, after)]
        old, new = (json.loads(f.read_text()) if f.is_file() else None for f in pair)
        yield from _moved(old, new, name.removesuffix(".json") + "#")
    shown = [_shown(next(run.glob("memo.html"))) for run in (before, after)]
    for sign, left in (("no longer", shown[0] - shown[1]), ("newly", shown[1] - shown[0])):
        for place, value in sorted(left):
            yield f"memo: {sign} shows {value} of {place}"


def _moved(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if key != "study_sha256":
                yield from _moved(old.get(key), new.get(key), f"{path}/{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, pair in enumerate(zip(old, new, strict=True)):
            yield from _moved(*pair, f"{path}/{i}")
    elif not _equal(old, new):
        yield f"{path}: {_short(old)} -> {_short(new)}"


def _equal(old: Any, new: Any) -> bool:
    floats = isinstance(old, float) and isinstance(new, float)
    return math.isclose(old, new, rel_tol=RELATIVE) if floats else bool(old == new)


def _short(x: Any) -> str:
    text = f"{len(x)} rows" if isinstance(x, list) else json.dumps(x)
    return text if len(text) < 80 else text[:77] + "..."


def _shown(memo: Path) -> Counter[tuple[str, str]]:
    """The figures and quoted words that a memo shows, by their place."""
    figures = re.findall(r'<(?:data|span) class="figure"([^>]*)>', memo.read_text())
    marks = [dict(re.findall(r'([\w-]+)="([^"]*)"', figure)) for figure in figures]
    return Counter((mark["data-figure"], mark.get("value", "words")) for mark in marks)


def _run_of_revision(revision: str, study: str) -> Path:
    """The run of a study as the package was at a revision."""
    kept = ROOT / "outputs" / "moved" / revision / study
    if not kept.is_dir():
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder) / "tree"
            _git("worktree", "add", "--quiet", "--detach", str(tree), revision)
            try:
                shutil.move(_run(tree, study, Path(folder)), _made(kept))
            finally:
                _git("worktree", "remove", "--force", str(tree))
    return kept


def _run(tree: Path, study: str, out: Path) -> Path:
    """Runs a study with the package of a tree into an empty folder. Returns: the run's folder."""
    command = ["-m", "llmstudy", "run", f"params/{study}.yaml", "--out", str(out), "--json"]
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        sys.exit(f"{study} does not run in {tree}:\n{ended.stderr}")
    return Path(json.loads(ended.stdout)["paths"]["memo"]).parent


def _made(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def _git(*words: str) -> str:
    return subprocess.run(
        ("git", *words), cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
