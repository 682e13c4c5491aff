"""The measures applied to a study: one module per chapter, from evidence to tables.

`case` opens a study with its traffic; `market` holds what every route charges. The others each
make the tables of one chapter, which it writes to `results/<chapter>.json` and from which the
later chapters go on. No sentence is written here and no chart drawn.
"""
