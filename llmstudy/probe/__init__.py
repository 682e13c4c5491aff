"""How fast does an endpoint answer, and may a decision rest on that measurement?

A probe sends requests to a real endpoint on a schedule and records one row per request, with the
times of its schedule, its sending, and the arrival of each piece of its answer. Everything else is
derived from those rows, so that recorded runs and those of other load tools share one arithmetic
and one audit. A run that the audit finds invalid does not enter a memo.

- `design.probe_endpoint`, `search.rate.search_rate`, `vllm.probe.probe_vllm`, `result.read_probe`,
  `compare.compare` and `plan`: one function for each command, which notebooks call too.
- `options`: their options, each declared once. `result`: what they return. `recorded`: the points
  of a GPU on disk, as in data/probes.
- `run`: the row per request, the latencies derived from it, and the folder of a run on disk, which
  a killed run leaves readable.
- `endpoint`, `call`, `connection`, `stream`: one streaming call. `design`, `prompts`, `arrivals`:
  the requests and their times. `load`: sending them. `refusals`: advice on a failure.
- `audit`: whether a run is valid, by the limits in data/probe_audit.csv. `metrics`: its
  percentiles. `report`: all of it as JSON.
- `search`: the highest load within the SLO, the knee, the points that a capacity fit needs.
- `vllm`: a vLLM server as a child process, or its engine in this process; the GPU's limit.
- `importers`: the result files of other load tools, their metrics derived again from raw times.

The dictionary of metrics is in `llmstudy.measures.latency`.
"""
