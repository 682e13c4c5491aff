"""What every chart must pass: its words can be read, and say what its table says."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import ClassVar

from matplotlib.text import Text

from llmstudy.charts import Chart

Draw = Callable[[], Chart]


def drawer(charts: Mapping[str, Draw]) -> Callable[[str], Chart]:
    """The chart of a name; drawing takes time, so each is drawn once."""
    return cache(lambda name: charts[name]())


def title(chart: Chart) -> str:
    """The title as one line."""
    return " ".join(chart.figure.get_suptitle().split())


def letters(text: str) -> str:
    """A text without spaces: a title is broken at spaces and after hyphens."""
    return "".join(text.split())


class ChartTests:
    """The tests of one module's charts; `conftest.py` puts each case to them.

    says: name of a chart, words of its title, words of its alt text. notes: the note on the
    evidence that a chart carries, by its name.
    """

    charts: ClassVar[Mapping[str, Draw]]
    says: ClassVar[Sequence[tuple[str, str, str]]] = ()
    notes: ClassVar[Mapping[str, str]] = {}
    drawn: ClassVar[Callable[[str], Chart]]

    def test_no_words_overlap_or_leave_the_canvas(self, chart_name, assert_readable):
        assert_readable(type(self).drawn(chart_name).figure)

    def test_no_words_are_smaller_than_eight_points(self, chart_name):
        words = type(self).drawn(chart_name).figure.findobj(Text)
        assert min(text.get_fontsize() for text in words) >= 8

    def test_title_and_alt_carry_the_numbers_of_the_table(self, chart_says):
        name, in_title, in_alt = chart_says
        chart = type(self).drawn(name)
        assert letters(in_title) in letters(title(chart))
        assert in_alt in chart.alt
        assert letters(chart.alt).startswith(letters(title(chart)))

    def test_the_grade_of_the_evidence_is_on_the_chart_and_in_the_alt(self, chart_note):
        name, note = chart_note
        chart = type(self).drawn(name)
        assert " ".join(chart.figure.get_supxlabel().split()) == note
        assert chart.alt.endswith(note)
