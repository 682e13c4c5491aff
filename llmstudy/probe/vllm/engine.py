"""Measures the engine in this process, without server and network.

`engine_points` sends whole batches: throughput at a steady concurrency, in the least time.
`engine_samples` sends requests at their arrival times and records every token: the same rows as a
probe of an endpoint, without HTTP. Prompts are random token ids and answers have the requested
length, so that a model without weights or tokenizer can be measured.

vLLM may start further processes that import the calling script again: call from under
`if __name__ == "__main__":`.
"""

import asyncio
import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from llmstudy.probe.run import Sample
from llmstudy.probe.vllm.model import OFFLINE, has_tokenizer, read_config, weights


def engine_points(
    model: Path | str,
    batches: Sequence[int],
    input_tokens: int,
    output_tokens: int,
    engine_args: Mapping[str, Any] | None = None,
    *,
    adapter: Path | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Throughput and latency of the engine for each batch size: all requests at once, then wait.

    One warm-up of the largest batch (8 tokens each) goes before. TTFT is that of a request in a
    batch that arrived at once: the median wait for the prompts before it, not that of a steady
    load. TPOT is the mean over requests.

    model: a folder; with `config.json` alone, random weights. engine_args: of `vllm.LLM`; prefix
    caching is off unless it says otherwise, and the length limit is that of the requests. adapter:
    a LoRA adapter that all requests use; needs enable_lora. seed: of the prompts.

    Returns: one row per batch, with columns of the serving points: engine, engine_version,
    concurrency, input_tokens, output_tokens, tensor_parallel, ttft_ms, tpot_ms,
    output_tokens_per_s_per_gpu; and seconds, preemptions, weights. Assign model, gpu, precision,
    moe_ep and attention_dp for `roofline_share`.
    Raises: ValueError if vLLM is not installed, or as `weights`.
    """
    arguments = _engine_args(model, engine_args, max(batches), input_tokens + output_tokens)
    gpus = int(arguments.get("tensor_parallel_size", 1))
    # one process for one GPU: nothing to start, nothing to leave behind
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    vllm = _vllm()
    rng, vocab = np.random.default_rng(seed), read_config(model)["vocab_size"]
    lora = None if adapter is None else _lora_request(adapter)
    rows = []
    say("vLLM: starting the engine")
    with _offline_engine(vllm, arguments) as llm:

        def generate(batch: int, tokens: int) -> tuple[float, list[Any]]:
            prompts = [
                {"prompt_token_ids": _prompt(rng, vocab, input_tokens)} for _ in range(batch)
            ]
            sampling = vllm.SamplingParams(**_sampling(tokens))
            started = time.perf_counter()
            answers = llm.generate(prompts, sampling, use_tqdm=False, lora_request=lora)
            return time.perf_counter() - started, answers

        generate(max(batches), min(8, output_tokens))
        for batch in batches:
            seconds, answers = generate(batch, output_tokens)
            timings = [answer.metrics for answer in answers]
            written = sum(len(answer.outputs[0].token_ids) for answer in answers)
            decode_s = [t.last_token_ts - t.first_token_ts for t in timings]
            rows.append(
                {
                    "engine": "vllm",
                    "engine_version": vllm.__version__,
                    "concurrency": batch,
                    "input_tokens": input_tokens,
                    "output_tokens": output_tokens,
                    "tensor_parallel": gpus,
                    "ttft_ms": 1e3 * float(np.median([t.first_token_latency for t in timings])),
                    "tpot_ms": 1e3 * float(np.mean(decode_s)) / max(output_tokens - 1, 1),
                    "output_tokens_per_s_per_gpu": written / seconds / gpus,
                    "seconds": seconds,
                    "preemptions": sum(t.num_preemptions for t in timings),
                    "weights": weights(model, arguments["load_format"]),
                }
            )
            say(f"vLLM: batch {batch}: {written / seconds:.0f} tokens/s")
    return pd.DataFrame(rows)


async def engine_samples(
    model: Path | str,
    arrivals_s: Sequence[float],
    input_tokens: Sequence[int],
    output_tokens: Sequence[int],
    engine_args: Mapping[str, Any] | None = None,
    *,
    adapter: Path | None = None,
    seed: int = 0,
    warmup: int = 1,
) -> list[Sample]:
    """Requests that reach the engine at set times, each a `Sample` as of an endpoint.

    arrivals_s, input_tokens, output_tokens: one per request, times from the start. The first
    `warmup` requests are marked so. Otherwise as `engine_points`; the engine runs in a process of
    its own, which ends with the call.

    Raises: ValueError if the three differ in length, or as `engine_points`.
    """
    if not len(arrivals_s) == len(input_tokens) == len(output_tokens) > 0:
        raise ValueError(
            f"{len(arrivals_s)} arrivals, {len(input_tokens)} input and {len(output_tokens)} "
            "output lengths: give one of each per request"
        )
    longest = max(i + o for i, o in zip(input_tokens, output_tokens, strict=True))
    arguments = _engine_args(model, engine_args, None, longest)
    vllm = _vllm()
    async_llm = import_module("vllm.v1.engine.async_llm").AsyncLLM
    async_args = import_module("vllm.engine.arg_utils").AsyncEngineArgs
    rng, vocab = np.random.default_rng(seed), read_config(model)["vocab_size"]
    prompts = [_prompt(rng, vocab, length) for length in input_tokens]
    lora = None if adapter is None else _lora_request(adapter)
    engine = async_llm.from_engine_args(async_args(**arguments))
    delta = vllm.sampling_params.RequestOutputKind.DELTA

    async def request(index: int, began: float) -> Sample:
        def now() -> float:
            return time.perf_counter() - began

        await asyncio.sleep(max(0.0, arrivals_s[index] - now()))
        sample = Sample(
            index=index,
            phase="warmup" if index < warmup else "measure",
            scheduled_s=arrivals_s[index],
            dispatched_s=now(),
            asked_input_tokens=len(prompts[index]),
            asked_output_tokens=output_tokens[index],
        )
        sampling = vllm.SamplingParams(**_sampling(output_tokens[index]), output_kind=delta)
        prompt = {"prompt_token_ids": prompts[index]}
        counts = sample.content_tokens = []
        try:
            async for output in engine.generate(
                prompt, sampling, request_id=str(index), lora_request=lora
            ):
                at = now()
                if tokens := len(output.outputs[0].token_ids):
                    sample.content_times_s.append(at)
                    counts.append(tokens)
        except Exception as error:
            # one request's failure is a row, not the end of the others
            sample.done_s, sample.error = now(), "server_error"
            sample.finish_reason = type(error).__name__
            return sample
        sample.done_s, sample.ok = now(), True
        sample.finish_reason = output.outputs[0].finish_reason
        sample.input_tokens = len(output.prompt_token_ids)
        sample.cached_input_tokens = output.num_cached_tokens
        sample.output_tokens, sample.reasoning_tokens = sum(counts), 0
        if timing := output.metrics:
            sample.server_queue_s = timing.scheduled_ts - timing.queued_ts
            sample.server_prefill_s = timing.first_token_ts - timing.scheduled_ts
        return sample

    try:
        began = time.perf_counter()
        return await asyncio.gather(*(request(i, began) for i in range(len(arrivals_s))))
    finally:
        engine.shutdown()


def _vllm() -> Any:
    """Imports vLLM, offline. Raises ValueError naming the extra where it is missing."""
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)
    try:
        return import_module("vllm")
    except ImportError as error:
        raise ValueError(
            f"the engine cannot be imported ({error}): on Linux with an NVIDIA GPU, "
            "install the extra gpu (`llmstudy doctor` says how), or probe a running server"
        ) from error


def _engine_args(
    model: Path | str, overrides: Mapping[str, Any] | None, batch: int | None, longest: int
) -> dict[str, Any]:
    """The engine's arguments: `overrides`, and defaults for the model's folder and the load."""
    overrides = dict(overrides or {})
    kind = weights(model, overrides.get("load_format"))
    defaults: dict[str, Any] = {
        "model": str(model),
        "load_format": "dummy" if kind == "dummy" else "auto",
        "skip_tokenizer_init": not has_tokenizer(model),
        "max_model_len": longest,
        "enable_prefix_caching": False,
        "disable_log_stats": False,  # else requests carry no times
    }
    if batch is not None:
        defaults["max_num_seqs"] = max(batch, 16)
    return defaults | overrides


def _sampling(tokens: int) -> dict[str, Any]:
    """Parameters of an answer of exactly this many tokens."""
    return {
        "temperature": 0.0,
        "max_tokens": tokens,
        "min_tokens": tokens,
        "ignore_eos": True,
        "detokenize": False,
    }


def _prompt(rng: np.random.Generator, vocab: int, length: int) -> list[int]:
    return [int(token) for token in rng.integers(vocab, size=length)]


def _lora_request(adapter: Path) -> Any:
    return import_module("vllm.lora.request").LoRARequest("adapter", 1, str(adapter))


@contextmanager
def _offline_engine(vllm: Any, arguments: Mapping[str, Any]) -> Iterator[Any]:
    """`vllm.LLM`, its memory given back in the end, so that another can be made after it."""
    llm = vllm.LLM(**arguments)
    try:
        yield llm
    finally:
        llm.llm_engine.engine_core.shutdown()
        del llm
        gc.collect()
