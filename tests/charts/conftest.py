"""What the tests of charts share: can a reader of the SVG read its words?"""

from collections.abc import Callable
from itertools import combinations

import pytest
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from llmstudy import charts


def words_drawn(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Bbox]]:
    """What a reader of the SVG gets to see, and where; matplotlib holds texts it never draws."""
    seen: dict[Text, Bbox] = {}
    draw = Text.draw

    def record(text: Text, renderer: RendererBase) -> None:
        if text.get_visible() and text.get_text().strip():
            seen[text] = Text.get_window_extent(text, renderer)
        draw(text, renderer)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", record)
        charts.svg(figure)
    return [(text.get_text(), box) for text, box in seen.items()]


@pytest.fixture
def assert_readable(monkeypatch) -> Callable[[Figure], None]:
    """Fails where words overlap or leave the canvas."""

    def check(figure: Figure) -> None:
        seen = words_drawn(figure, monkeypatch)
        assert len(seen) >= 5
        right, top = 72 * figure.get_size_inches()
        for said, box in seen:
            assert 0 <= box.x0 < box.x1 <= right, f"{said!r} is cut off"
            assert 0 <= box.y0 < box.y1 <= top, f"{said!r} is cut off"
        for (a, box_a), (b, box_b) in combinations(seen, 2):
            shared = Bbox.intersection(box_a, box_b)
            # a box has room above and below its letters: one point of it may be shared
            assert shared is None or min(shared.width, shared.height) < 1, f"{a!r} covers {b!r}"

    return check


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The cases of a module's charts, for the tests of `shared.ChartTests`."""
    if "chart_name" in metafunc.fixturenames:
        metafunc.parametrize("chart_name", metafunc.cls.charts)
    if "chart_says" in metafunc.fixturenames:
        ids = [f"{name}-{words}" for name, words, _ in metafunc.cls.says]
        metafunc.parametrize("chart_says", metafunc.cls.says, ids=ids)
    if "chart_note" in metafunc.fixturenames:
        metafunc.parametrize("chart_note", metafunc.cls.notes.items(), ids=metafunc.cls.notes)
