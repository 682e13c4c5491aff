"""The evidence of a study: its traffic, what each route charges, probes, permissions and findings.

This is where a study's names meet the tables. `case` opens a study with its traffic read; `traffic`
reads the log or draws requests; `offers` prices every request on every route and sizes every fleet;
`gpu_hours` prices an hour of a route's GPUs; `probes` reads the measured runs that a study names;
`output_tokens` says how much another model writes; `findings` says what a reader must know of it
all.
"""
