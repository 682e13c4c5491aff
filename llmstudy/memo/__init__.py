"""How does an executed notebook become a page that leadership reads? Its prose, and its look.

`context.py` has the study and the results of its chapters; `computed.py` the few figures that the
memo computes itself. `sections/` is the prose, whose numbers `figures.py` binds to their place in
the results. `render.py` turns a notebook into one HTML file and that into a PDF; `template/` is the
page and `memo.css` its look. `lint.py` refuses a memo that breaks a rule. `sliders.py` makes the
sliders, `sliders.js` moves them; `script.py` makes sure that no other script runs.
"""
