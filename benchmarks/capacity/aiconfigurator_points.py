"""What TPOT does aiconfigurator foretell for points of its own sample? Run in its environment.

    ENV/bin/python aiconfigurator_points.py ASKED.json ANSWERED.json

ASKED.json: `[point_id]`, ids of its `systems/silicon_sample.csv`, whose row says how the engine was
set. ANSWERED.json: `[{point_id, modes, tpot_ms, cpu_s, problem}]`, two for each point: with the
quantisation that its sample names, and with the one that it infers from the model's checkpoint.
"""

import csv
import json
import sys
import time
from pathlib import Path

import aiconfigurator_core
from aiconfigurator.cli.api import cli_estimate

KNOWN_AS = {
    "meta-llama/Llama-3.1-70B": "meta-llama/Meta-Llama-3.1-70B",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "meta-llama/Meta-Llama-3.1-8B",
}
"""Models that its sample calls otherwise than the configurations that it ships."""


def foretold(row: dict[str, str], modes: str) -> dict[str, object]:
    """Its TPOT of one row of its sample; `problem` says why there is none."""
    quantisation = {name: row[name] for name in ("gemm_quant_mode", "moe_quant_mode") if row[name]}
    tpot_ms, problem, began = None, "", time.process_time()
    try:
        tpot_ms = cli_estimate(
            KNOWN_AS.get(row["model_path"], row["model_path"]),
            row["system"],
            backend_name="vllm",
            isl=whole(row["isl"]),
            osl=whole(row["osl"]),
            batch_size=whole(row["batch_size"]),
            tp_size=whole(row["tp_size"]),
            attention_dp_size=whole(row["attention_dp_size"] or "1"),
            moe_tp_size=whole(row["moe_tp_size"]),
            moe_ep_size=whole(row["moe_ep_size"]),
            **(quantisation if modes == "sample" else {}),
        ).tpot
    except Exception as error:  # whatever it cannot do is a finding
        problem = f"{type(error).__name__}: {error}"
    cpu_s = time.process_time() - began
    return {
        "point_id": row["id"],
        "modes": modes,
        "tpot_ms": tpot_ms,
        "cpu_s": cpu_s,
        "problem": problem,
    }


def whole(cell: str) -> int:
    """A count, which its sample may write as 4.0."""
    return int(float(cell))


def main(asked: Path, answered: Path) -> None:
    """Answers every point asked."""
    sample = Path(aiconfigurator_core.__file__).parent / "systems" / "silicon_sample.csv"
    with sample.open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    wanted = json.loads(asked.read_text())
    found = [foretold(rows[i], modes) for i in wanted for modes in ("sample", "checkpoint")]
    answered.write_text(json.dumps(found))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
