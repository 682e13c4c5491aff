"""How far from the truth is each load tool, and what does it cost to run?

Our probe, the `openai` client, `vllm bench serve`, guidellm and aiperf send the same load to the
same server of known truth (`tests/probe/mock_server.py`), one after another, in an order that the
seed shuffles, each time to a fresh server. What a tool recorded is set against what the server
sent. See README.md beside this file for what is compared and how.

    python benchmarks/probe.py --vllm ENV --guidellm ENV --aiperf ENV --json probe.json
"""

import argparse
import ctypes
import importlib.metadata
import importlib.util
import json
import os
import pkgutil
import platform
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import expon, kstest

from llmstudy import probe
from llmstudy.figure import FloatArray
from llmstudy.probe import run
from llmstudy.probe.importers import read_results
from llmstudy.probe.run import Run, chunk_gaps_s, with_metrics

MOCK = Path(__file__).parents[1] / "tests" / "probe" / "mock_server.py"
CLIENTS = Path(__file__).with_name("clients.py")
INPUT_TOKENS = 64
LAG_LIMIT = 0.05
"""A cell is void when the server's own lag, at its p99, exceeds this share of the interval."""
LIMIT_S = 150
"""For one command, after which it is killed and has failed."""
OURS = "llmstudy"


# ---- the load ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One load: n requests by a number of streams (closed loop), or at a rate (open loop)."""

    n: int
    tokens: int
    ttft_ms: float
    itl_ms: float
    streams: int | None = None
    rate_per_s: float | None = None

    @property
    def name(self) -> str:
        """As the report calls it."""
        return f"{self.streams} streams" if self.streams else f"Poisson {self.rate_per_s:g}/s"


# The more streams, the slower each: what two cores can serve on time is limited. Three requests
# per stream at least, else the median lies between the burst at the start and what follows.
CELLS = [
    Cell(streams=1, n=60, tokens=5, ttft_ms=30, itl_ms=20),
    Cell(streams=64, n=512, tokens=16, ttft_ms=100, itl_ms=25),
    Cell(streams=256, n=1024, tokens=16, ttft_ms=300, itl_ms=60),
    Cell(streams=1024, n=3072, tokens=8, ttft_ms=1000, itl_ms=250),
    Cell(rate_per_s=50, n=400, tokens=8, ttft_ms=50, itl_ms=20),
]
QUICK = [
    Cell(streams=16, n=64, tokens=8, ttft_ms=50, itl_ms=20),
    Cell(rate_per_s=40, n=80, tokens=4, ttft_ms=50, itl_ms=20),
]
ONE_REQUEST = Cell(streams=1, n=1, tokens=4, ttft_ms=30, itl_ms=20)
"""What a tool costs before it has sent anything worth measuring."""


# ---- the tools -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """What a command is to do: this load, against this server, its result into this folder."""

    cell: Cell
    root_url: str
    folder: Path
    seed: int


@dataclass(frozen=True)
class Tool:
    """A load tool: how it is called, and how its result is read.

    site: the folder that its packages lie in; None: this interpreter's.
    """

    name: str
    distribution: str
    command: Callable[[Job], list[str]]
    read: Callable[[Job], Run]
    environment: Mapping[str, str]
    site: Path | None = None

    @property
    def version(self) -> str:
        """As its distribution says."""
        path = [str(self.site)] if self.site else sys.path
        found = importlib.metadata.distributions(name=self.distribution, path=path)
        return next(iter(found)).version


