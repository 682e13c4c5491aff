"""How does an executed notebook become a page that leadership reads? Rendering, and its look.

`render.py` turns a notebook into one HTML file and that into a PDF; `template/` is the page and
`memo.css` its look. What the memo says is not here: the notebook composes it.
"""
