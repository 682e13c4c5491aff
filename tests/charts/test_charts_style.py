"""A chart's words can be read whatever letters they have."""

import warnings
from xml.etree import ElementTree

from matplotlib.figure import Figure

from llmstudy.charts import svg, use_style


def test_words_that_the_font_lacks_are_text_and_warn_nobody():
    figure = Figure()
    axes = figure.subplots()
    axes.set_yticks([0, 1, 2], labels=["客服 & chat 🙂", "chat", "שלום"])
    with warnings.catch_warnings(record=True) as warned:
        use_style()  # pytest forgets what the import had said of warnings
        drawing = ElementTree.fromstring(svg(figure))
    assert not warned
    words = [node.text for node in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert words == ["客服 & chat 🙂", "שלום"]
    ids = {node.get("id") for node in drawing.iter()}
    uses = drawing.iter("{http://www.w3.org/2000/svg}use")
    assert {node.get("{http://www.w3.org/1999/xlink}href")[1:] for node in uses} <= ids
