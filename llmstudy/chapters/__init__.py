"""The tables of the chapters, one module for each, from evidence to results.

Each makes the tables of one chapter, which its notebook shows and writes to
`results/<chapter>.json` and from which the later chapters go on; `findings` words a chapter's
headings and `notebook` is what a notebook needs besides prose.
"""
