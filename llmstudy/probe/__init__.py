"""How fast does an endpoint answer, and may a decision rest on that measurement?

A probe sends requests to a real endpoint on a schedule and keeps one row per request: when it was
wanted, when it was sent, when each piece of the answer came. Everything else is derived from those
rows, so that our own runs and those of other load tools go through the same arithmetic and the same
audit. A run that the audit finds invalid does not enter a memo.

- `samples`: the row per request, the run they make, and the metrics derived from them.
- `endpoint`: one streaming call. `prompts`, `arrivals`: what is sent, and when. `load`: dispatch.
- `record`: the folder of a run on disk, which a killed run leaves readable.
- `audit`: whether the run did what it says. `intervals`, `compare`: how sure we are, what to plan.
- `search`: the highest load within the SLO, the knee, the points that a capacity fit needs.
- `vllm`: a vLLM server as a child, in this process, or already running; its physical limit.
- `importers`: the result files of other load tools, their metrics derived again from raw times.

The dictionary of metrics is in `llmstudy.measures.latency`.
"""