QUIET = {
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "AIPERF_TELEMETRY": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
NO_HUB = QUIET | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
# aiperf takes a local folder for the name of a repository when the hub is switched off
DEAD_HUB = QUIET | {"HF_ENDPOINT": "http://127.0.0.1:9"}

MAKE_TOKENIZER = """
import sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
bpe = Tokenizer(models.BPE())
bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
bpe.decoder = decoders.ByteLevel()
text = "the quick brown fox jumps over the lazy dog while seven wizards make toxic brew " * 20
names = ["<s>", "</s>"]
bpe.train_from_iterator([text], trainers.BpeTrainer(vocab_size=400, special_tokens=names))
made = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>")
made.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
made.save_pretrained(sys.argv[1])
"""


def vllm_bench(job: Job, environment: Path, tokenizer: Path) -> list[str]:
    """The command of `vllm bench serve`."""
    cell = job.cell
    load = ["--request-rate", str(cell.rate_per_s)] if cell.rate_per_s else []
    load += ["--max-concurrency", str(cell.streams)] if cell.streams else []
    return [
        *(str(environment / "bin" / "vllm"), "bench", "serve", "--backend", "openai-chat"),
        *("--base-url", job.root_url, "--endpoint", "/v1/chat/completions"),
        *("--model", "mock", "--tokenizer", str(tokenizer), "--dataset-name", "random"),
        *("--random-input-len", str(INPUT_TOKENS), "--random-output-len", str(cell.tokens)),
        *("--num-prompts", str(cell.n), *load, "--seed", str(job.seed), "--ignore-eos"),
        *("--percentile-metrics", "ttft,itl", "--metric-percentiles", "50,99", "--disable-tqdm"),
        *("--save-result", "--save-detailed", "--result-dir", str(job.folder)),
        *("--result-filename", "result.json"),
    ]


def guidellm(job: Job, environment: Path, tokenizer: Path) -> list[str]:
    """The command of guidellm."""
    cell = job.cell
    backend = f"kind=openai_http,target={job.root_url},model=mock"
    load = f"kind=poisson,rate={cell.rate_per_s}"
    if cell.streams:
        load = f"kind=concurrent,streams={cell.streams}"
    lengths = f"prompt_tokens={INPUT_TOKENS},output_tokens={cell.tokens}"
    return [
        *(str(environment / "bin" / "guidellm"), "run"),
        *("--backend", f"{backend},request_format=/v1/chat/completions", "--profile", load),
        *("--constraint", f"kind=max_requests,count={cell.n}"),
        *("--tokenizer", f"kind=huggingface_auto,model={tokenizer}"),
        *("--data", f"kind=synthetic_text,{lengths}", "--seed", f"kind=static,value={job.seed}"),
        *("--output", f"kind=json,path={job.folder / 'result.json'}", "--disable-console"),
    ]


def aiperf(job: Job, environment: Path, tokenizer: Path) -> list[str]:
    """The command of aiperf, told to take the server's token counts and not its own."""
    cell = job.cell
    load = ["--arrival-pattern", "poisson", "--request-rate", str(cell.rate_per_s)]
    if cell.streams:
        load = ["--concurrency", str(cell.streams)]
    return [
        *(str(environment / "bin" / "aiperf"), "profile", "--model", "mock"),
        *("--url", job.root_url, "--endpoint-type", "chat", "--streaming"),
        *("--tokenizer", str(tokenizer), "--use-server-token-count"),
        *("--isl", str(INPUT_TOKENS), "--isl-stddev", "0"),
        *("--osl", str(cell.tokens), "--osl-stddev", "0", "--extra-inputs", "ignore_eos:true"),
        *("--request-count", str(cell.n), *load, "--random-seed", str(job.seed)),
        *("--artifact-dir", str(job.folder), "--export-level", "records"),
        *("--ui", "none", "--no-gpu-telemetry", "--no-server-metrics"),
    ]


def client(name: str) -> Callable[[Job], list[str]]:
    """The command that runs one of the clients of clients.py."""

    def command(job: Job) -> list[str]:
        task = json.dumps(asdict(job) | {"folder": str(job.folder)})
        return [sys.executable, str(CLIENTS), name, task]

    return command


def read_openai(job: Job) -> Run:
    """What clients.py wrote."""
    rows = json.loads((job.folder / "samples.json").read_text())
    return Run(run.table([run.Sample(**row) for row in rows]), {})


def tools(environments: Mapping[str, Path], work: Path) -> list[Tool]:
    """Ours, the openai client, and those of the others for which there is an environment."""
    found = [
        Tool(OURS, "llmstudy", client(OURS), lambda job: run.read(job.folder / "run"), {}),
        Tool("openai client", "openai", client("openai"), read_openai, {}),
    ]
    others = {
        "vllm bench": (vllm_bench, "result.json", NO_HUB),
        "guidellm": (guidellm, "result.json", NO_HUB),
        "aiperf": (aiperf, "profile_export.jsonl", DEAD_HUB),
    }
    for name, environment in environments.items():
        call, result, variables = others[name]
        tokenizer = work / f"tokenizer {name}".replace(" ", "-")
        python = environment / "bin" / "python"
        subprocess.run(
            [python, "-c", MAKE_TOKENIZER, tokenizer],
            env=os.environ | NO_HUB,
            check=True,
            capture_output=True,
        )
        site = next((environment / "lib").glob("python3*/site-packages"))
        found.append(
            Tool(
                name=name,
                distribution=name.split()[0],
                command=lambda job, c=call, e=environment, t=tokenizer: c(job, e, t),
                read=lambda job, result=result: read_results(job.folder / result),
                environment=variables,
                site=site,
            )
        )
    return found


# ---- running a command and knowing what it cost --------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """CPU time of a process tree, and how long it took."""

    cpu_s: float
    wall_s: float


def adopt_orphans() -> None:
    """Descendants whose parent has gone become children of ours, so that we can wait for them."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def children() -> set[int]:
    """Processes whose parent is this one."""
    pid = os.getpid()
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def run_command(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Cost:
    """Runs a command to its end, with what it and every descendant cost.

    A process that is waited for hands on the CPU time of the descendants that it has waited for;
    those that nobody waited for end up with us, and are waited for here.

    Raises: RuntimeError with the end of its output if it fails or takes too long.
    """
    others = children()
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=os.environ | environment,
            start_new_session=True,
            cwd=log.parent,
        )
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(process.pid, signal.SIGKILL))
    signal.alarm(LIMIT_S)
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    signal.alarm(5)  # what outlives its parent gets this long to end
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu_s = used.ru_utime + used.ru_stime
    while left := children() - others:
        for pid in left:
            _, _, used = os.wait4(pid, 0)
            cpu_s += used.ru_utime + used.ru_stime
    signal.alarm(0)
    if process.returncode:
        tail = log.read_text(errors="replace")[-1_500:]
        raise RuntimeError(f"{Path(command[0]).name} ended with {process.returncode}: {tail}")
    return Cost(cpu_s, wall_s)


# ---- what a tool says against what was so --------------------------------------------------------


def of_the_load(truth: Iterable[Mapping[str, Any]], n: int) -> list[Mapping[str, Any]]:
    """The last n requests that the server received: a tool may try the server before its load.

    >>> [row["received_s"] for row in of_the_load([{"received_s": t} for t in (3, 1, 2)], 2)]
    [2, 3]
    """
    return sorted(truth, key=lambda row: row["received_s"])[-n:]


def true_ttft_s(truth: Iterable[Mapping[str, Any]]) -> FloatArray:
    """First content sent less request received, both at the server. Shape (n,)."""
    return np.array([row["sent_s"][0] - row["received_s"] for row in truth])


def true_gaps_s(truth: Iterable[Mapping[str, Any]]) -> FloatArray:
    """Gaps between content chunks as sent, pooled. Shape (n chunks less n requests,)."""
    return np.concatenate([np.diff(row["sent_s"]) for row in truth])


def true_mean_gap_s(truth: Iterable[Mapping[str, Any]]) -> FloatArray:
    """Mean gap of each request. Shape (n,).

    >>> true_mean_gap_s([{"sent_s": [1.0, 1.5, 3.0]}]).tolist()
    [1.0]
    """
    return np.array([np.diff(row["sent_s"]).mean() for row in truth])


def lag_share(truth: Iterable[Mapping[str, Any]], itl_ms: float) -> float:
    """p99 of how late the server sent, as a share of the interval between chunks."""
    late = [np.subtract(row["sent_s"], row["intended_s"]) for row in truth]
    return float(np.quantile(np.concatenate(late), 0.99) * 1e3 / itl_ms)


def errors_ms(said_s: FloatArray, true_s: FloatArray) -> dict[str, dict[str, float]]:
    """The percentiles of what a tool says less those of the truth, in ms and as a share of it.

    >>> found = errors_ms(np.array([0.2, 0.4]), np.array([0.1, 0.3]))["p50"]
    >>> {name: round(value, 3) for name, value in found.items()}
    {'said_ms': 300.0, 'true_ms': 200.0, 'error_ms': 100.0, 'error_share': 0.5}
    """
    if len(said_s) == 0 or len(true_s) == 0:
        raise ValueError("nothing to compare: the tool recorded none, or the server sent none")
    found = {}
    for name, q in (("p50", 0.50), ("p99", 0.99)):
        said, true = 1e3 * np.quantile(said_s, q), 1e3 * np.quantile(true_s, q)
        found[name] = {
            "said_ms": float(said),
            "true_ms": float(true),
            "error_ms": float(said - true),
            "error_share": float((said - true) / true),
        }
    return found


def arrivals(truth: Iterable[Mapping[str, Any]], asked_per_s: float) -> dict[str, float]:
    """Rate and gaps as the server received them, against a Poisson process at the rate asked.

    >>> even = arrivals([{"received_s": (i + i % 2 / 8) / 4} for i in range(41)], 4.0)
    >>> even["realised_per_s"], even["ks_p"] < 0.001
    (4.0, True)
    """
    gaps_s = np.diff(sorted(row["received_s"] for row in truth))
    return {
        "asked_per_s": asked_per_s,
        "realised_per_s": float(1 / gaps_s.mean()),
        "ks_p": float(kstest(gaps_s, expon(scale=1 / asked_per_s).cdf).pvalue),
        "gap_lag1": float(np.corrcoef(gaps_s[:-1], gaps_s[1:])[0, 1]),
    }


def figures(run: Run, everything: Sequence[Mapping[str, Any]], cell: Cell) -> dict[str, Any]:
    """What one run of one tool comes to."""
    samples = run.measured[run.measured["ok"]]
    truth = of_the_load(everything, cell.n)
    answered = [row for row in truth if row["ended"] == "complete"]
    said_gaps_s, gaps_s, itl_of = chunk_gaps_s(samples), true_gaps_s(answered), "chunks"
    if samples["content_times_s"].map(np.isnan).map(np.any).any():
        # the tool keeps the first and the last time alone
        said_gaps_s = with_metrics(samples)["tpot_s"].to_numpy(dtype=float)
        gaps_s, itl_of = true_mean_gap_s(answered), "requests"
    ttft_s = with_metrics(samples)["ttft_s"].to_numpy(dtype=float)
    share = lag_share(answered, cell.itl_ms)
    found = {
        "n": len(samples),
        "failed": cell.n - len(samples),
        "before_the_load": len(everything) - len(truth),
        "server_lag_share": share,
        "void": share > LAG_LIMIT,
        "ttft": errors_ms(ttft_s, true_ttft_s(answered)),
        "itl": errors_ms(said_gaps_s, gaps_s) | {"of": itl_of},
        "published": run.facts.get("published"),
    }
    if cell.rate_per_s:
        found["arrivals"] = arrivals(truth, cell.rate_per_s)
    return found


# ---- the runs ------------------------------------------------------------------------------------


def load_mock() -> Any:
    """The module of the server, which lives among the tests."""
    spec = importlib.util.spec_from_file_location("mock_server", MOCK)
    module = importlib.util.module_from_spec(spec)
    sys.modules["mock_server"] = module
    spec.loader.exec_module(module)
    return module


def run_cell(tool: Tool, cell: Cell, seed: int, mock_server: Any) -> dict[str, Any]:
    """One run of one tool against a server of its own."""
    served = {"ttft_ms": cell.ttft_ms, "itl_ms": cell.itl_ms, "tokens": cell.tokens}
    with TemporaryDirectory() as folder, mock_server.running(**served) as mock:
        with suppress(PermissionError):  # the truth comes first: what waits for a core is a client
            os.sched_setscheduler(mock.process.pid, os.SCHED_FIFO, os.sched_param(1))
        job = Job(cell, mock.root_url, Path(folder), seed)
        about = {"tool": tool.name, "cell": cell.name, "seed": seed}
        try:
            cost = run_command(tool.command(job), tool.environment, job.folder / "log.txt")
            return about | asdict(cost) | figures(tool.read(job), mock.truth(), cell)
        except (RuntimeError, ValueError, OSError) as error:
            return about | {"problem": str(error)}


def run_all(
    tools: Sequence[Tool], cells: Sequence[Cell], repeats: int, seed: int
) -> list[dict[str, Any]]:
    """Every tool in every cell, `repeats` times, in an order drawn anew for each."""
    mock_server = load_mock()
    order = random.Random(seed)
    rows = []
    for repeat in range(repeats):
        for cell in [ONE_REQUEST, *cells]:
            for tool in order.sample(tools, len(tools)):
                row = run_cell(tool, cell, seed + repeat, mock_server) | {"repeat": repeat}
                row |= {"cell": "one request"} if cell is ONE_REQUEST else {}
                rows.append(row)
                state = row.get("problem") or f"{row['wall_s']:.1f} s"
                print(f"{row['cell']}, {tool.name}: {state}", file=sys.stderr, flush=True)
    return rows


# ---- size ----------------------------------------------------------------------------------------


def folder_bytes(folder: Path) -> int:
    """What the files take on disk, as `du` counts."""
    files = {(s.st_dev, s.st_ino): s for s in map(os.lstat, folder.rglob("*"))}
    return sum(512 * file.st_blocks for file in files.values())


# without `site`, whose start-up hooks load packages that nobody asked for
PATHS = f"import sys; sys.path[:] = {sys.path!r}; "


def probe_distributions() -> list[str]:
    """The distributions from which importing every module of `llmstudy.probe` loads something."""
    names = [module.name for module in pkgutil.walk_packages(probe.__path__, "llmstudy.probe.")]
    script = f"import sys, {', '.join(names)}; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-S", "-c", PATHS + script], capture_output=True)
    output.check_returncode()
    owners = importlib.metadata.packages_distributions()
    packages = {name.partition(".")[0] for name in output.stdout.decode().split()}
    return sorted({owner for package in packages for owner in owners.get(package, [])})


def distribution_bytes(name: str) -> int:
    """What a distribution's own files take on disk."""
    files = importlib.metadata.files(name) or []
    there = [path for path in (Path(file.locate()) for file in files) if path.is_file()]
    return sum(512 * path.stat().st_blocks for path in there)


def sizes_mb(tools: Sequence[Tool]) -> dict[str, float]:
    """Install sizes: of the others their environments' packages, of ours what the probe imports."""
    found = {tool.name: folder_bytes(tool.site) / 1e6 for tool in tools if tool.site}
    parts = {name: distribution_bytes(name) / 1e6 for name in probe_distributions()}
    own = folder_bytes(Path(probe.__file__).parents[1]) / 1e6
    return {OURS: sum(parts.values()) + own} | found | {f"{OURS}: {k}": v for k, v in parts.items()}


# ---- the report ----------------------------------------------------------------------------------


MEASURES = ["ttft p50", "ttft p99", "itl p50", "itl p99"]


def table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per run that gave figures: tool, cell, repeat, void, errors in ms, CPU in s.

    cpu_s: per 1,000 requests, of the whole process tree. net_cpu_s: less the start-up, which is a
    run of one request, the median of the repeats.
    """
    ones = [row for row in rows if row["cell"] == "one request" and "cpu_s" in row]
    start_up = pd.DataFrame(ones, columns=["tool", "cpu_s"]).groupby("tool")["cpu_s"].median()
    found = []
    for row in rows:
        if row["cell"] == "one request" or "problem" in row:
            continue
        n = row["n"] + row["failed"]
        net_s = row["cpu_s"] - start_up.get(row["tool"], np.nan)
        found.append(
            {
                **{name: row[name] for name in ("cell", "tool", "repeat", "void", "failed")},
                **{f"{m} {p}": row[m][p]["error_ms"] for m, p in map(str.split, MEASURES)},
                "itl_of": row["itl"]["of"],
                "server lag": 100 * row["server_lag_share"],
                "cpu_s": 1_000 * row["cpu_s"] / n,
                "net_cpu_s": 1_000 * net_s / max(n - 1, 1),
                **row.get("arrivals", {}),
            }
        )
    return pd.DataFrame(found)


def summary(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Per cell and tool: median and range over the runs that are not void, and against the best.

    A cell with no valid run of a tool is void for it. `ratio`: the absolute median (CPU: the
    median) over the best of the other tools'. `verdict`: best, within noise (the ranges overlap),
    or behind.
    """
    found = []
    for cell, in_cell in runs.groupby("cell", sort=False):
        entries = []
        for tool, mine in in_cell.groupby("tool", sort=False):
            valid = mine[~mine["void"] & (mine["failed"] == 0)]
            entry: dict[str, Any] = {"cell": cell, "tool": tool}
            entry |= {"runs": len(mine), "valid": len(valid), "failed": int(mine["failed"].max())}
            entry["itl_of"] = mine["itl_of"].iloc[0]
            entry["server lag"] = spread(mine["server lag"])
            for name in [*MEASURES, "cpu_s", "net_cpu_s"]:
                entry[name] = spread(valid[name])
            for name in ("asked_per_s", "realised_per_s", "ks_p", "gap_lag1"):
                if name in mine and mine[name].notna().any():
                    entry[name] = spread(mine[name])
            entries.append(entry)
        for name in [*MEASURES, "cpu_s", "net_cpu_s"]:
            add_verdicts(entries, name)
        found += entries
    return found


def spread(values: "pd.Series[float]") -> list[float] | None:
    """Median, least and greatest; None of nothing.

    >>> spread(pd.Series([3.0, 1.0, 2.0])), spread(pd.Series([], dtype=float))
    ([2.0, 1.0, 3.0], None)
    """
    if values.empty:
        return None
    return [float(values.median()), float(values.min()), float(values.max())]


def add_verdicts(entries: Sequence[dict[str, Any]], name: str) -> None:
    """Adds to each entry how its measure stands against the best of the others.

    >>> two = [{"tool": "a", "x": [1.0, 0.9, 1.2]}, {"tool": "b", "x": [-3.0, -4.0, -2.0]}]
    >>> add_verdicts(two, "x")
    >>> two[1]["x against the best"]
    {'ratio': 3.0, 'verdict': 'behind'}
    """

    def size(entry: Mapping[str, Any]) -> tuple[float, float, float]:
        """Absolute median, least and greatest."""
        median, low, high = entry[name]
        least = 0.0 if low < 0 < high else min(abs(low), abs(high))
        return abs(median), least, max(abs(low), abs(high))

    known = [entry for entry in entries if entry[name] is not None]
    for entry in known:
        others = [size(other) for other in known if other is not entry]
        if not others:
            continue
        best = min(others)
        median, least, _ = size(entry)
        verdict = "best" if median <= best[0] else "within noise" if least <= best[2] else "behind"
        ratio = median / best[0] if best[0] else None
        entry[f"{name} against the best"] = {"ratio": ratio, "verdict": verdict}


def markdown(found: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> str:
    """The report."""

    def cell_of(entry: Mapping[str, Any], name: str, digits: int) -> str:
        if entry.get(name) is None:
            return "void" if entry["failed"] == 0 else "failed"
        median, low, high = entry[name]
        return f"{median:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    lines = [
        "## Errors against the truth, and client CPU",
        "",
        "Median [least, greatest] over valid runs. Errors: what the tool recorded less what the "
        "server sent, ms. CPU: seconds per 1,000 requests, without and with start-up.",
        "",
        "| load | tool | TTFT p50 | TTFT p99 | ITL p50 | ITL p99 | CPU net | CPU | server lag % "
        "| valid |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in found:
        mark = "\\*" if entry["itl_of"] == "requests" else ""
        cells = [entry["cell"], entry["tool"]]
        cells += [cell_of(entry, name, 2) for name in MEASURES[:2]]
        cells += [cell_of(entry, name, 2) + mark for name in MEASURES[2:]]
        cells += [cell_of(entry, name, 2) for name in ("net_cpu_s", "cpu_s")]
        cells += [cell_of(entry, "server lag", 1), f"{entry['valid']} of {entry['runs']}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "\\* the tool keeps no chunk times: mean gap per request, against the same."]
    lines += [
        "",
        "## Arrivals as the server received them",
        "",
        "| tool | asked /s | realised /s | KS p | lag-1 of gaps |",
        "|---|---|---|---|---|",
    ]
    for entry in found:
        if "asked_per_s" in entry:
            cells = [entry["tool"], f"{entry['asked_per_s'][0]:g}"]
            cells += [cell_of(entry, name, 2) for name in ("realised_per_s", "ks_p", "gap_lag1")]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Start-up and size", ""]
    lines += [
        "| tool | version | start-up CPU s | start-up s | install MB |",
        "|---|---|---|---|---|",
    ]
    for name, version in result["versions"].items():
        ones = [r for r in result["runs"] if r["tool"] == name and r["cell"] == "one request"]
        ones = [row for row in ones if "cpu_s" in row]
        cpu_s, wall_s = (
            f"{np.median([row[key] for row in ones]):.1f}" if ones else "failed"
            for key in ("cpu_s", "wall_s")
        )
        size = result["sizes_mb"].get(name)
        lines.append(
            f"| {name} | {version} | {cpu_s} | {wall_s} | {f'{size:.0f}' if size else ''} |"
        )
    for entry in found:
        if entry["tool"] == OURS:
            verdicts = [
                f"{name} {entry[key]['verdict']}"
                for name in [*MEASURES, "cpu_s", "net_cpu_s"]
                if (key := f"{name} against the best") in entry
            ]
            lines += ["", f"{OURS}, {entry['cell']}: {', '.join(verdicts) or 'void'}."]
    for row in result["runs"]:
        if "problem" in row:
            lines += ["", f"Failed: {row['tool']}, {row['cell']}: {row['problem'][-300:]}"]
    for name in result["skipped"]:
        lines += ["", f"Skipped: {name}, no environment given."]
    return "\n".join(lines)


# ---- the command line ----------------------------------------------------------------------------


def main() -> None:
    """Runs the benchmark that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("vllm", "guidellm", "aiperf"):
        parser.add_argument(f"--{name}", type=Path, metavar="ENV", help=f"environment with {name}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a minute, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()

    adopt_orphans()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    given = {"vllm bench": options.vllm, "guidellm": options.guidellm, "aiperf": options.aiperf}
    # absolute but not resolved: an environment's python is a link to one outside it
    environments = {name: folder.absolute() for name, folder in given.items() if folder}
    with TemporaryDirectory() as work:
        compared = tools(environments, Path(work))
        cells = QUICK if options.quick else CELLS
        repeats = 1 if options.quick else options.repeats
        sizes = sizes_mb(compared)
        began = time.perf_counter()
        load_before = os.getloadavg()
        runs = run_all(compared, cells, repeats, options.seed)
        result = {
            "machine": {
                "python": platform.python_version(),
                "platform": platform.platform(),
                "cores": os.cpu_count(),
                "load_average_before": load_before,
                "wall_s": time.perf_counter() - began,
            },
            "seed": options.seed,
            "cells": {cell.name: asdict(cell) for cell in cells},
            "versions": {tool.name: tool.version for tool in compared},
            "sizes_mb": sizes,
            "skipped": [name for name in given if name not in environments],
            "runs": runs,
        }
    found = summary(table(runs))
    print(markdown(found, result))
    if options.json:
        options.json.write_text(json.dumps(result | {"summary": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
