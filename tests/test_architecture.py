import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- python tests/architecture.py -->\n", "\n<!-- end -->"


def test_the_diagram_is_that_of_the_imports():
    printed = subprocess.run(
        [sys.executable, ROOT / "tests" / "architecture.py"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    shown = page.partition(BEGIN)[2].partition(END)[0]
    assert shown == printed, "put what `python tests/architecture.py` prints between the markers"


@pytest.mark.parametrize(
    "room", sorted(p.name for p in (ROOT / "llmstudy").iterdir() if p.is_dir())
)
def test_the_page_says_what_each_room_is_for(room):
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert room in ("__pycache__", "_bundled") or f"| `{room}` |" in page
