"""The memo: from executed notebooks to a page that leadership reads.

`memo.html.j2` is the memo, readable from top to bottom; `document.py` renders it. Its numbers come
from the results by their place (`figures.py`): those of the chapters, and the memo's own tables
(`content.py`, on the facts of `context.py`). `render.py` turns a notebook into one HTML file and
that into a PDF; `template/` is the page around it and `memo.css` its style. `lint.py` checks the
template for typed numbers and the page for its rules. `sliders.py` makes the what-if sliders and
`sliders.js` moves them; `script.py` allows no other script.
"""
