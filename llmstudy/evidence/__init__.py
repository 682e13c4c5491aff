"""The evidence of a study: its traffic, prices and fleets of its routes, probes and permissions.

Here the names in a study are looked up in prices, logs and measurements. `case` opens a study with
its traffic; `traffic` reads the log or simulates requests; `offers` prices every request on every
API route and sizes every fleet; `gpu_hours` prices an hour of a route's GPUs; `probes` reads the
probe runs that a study names; `output_tokens` estimates how many tokens another model writes;
`findings` lists what a reader must know of the prices and probes.
"""
