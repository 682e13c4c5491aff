"""One load through our probe, or through the plain `openai` client, in a process of its own.

    python clients.py llmstudy|openai JOB

JOB is JSON: root_url, folder, seed, and cell (as in `probe.py`). A file of its own so that a client
imports no more than it needs: its start-up is measured too.
"""

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from llmstudy.probe.arrivals import poisson_s
from llmstudy.probe.endpoint import Request
from llmstudy.probe.prompts import Plan, fixed_lengths, plan
from llmstudy.probe.run import Sample

INPUT_TOKENS = 64


def planned(cell: Mapping[str, Any], seed: int) -> Plan:
    """The cell's requests, at Poisson arrivals where it has a rate."""
    lengths = fixed_lengths(cell["n"], INPUT_TOKENS, cell["tokens"])
    rate_per_s, rng = cell["rate_per_s"], np.random.default_rng(seed)
    return plan(lengths, seed, poisson_s(rate_per_s, cell["n"], rng) if rate_per_s else None)


def run_llmstudy(job: Mapping[str, Any]) -> None:
    """Through our probe, each finished request written to disk, as it always is."""
    from llmstudy.probe.endpoint import Endpoint
    from llmstudy.probe.load import run_load

    run_load(
        Endpoint(f"{job['root_url']}/v1", "mock"),
        planned(job["cell"], job["seed"]),
        {"load": {}, "lengths": {}, "serving": {}},
        workers=job["cell"]["streams"],
        folder=Path(job["folder"]) / "run",
    )


def run_openai(job: Mapping[str, Any]) -> None:
    """Through the `openai` client, written as one would who has no load tool."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=f"{job['root_url']}/v1", api_key="none", max_retries=0)
    samples: list[Sample] = []

    async def send(request: Request) -> None:
        sent = time.perf_counter()
        sample = Sample(request.index, "measure", sent, sent)
        stream = await client.chat.completions.create(
            model="mock",
            messages=[{"role": "user", "content": str(request.prompt)}],
            max_tokens=job["cell"]["tokens"],
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                sample.content_times_s.append(time.perf_counter())
            if chunk.usage:
                sample.output_tokens = chunk.usage.completion_tokens
        sample.ok = True
        samples.append(sample)

    async def load() -> None:
        requests = planned(job["cell"], job["seed"]).requests()

        async def user() -> None:
            for request in requests:
                await send(request)

        async def at_its_time(request: Request) -> None:
            await asyncio.sleep(max(start + (request.scheduled_s or 0) - time.perf_counter(), 0))
            await send(request)

        start = time.perf_counter()
        if streams := job["cell"]["streams"]:
            await asyncio.gather(*(user() for _ in range(streams)))
        else:
            await asyncio.gather(*map(at_its_time, requests))

    asyncio.run(load())
    written = json.dumps([asdict(sample) for sample in samples])
    (Path(job["folder"]) / "samples.json").write_text(written)


if __name__ == "__main__":
    {"llmstudy": run_llmstudy, "openai": run_openai}[sys.argv[1]](json.loads(sys.argv[2]))
