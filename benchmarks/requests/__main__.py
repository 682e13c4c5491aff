"""How long does a log of many million requests take to price and sum up? Against a bare scan.

    .venv/bin/python benchmarks/requests [--rows 1e6 --rows 1e7 --rows 2e7] [--polars PYTHON]
    .venv/bin/python benchmarks/requests --study-rows 1e7
    .venv/bin/python benchmarks/requests --jsonl-rows 5e5

Requests of 50 tenants, 12 workloads and 8 models over 90 days are written to Parquet, then grouped
by tenant, workload and day with exact p50, p95 and p99, every request re-priced. The floor is
DuckDB's scan of the same columns in the same run. Each step is a process of its own, so that its
peak is its own; processor time is the one to compare, since a shared machine stretches the clock.
With --study-rows a study is made of such a log, and one whole `llmstudy run` of it is measured;
with --jsonl-rows `llmstudy requests import` of a LiteLLM log, 2 kB a row.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from math import log
from pathlib import Path
from statistics import median

AIM_RATIO, AIM_GIB, AIM_JSONL_ROWS_PER_S = 3.0, 2.0, 100_000

BY = ["tenant", "workload", "day"]

_TEXTS = ("tenant", "workload", "provider", "model_served", "service_tier")
_NUMBERS = (
    *("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens"),
    *("latency_s", "ttft_s"),
)


def generate(folder: Path, rows: int, rows_a_file: int = 5_000_000) -> None:
    """Writes a canonical table in order of time, as a log comes, to files of 5 million rows."""
    import duckdb

    models = {
        "gpt-4o": "openai",
        "gpt-4o-mini": "openai",
        "gpt-4.1": "openai",
        "gpt-4o-2024-08-06": "openai",
        "claude-sonnet-4-5": "anthropic",
        "claude-haiku-4-5": "anthropic",
        "gemini-2.5-pro": "google",
        "llama-3.1-70b": "vllm",
    }
    normal = "sqrt(-2 * ln(random() + 1e-12)) * cos(2 * pi() * random())"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET memory_limit = '2GB'; SELECT setseed(0.5)")
        for first in range(0, rows, rows_a_file):
            last = min(first + rows_a_file, rows)
            connection.execute(
                f"""COPY (SELECT i::VARCHAR AS request_id,
                TIMESTAMPTZ '2026-08-31' + to_microseconds((i * {7_776_000_000_000 / rows})::BIGINT)
                  AS ts_start, 'workload-' || hash(2 * i) % 12 AS workload, tenant, provider,
                model_served, CASE WHEN hash(5 * i) % 10 = 0 THEN 'batch' END AS service_tier,
                input_tokens, (input_tokens * (hash(7 * i) % 4) * 0.2)::BIGINT
                  AS cached_input_tokens, 0::BIGINT AS cache_write_tokens, output_tokens,
                round(0.2 + output_tokens * 0.012 * spread, 3) AS latency_s,
                round(0.1 + 0.4 * spread, 3) AS ttft_s, hash(11 * i) % 50 <> 0 AS ok,
                'generated' AS source
                FROM (SELECT i, random() AS spread,
                  'tenant-' || least(49, floor(exp(random() * ln(51)) - 1))::INT AS tenant,
                  {list(models)}[1 + (hash(3 * i) % 8)::INT] AS model_served,
                  {list(models.values())}[1 + (hash(3 * i) % 8)::INT] AS provider,
                  (exp(6.5 + 1.2 * {normal}))::BIGINT + 1 AS input_tokens,
                  (exp(4.8 + {normal}))::BIGINT AS output_tokens
                  FROM range({first}, {last}) each(i)))
                TO '{folder}/{first:012}.parquet' (FORMAT parquet, COMPRESSION zstd)"""
            )


def scan(files: str) -> int:
    """DuckDB decodes the columns, and adds up each."""
    import duckdb

    sums = [f"sum(strlen({name}))" for name in _TEXTS] + [f"sum({name})" for name in _NUMBERS]
    query = f"SELECT {', '.join(sums)}, sum(epoch_us(ts_start)), count_if(ok)"
    duckdb.sql(f"{query} FROM read_parquet('{files}')").fetchall()
    return 1


def ours(files: str) -> int:
    """`summary_by` without intervals."""
    from llmstudy.measures.requests_summary import summary_by

    return len(summary_by(files, BY, level=None))


def latency_alone(files: str) -> int:
    """`summary_by` with the quantiles of latency, without those of TTFT."""
    from llmstudy.measures.requests_summary import summary_by

    return len(summary_by(files, BY, level=None, metrics=["latency_s"]))


def with_intervals(files: str) -> int:
    """`summary_by` with the order statistics about each quantile."""
    from llmstudy.measures.requests_summary import summary_by

    return len(summary_by(files, BY))


def duckdb_by_hand(files: str) -> int:
    """What an analyst would write in SQL: the group-by with exact quantiles, without prices."""
    import duckdb

    delays = [f"quantile_disc({name}, [0.5, 0.95, 0.99])" for name in ("latency_s", "ttft_s")]
    sums = [f"sum({name})" for name in _NUMBERS[:4]]
    query = "SELECT tenant, workload, epoch_us(ts_start) // 86400000000 AS day, count(*)"
    query += f", {', '.join(sums + delays)}, count_if(ok) FROM read_parquet('{files}') GROUP BY ALL"
    return len(duckdb.sql(query).fetchnumpy()["day"])


def pandas_by_hand(files: str) -> int:
    """The same in pandas, read through DuckDB."""
    import duckdb

    names = ["tenant", "workload", "ts_start", *_NUMBERS]
    requests = duckdb.sql(f"SELECT {', '.join(names)} FROM read_parquet('{files}')").df()
    requests["day"] = requests["ts_start"].dt.floor("D")
    groups = requests.groupby(BY, observed=True)
    groups[list(_NUMBERS[:4])].sum()
    return len(groups[["latency_s", "ttft_s"]].quantile([0.5, 0.95, 0.99])) // 3


POLARS = """
import json, resource, sys, time
import polars as pl
began, cpu = time.perf_counter(), time.process_time()
tokens = ["input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens"]
delays = [pl.col(c).quantile(q, "higher").alias(f"{c}{q}") for c in ("latency_s", "ttft_s")
          for q in (0.5, 0.95, 0.99)]
