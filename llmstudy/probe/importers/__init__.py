"""Imports the result files of other load tools as runs.

The result file of another tool becomes a `Run`: one sample per request with its raw times, and the
facts of the load. Metrics are then derived from those times, and the audit checks them, as for a
recorded run. The tool's own figures are in `facts["published"]`, to compare with the derived ones.

- `formats`: the tool of a file, by its content. `result_file`: its JSON, and errors in it.
- `mapping`: data/probe_formats.csv, the place of every field in the files of each tool, its unit
  and its meaning. `reader`: a run by that table; `tools`: the rules of each tool beside it.
- `published`: which numbers of a tool may be compared with ours, and why not, from
  data/load_tool_metrics.csv.

An imported run has, beyond the facts in `llmstudy.probe.run`:

- `published`: a list of {name, statistic, value, unit}: the tool's summary, by its own names;
- `clock`: "monotonic", "wall" (it may step), or "per request" (the file has the duration of each
  request and not the time of its sending: every one begins at 0);
- `notes`: sentences on what the file lacks and how that is filled.

Where a file holds the first and the last chunk of a request but none between, `content_times_s` is
[first, NaN, last]: TTFT, TPOT and E2E latency follow, and the gaps are NaN, not one long gap. A
file with summaries alone makes a run without samples: nothing can be derived from it. A time that
is no number becomes NaN, and a negative one stays: the audit finds the run invalid.
"""

from llmstudy.probe.importers.formats import TOOLS, read_results
from llmstudy.probe.importers.published import published_against_derived

__all__ = ["TOOLS", "published_against_derived", "read_results"]
