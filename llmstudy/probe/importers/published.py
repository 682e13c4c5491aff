"""Compares the figures that a tool publishes with those derived from its raw times.

Metrics of one name are seldom one quantity: guidellm's TPOT contains TTFT, aiperf's ITL divides by
tokens that the client counted. data/load_tool_metrics.csv defines each, and gives whether and why
it may be compared.
"""

import numpy as np
import pandas as pd

from llmstudy.figure import FloatArray
from llmstudy.measures.latency import quantile_interval
from llmstudy.probe.importers.mapping import tool_metrics
from llmstudy.probe.run import Run, chunk_gaps_s, with_metrics

_COLUMNS = ["metric", "quantity", "statistic", "published_ms", "derived_ms", "ratio"]
_COLUMNS += ["comparable", "why"]


def published_against_derived(run: Run) -> pd.DataFrame:
    """The latencies that a tool published beside those derived from its own raw times.

    run: from `read_results`. Derived: by the dictionary in `llmstudy.measures.latency`, over the
    samples after the warm-up; a percentile counts failures as +inf and is an observed latency,
    where the tools leave failures out and interpolate; a mean is over the successes.

    Returns: one row per published latency: `metric` (ours), `quantity` (the tool's name),
    `statistic` ("mean", "p95"), `published_ms`, `derived_ms` (NaN where it cannot be derived, or
    falls among failures), `ratio` (published over derived), `comparable` (bool: it is the same
    quantity, with the care that `why` asks for), `why`.
    """
    failed = int((~run.measured["ok"]).sum())
    api = run.facts["endpoint"]["api"]
    entries = tool_metrics()
    entries = entries[
        (entries["tool"] == run.facts["tool"]["name"]) & entries["api"].isin(["any", api])
    ]
    entries = entries[entries["quantity"] != ""].set_index("name")
    latencies = {metric: _latencies_ms(run, metric) for metric in set(entries["quantity"])}
    rows = []
    for row in run.facts["published"]:
        if row["unit"] != "ms" or row["name"] not in entries.index:
            continue
        entry = entries.loc[row["name"]]
        derived = _statistic(latencies[entry["quantity"]], row["statistic"])
        comparable, why = entry["comparable"] != "no", entry["why"]
        if failed and row["statistic"] != "mean":
            comparable = False
            why = f"its percentiles leave out {failed} failed requests; {why}"
        rows.append(
            {
                "metric": entry["quantity"],
                "quantity": row["name"],
                "statistic": row["statistic"],
                "published_ms": row["value"],
                "derived_ms": derived,
                "ratio": row["value"] / derived if derived else np.nan,
                "comparable": comparable,
                "why": why,
            }
        )
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"comparable": bool})


def _latencies_ms(run: Run, metric: str) -> FloatArray:
    """The latencies of a run, (n,): failures are +inf, undefined ones are left out."""
    samples = run.measured
    if metric == "itl":
        latencies_s = chunk_gaps_s(samples)
    else:
        derived = with_metrics(samples)[f"{metric}_s"]
        latencies_s = np.where(samples["ok"], derived.to_numpy(dtype=float), np.inf)
    # times that contradict each other define no latency; the audit refuses such a run
    defined_ms: FloatArray = 1e3 * latencies_s[latencies_s >= 0]
    return defined_ms


def _statistic(latencies_ms: FloatArray, statistic: str) -> float:
    if statistic == "mean":
        finite = latencies_ms[np.isfinite(latencies_ms)]
        return float(finite.mean()) if len(finite) else np.nan
    share = float(statistic.removeprefix("p")) / 100
    if not 0 < share < 1:
        return np.nan  # an extreme has no estimate: it grows with the number of requests
    estimate = quantile_interval(latencies_ms, share).estimate
    return np.nan if estimate is None else estimate
