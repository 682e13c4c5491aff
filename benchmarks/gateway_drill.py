"""What becomes of requests when the exported gateway's upstreams break? On the real LiteLLM proxy.

    python benchmarks/gateway_drill.py RUN... > docs/gateway_drill.md

Each finished run's gateway is exported and verified; a page with the drill of all is printed.
"""

import argparse
import tempfile
from pathlib import Path

import pandas as pd

from llmstudy.export.gateway import export_gateway
from llmstudy.export.plan import LITELLM
from llmstudy.export.source import decision
from llmstudy.export.verify import Verification, verify

PAGE = """# What becomes of requests when the exported gateway's upstreams break

Made by `python benchmarks/gateway_drill.py RUN... > docs/gateway_drill.md` of runs of the studies
that ship, on LiteLLM {version} with mocked upstreams on loopback, its timeouts shortened to 2 s,
and to 1 s for a stream. Every name of both phases meets every fault. An answer is judged by its
content: 20 numbered tokens are whole, 5 of 20 are truncated, whatever the status. Failover times
are those that the client waited.

{studies}

{table}

A stream has no fallback after its first token: what is truncated there no gateway saves. A client
that reads `cut` is told by an error; of the other two nothing but the length tells it. Where all
fail, or no second provider is permitted, the client gets an error.
"""


def row_of(fault: str, streamed: bool, rows: pd.DataFrame) -> str:
    """A line of the table: one fault, streamed or not, over all studies and phases."""
    sums = rows[["requests", "by_primary", "by_fallback", "failed", "truncated"]].sum()
    times = (rows["failover_p50_s"].median(), rows["failover_p95_s"].max())
    waits = [f"{x:.2f}" if pd.notna(x) else "–" for x in times]
    cells = [fault, "streamed" if streamed else "in one piece", *map(str, sums), *waits]
    return "| " + " | ".join(cells) + " |"


def page(seen: dict[str, Verification]) -> str:
    """The page. seen: the verification of each study by its name."""
    table = pd.concat([each.table for each in seen.values()])
    heads = ["fault", "answer", "requests", "by the primary", "by a fallback", "failed"]
    heads += ["truncated", "failover p50, s (median)", "p95, s (most)"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    groups = table.groupby(["fault", "streamed"], sort=False)
    lines += [row_of(fault, streamed, rows) for (fault, streamed), rows in groups]
    studies = [
        f"- {name}: {each.requests:,} requests, "
        + ("each accounted for, prices and weights as planned." if not each.faults else "FAULTS.")
        for name, each in seen.items()
    ]
    return PAGE.format(
        version=LITELLM,
        studies="\n".join(studies),
        table="\n".join(lines),
    )


def main() -> None:
    """Prints the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    seen = {}
    for run in parser.parse_args().runs:
        with tempfile.TemporaryDirectory() as folder:
            export_gateway(decision(run), Path(folder))
            seen[run.resolve().parent.name] = verify(Path(folder))
    print(page(seen), end="")


if __name__ == "__main__":
    main()
