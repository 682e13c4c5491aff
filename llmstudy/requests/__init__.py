"""The request log: what was asked, when, how large, and how it ended.

`schema` holds the canonical table and its rules, `importers` reads a log into it without losing a
row, `traffic` draws requests from published shapes where there is no log, `summary` says what a
log holds and what it cannot tell. Prices and money are in `prices` and `cost`; latency under load
is in `latency` and `capacity`. The text of prompts and answers is nowhere.
"""
