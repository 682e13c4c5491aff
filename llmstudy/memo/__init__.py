"""How does an executed notebook become a page that leadership reads? By one template.

`memo.html.j2` is the memo, readable from top to bottom; `document.py` renders it. Its numbers come
from the results by their place (`figures.py`): those of the chapters, and the tables that the memo
makes of them (`content.py`, on the facts of `context.py`). `render.py` turns a notebook into one
HTML file and that into a PDF; `template/` is the page around it and `memo.css` its look. `lint.py`
reads the template for what was typed, and refuses a memo that breaks a rule. `sliders.py` makes the
sliders, `sliders.js` moves them; `script.py` makes sure that no other script runs.
"""