frame = (pl.scan_parquet(sys.argv[1]).group_by("tenant", "workload", pl.col("ts_start").dt.date())
         .agg(pl.len(), *[pl.col(c).sum() for c in tokens], pl.col("ok").sum(), *delays)
         .collect(engine="streaming"))
print(json.dumps({"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu,
  "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "groups": len(frame)}))
"""

STEPS: dict[str, Callable[[str], int]] = {
    "scan": scan,
    "ours": ours,
    "ours, latency alone": latency_alone,
    "with intervals": with_intervals,
    "DuckDB, no prices": duckdb_by_hand,
    "pandas, no prices": pandas_by_hand,
}


def measured(step: str, files: str) -> None:
    """Runs a step in this process and prints its times and peak as JSON."""
    import duckdb  # and what it takes to be there is not the step's
    import pandas  # noqa: F401

    from llmstudy.measures import requests_summary  # noqa: F401

    duckdb.sql("SELECT 1").fetchall()
    began, cpu = time.perf_counter(), time.process_time()
    groups = STEPS[step](files)
    times = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({**times, "peak_gib": peak, "groups": groups}))


def run(step: str, files: str, repeats: int, polars: str | None) -> dict[str, float]:
    """The median of some runs of a step, each in a process of its own."""
    command = [sys.executable, __file__, "--step", step, "--files", files]
    if step == "Polars, no prices":
        command = [str(polars), "-c", POLARS, files]
    lines = [
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for _ in range(repeats)
    ]
    runs = [json.loads(line) for line in lines]
    return {name: median(each[name] for each in runs) for name in runs[0]}


def whole_run(rows: int) -> None:
    """Prints time and peak of `llmstudy run` on a study of a log, nothing read before."""
    with tempfile.TemporaryDirectory(prefix="llmstudy-requests-") as folder:
        (Path(folder) / "log").mkdir()
        generate(Path(folder) / "log", rows)
        caches = os.environ | {"XDG_CACHE_HOME": f"{folder}/cache"}
        command = [sys.executable, "-m", "llmstudy"]
        for step in (["init", "acme", "--log", "log"], ["run", "acme/study.yaml"]):
            shutil.rmtree(Path(folder) / "cache" / "llmstudy" / "logs", ignore_errors=True)
            began = time.perf_counter()
            subprocess.run([*command, *step], cwd=folder, env=caches, check=True)
            took_s = time.perf_counter() - began
            # the largest of all processes so far
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
            print(f"{step[0]}, {rows:,} rows: {took_s:.0f} s, {peak:.2f} GiB in one process")


def generate_jsonl(file: Path, rows: int) -> None:
    """Writes a log as LiteLLM does (StandardLoggingPayload), prompts and answers included."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(
            f"""COPY (SELECT 'chatcmpl-' || i AS id, uuid()::VARCHAR AS litellm_call_id,
            uuid()::VARCHAR AS trace_id, 'acompletion' AS call_type, NULL AS cache_hit,
            true AS stream, CASE WHEN i % 50 = 0 THEN 'failure' ELSE 'success' END AS status,
            'openai' AS custom_llm_provider, start AS startTime, start + latency AS endTime,
            start + latency / 4 AS completionStartTime, latency AS response_time,
            'gpt-4o-2024-08-06' AS model, 'gpt-4o' AS model_group, 'm-1' AS model_id,
            {{user_api_key_alias: 'key-' || i % 40, user_api_key_team_id: 'team-' || i % 12,
              requester_ip_address: '10.0.0.1', requester_metadata: {{tags: ['task:triage']}},
              usage_object: {{prompt_tokens: tokens, completion_tokens: i % 700 + 1,
                prompt_tokens_details: {{cached_tokens: tokens // 2}},
                completion_tokens_details: {{reasoning_tokens: 0}}}}}} AS metadata,
            tokens * 2.5e-6 + (i % 700 + 1) * 1e-5 AS response_cost,
            {{input_cost: tokens * 2.5e-6, service_tier: NULL::VARCHAR}} AS cost_breakdown,
            tokens AS prompt_tokens, i % 700 + 1 AS completion_tokens,
            ['task:triage', 'User-Agent: curl'] AS request_tags,
            [{{role: 'user', content: repeat('Where is my order? ', 35)}}] AS messages,
            {{choices: [{{message: {{content: repeat('It is on its way. ', 12)}}}}]}} AS response
            FROM (SELECT i, 1793610000 + i * 1.7 AS start, 0.4 + i % 37 / 9 AS latency,
              (hash(i) % 4000)::INT + 50 AS tokens FROM range({rows}) each(i)))
            TO '{file}' (FORMAT json)"""
        )


def jsonl_import(rows: int, repeats: int) -> None:
    """Prints how many rows a second `llmstudy requests import` reads, the command as a whole."""
    with tempfile.TemporaryDirectory(prefix="llmstudy-requests-") as folder:
        file = Path(folder) / "litellm.jsonl"
        generate_jsonl(file, rows)
        command = [sys.executable, "-m", "llmstudy", "requests", "import", "litellm", str(file)]
        command += ["--out", f"{folder}/requests.parquet", "--json"]
        took_s, cpu_s = [], []
        for _ in range(repeats):
            began, cpu = time.perf_counter(), sum(os.times()[2:4])
            subprocess.run(command, check=True, capture_output=True)
            took_s.append(time.perf_counter() - began)
            cpu_s.append(sum(os.times()[2:4]) - cpu)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(
            f"{rows:,} rows of {file.stat().st_size / rows:,.0f} bytes: {median(took_s):.2f} s, "
            f"{median(cpu_s):.2f} s of CPU, {peak:.2f} GiB"
        )
    print(
        f"aim: {AIM_JSONL_ROWS_PER_S:,} rows a second on two cores; "
        f"it reads {rows / median(took_s):,.0f}"
    )


def main() -> None:
    """Prints a table for each number of rows, and how the time grows with them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, action="append", help="2e7 unless given")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--polars", metavar="PYTHON", help="an interpreter that has polars")
    parser.add_argument("--pandas-rows", type=float, default=2e7, help="the most that pandas gets")
    parser.add_argument("--study-rows", type=float, help="of a log for a whole run")
    parser.add_argument("--jsonl-rows", type=float, help="of a LiteLLM log to import")
    parser.add_argument("--json", help="a file for the figures")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--files", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        return measured(given.step, given.files)
    if given.study_rows:
        return whole_run(int(given.study_rows))
    if given.jsonl_rows:
        return jsonl_import(int(given.jsonl_rows), given.repeats)
    report = {}
    for rows in sorted(int(each) for each in given.rows or [2e7]):
        with tempfile.TemporaryDirectory(prefix="llmstudy-requests-") as folder:
            generate(Path(folder), rows)
            steps = [*STEPS, *(["Polars, no prices"] if given.polars else [])]
            steps = [s for s in steps if rows <= given.pandas_rows or not s.startswith("pandas")]
            files = f"{folder}/*.parquet"
            report[rows] = {each: run(each, files, given.repeats, given.polars) for each in steps}
        _print(rows, report[rows])
    _print_slopes(report)
    if given.json:
        Path(given.json).write_text(json.dumps(report))


def _print(rows: int, steps: dict[str, dict[str, float]]) -> None:
    floor = steps["scan"]
    print(f"\n{rows:,} rows, {steps['ours']['groups']:,.0f} groups")
    print(f"{'step':<20}{'CPU s':>8}{'ratio':>7}{'wall s':>8}{'ratio':>7}{'peak GiB':>10}")
    for name, each in steps.items():
        cpu, wall = each["cpu_s"], each["wall_s"]
        print(
            f"{name:<20}{cpu:>8.2f}{cpu / floor['cpu_s']:>7.1f}{wall:>8.2f}"
            f"{wall / floor['wall_s']:>7.1f}{each['peak_gib']:>10.2f}"
        )
    ratio = steps["ours"]["cpu_s"] / floor["cpu_s"]
    print(f"aim: {AIM_RATIO} times the scan and {AIM_GIB} GiB; ours takes {ratio:.1f} times")


def _print_slopes(report: dict[int, dict[str, dict[str, float]]]) -> None:
    """The exponent of processor time in rows, between the fewest and the most rows."""
    few, many = min(report), max(report)
    if few == many:
        return
    for name in report[few].keys() & report[many].keys():
        growth = report[many][name]["cpu_s"] / report[few][name]["cpu_s"]
        print(f"{name}: CPU grows as rows to the power {log(growth) / log(many / few):.2f}")


if __name__ == "__main__":
    main()
