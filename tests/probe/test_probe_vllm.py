"""vLLM from outside: the child's life, its counters, the GPU, the limit. No vLLM is needed here.

The server is a stand-in that says what vLLM 0.32.0 said and starts a process of its own, as vLLM
does. The real one is in `tests/vllm`.
"""

import json
import re
import stat
import sys
import time
import types
from contextlib import contextmanager
from datetime import UTC, datetime
from math import isclose
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from llmstudy.cli import app
from llmstudy.measures.capacity import gpu, model_shape, serving_points
from llmstudy.probe import recorded, server_metrics, vllm
from llmstudy.probe.options import Settings
from llmstudy.probe.run import Run, Sample, table
from llmstudy.probe.vllm import hardware, log, probe, server
from llmstudy.probe.vllm import sweep as sweeps

TINY = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 512,
}

ENGINE_LINE = (
    "(EngineCore pid=1) INFO [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: "
    "model='/m/tiny', dtype=torch.float32, max_seq_len=1024, load_format=dummy, "
    "tensor_parallel_size=1, quantization=None, enforce_eager=True, kv_cache_dtype=auto, "
    "device_config=cpu, seed=0, enable_prefix_caching=True, "
    "kernel_config=KernelConfig(enforce_eager=False)\n"
    "(EngineCore pid=1) INFO CPU KV cache size: 524,288 tokens, Maximum concurrency 512.00x\n"
)

METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 2.0
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="tiny"} 3.0
vllm:prompt_tokens_total{engine="1",model_name="tiny"} 4.0
# TYPE vllm:prompt_tokens_created gauge
vllm:prompt_tokens_created{engine="0",model_name="tiny"} 1.7954772327866673e+09
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.001"} 0.0
vllm:time_to_first_token_seconds_count{engine="0"} 2.0
vllm:time_to_first_token_seconds_sum{engine="0"} 0.5
# TYPE http_requests_total counter
http_requests_total{handler="/v1/models"} 1.0
"""

# Takes the place of a Python interpreter: -m MODULE serve MODEL --host H --port P ...
FAKE = f"""\
#!{sys.executable}
import http.server, os, pathlib, signal, subprocess, sys, time
mode, folder = os.environ.get("FAKE", ""), pathlib.Path(sys.argv[4])
port = int(sys.argv[sys.argv.index("--port") + 1])
(folder / "argv").write_text(" ".join(sys.argv[4:]))
if mode.startswith("says "):
    print(mode.removeprefix("says "), flush=True)
    sys.exit(1)
if mode == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if mode == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
(folder / "worker").write_text(str(worker.pid))
print({ENGINE_LINE!r}, flush=True)
if mode == "hangs":
    time.sleep(60)
pages = {{"/health": "", "/version": '{{"version":"0.32.0"}}', "/metrics": {METRICS!r}}}

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", flush=True)
            os._exit(1)
        if self.path == "/engine-dies":
            print("torch.OutOfMemoryError: CUDA out of memory", flush=True)
            print("vllm.v1.engine.exceptions.EngineDeadError: EngineCore failed", flush=True)
        self.send_response(200 if self.path in pages else 404)
        self.end_headers()
        self.wfile.write(pages.get(self.path, "").encode())
    def log_message(self, *_):
        pass

http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def tiny(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(TINY))
    return folder


@pytest.fixture
def fake(tmp_path):
    file = tmp_path / "vllm"
    file.write_text(FAKE)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


# the child


def serve(folder, flags=(), **options):
    return vllm.serve(folder, flags, **{"log": folder / "vllm.log", **options})


def test_a_server_is_ready_says_what_it_is_and_leaves_no_process(tiny, fake):
    lines = []
    with serve(tiny, ["--max-model-len=1024"], python=fake, say=lines.append) as running:
        worker = int((tiny / "worker").read_text())
        assert is_running(worker)
        assert server_metrics.read_counters(running.base_url)["vllm:prompt_tokens_total"] == 7
    assert not is_running(worker)
    assert running.model == "tiny"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", running.base_url)
    facts = running.serving
    assert facts["weights"] == "dummy"
    assert facts["engine_version"] == "0.32.0"
    assert facts["model_config"] == TINY
    assert (facts["precision"], facts["kv_dtype"], facts["quantization"]) == ("fp32", "fp32", None)
    assert (facts["tensor_parallel"], facts["max_model_len"]) == (1, 1024)
    assert facts["prefix_caching"] is True
    assert facts["enforce_eager"] is True
    assert facts["kv_cache_tokens"] == 524_288
    assert {"gpu", "driver", "gpu_note"} <= set(facts)
    assert re.fullmatch(r"vLLM: .* \(0 s\)", lines[0])
    assert lines[-1].startswith("vLLM: ready after ")


def test_a_bare_config_is_served_with_random_weights_and_token_ids(tiny, fake):
    with serve(tiny, python=fake):
        words = (tiny / "argv").read_text()
    assert "--host 127.0.0.1" in words
    assert "--load-format dummy --skip-tokenizer-init" in words


def test_weights_and_tokenizer_are_used_where_they_are(tiny, fake):
    (tiny / "model.safetensors").write_bytes(b"")
    (tiny / "tokenizer.json").write_text("{}")
    with serve(tiny, python=fake) as running:
        words = (tiny / "argv").read_text()
    assert running.serving["weights"] == "real"
    assert "dummy" not in words
    assert "skip-tokenizer" not in words


def test_a_server_that_ignores_every_request_to_stop_is_killed(tiny, fake, monkeypatch):
    monkeypatch.setattr(server, "_PATIENCE_S", {"interrupt": 0.5, "terminate": 0.5, "kill": 10.0})
    monkeypatch.setenv("FAKE", "stubborn")
    with serve(tiny, python=fake):
        worker = int((tiny / "worker").read_text())
    assert not is_running(worker)


def test_an_error_in_the_block_stops_the_server_and_is_passed_on(tiny, fake):
    with (
        pytest.raises(KeyError, match="mine"),
        serve(tiny, python=fake),
    ):
        raise KeyError("mine")
    assert not is_running(int((tiny / "worker").read_text()))


@pytest.mark.parametrize("what_dies", ["die", "engine-dies"])
def test_a_server_that_dies_in_use_is_told_apart_from_the_error_it_causes(tiny, fake, what_dies):
    with (
        pytest.raises(vllm.ServerFailed, match=r"stopped while it was in use.*memory is full"),
        serve(tiny, python=fake) as running,
    ):
        server_metrics.page(running.base_url, f"/{what_dies}")
    assert not is_running(int((tiny / "worker").read_text()))


@pytest.mark.parametrize(
    ("says", "what_to_do"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to", "--gpu-memory-utilization"),
        ("ValueError: No available memory for the cache blocks. Try", "--quantization fp8"),
        ("(8.0 GiB KV cache is needed, which is larger than the available KV cache memory",
         "--max-model-len"),
        ("ValueError: Free memory on device cuda:0 (3/80 GiB) on startup is less than desired GPU "
         "memory utilization", "another process"),
        ("main.py: error: unrecognized arguments: --no-such-flag", "--no-such-flag"),
        ("Error while finding module specification (ModuleNotFoundError: No module named 'vllm')",
         "extra `gpu`"),
        ("ModuleNotFoundError: No module named 'flashinfer'", "VLLM_USE_FLASHINFER_SAMPLER=0"),
        ("OSError: [Errno 98] Address already in use", "another program took the port"),
        ("World size (4) is larger than the number of available GPUs (1)", "lower it"),
        ("RuntimeError: Failed to infer device type", "nvidia-smi"),
        ("ValueError: Available memory on node 0 (11/12 GiB) on kv cache allocation is less than "
         "requested memory for kv (99 GiB)", "VLLM_CPU_KVCACHE_SPACE"),
        ("something\nValueError: a cause of its own", "ValueError: a cause of its own"),
        ("nothing of use", "its log has no error"),
    ],
)  # fmt: skip
def test_a_server_that_does_not_start_says_what_to_change(
    tiny, fake, says, what_to_do, monkeypatch
):
    monkeypatch.setenv("FAKE", f"says {says}")
    with (
        pytest.raises(vllm.ServerFailed, match=re.escape(what_to_do)) as failed,
        serve(tiny, python=fake),
    ):
        pass
    first, *_, last = str(failed.value).splitlines()
    assert first.startswith("vLLM did not start (exit code 1): ")
    assert last == says.splitlines()[-1]


def test_a_killed_server_is_explained_by_memory(tiny, fake, monkeypatch):
    monkeypatch.setenv("FAKE", "killed")
    with (
        pytest.raises(vllm.ServerFailed, match="the system killed it"),
        serve(tiny, python=fake),
    ):
        pass


def test_a_server_that_is_not_ready_in_time_is_stopped(tiny, fake, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE", "hangs")
    monkeypatch.setattr(server, "_READY_S", 2.0)
    log_file = tmp_path / "logs" / "vllm.log"
    with (
        pytest.raises(vllm.ServerFailed, match="was not ready after"),
        serve(tiny, python=fake, log=log_file),
    ):
        pass
    assert not is_running(int((tiny / "worker").read_text()))
    assert "Initializing a V1 LLM engine" in log_file.read_text()


def test_missing_vllm_names_the_extra(tiny, monkeypatch):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="the extra gpu"), serve(tiny):
        pass


def test_the_command_is_found_on_the_path(tiny, fake, monkeypatch):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(fake.parent))
    assert server.command(None) == [str(fake)]


def test_missing_vllm_in_process_names_the_extra(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ValueError, match="the extra gpu"):
        vllm.engine_points(tiny, [1], 8, 8)


def test_progress_follows_the_log():
    lines = [
        "INFO Initializing a V1 LLM engine (v0.26.0) with config: model='m'",
        "INFO Starting to load model m...",
        "INFO Using cache directory: c for vLLM's torch.compile",
        "Capturing CUDA graphs (decode, FULL): 100%",
    ]
    seen = [log.start_step("\n".join(lines[:n])) for n in range(len(lines) + 1)]
    assert seen == [
        "importing its modules",
        "starting the engine",
        "loading the weights",
        "compiling the model",
        "capturing CUDA graphs",
    ]


def test_the_first_error_is_the_cause_and_warnings_are_none():
    text = (
        "(APIServer pid=1) WARNING 11-24 [u.py:255] fd limit errors like `OSError: [Errno 24]`\n"
        "(Worker pid=3) ERROR 11-24 [e.py:63] AssertionError: the root\n"
        "(EngineCore pid=2) ERROR 11-24 [c.py:1510] RuntimeError: Worker failed\n"
        "RuntimeError: Engine core initialization failed. See root cause above.\n"
    )
    assert log.cause(text, 1) == "AssertionError: the root"


def test_settings_that_the_engine_does_not_say_are_none():
    assert set(log.engine_settings("no such line").values()) == {None}


# the model


def test_parameters_of_dense_models_agree_with_the_model_cards():
    for name, card in [("llama-3.1-8b", "Llama-3.1-8B"), ("llama-3.1-70b", "Llama-3.1-70B")]:
        published = model_shape(f"meta-llama/{card}")
        counted = vllm.shape_of(vllm.read_config(vllm.bundled_model(name)), published.model)
        assert counted.total_params == pytest.approx(published.total_params, rel=1e-3)
        assert counted.active_params == counted.total_params
        for field in ("layers", "heads", "kv_heads", "head_dim", "sliding_layers"):
            assert getattr(counted, field) == getattr(published, field)


def test_tied_embeddings_are_counted_once():
    two, one = (
        vllm.shape_of({**TINY, "tie_word_embeddings": tied}, "m").total_params
        for tied in (False, True)
    )
    assert two - one == TINY["vocab_size"] * TINY["hidden_size"]


@pytest.mark.parametrize("kind", ["mixtral", "gpt_oss", None])
def test_other_architectures_are_refused_not_miscounted(kind):
    with pytest.raises(ValueError, match=r"data/model_shapes\.csv"):
        vllm.shape_of({**TINY, "model_type": kind}, "m")


def test_a_mixture_without_weights_is_refused(tiny, fake):
    (tiny / "config.json").write_text(json.dumps({**TINY, "num_local_experts": 8}))
    with pytest.raises(ValueError, match="mixture of experts"), serve(tiny, python=fake):
        pass
    (tiny / "model.safetensors").write_bytes(b"")
    assert vllm.weights(tiny) == "real"
    with (
        pytest.raises(ValueError, match="mixture of experts"),
        serve(tiny, ["--load-format", "dummy"], python=fake),
    ):
        pass


def test_a_folder_without_a_config_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json that can be read"):
        vllm.read_config(tmp_path)
    with pytest.raises(ValueError, match=r"llama-3\.1-70b, llama-3\.1-8b"):
        vllm.bundled_model("gpt-5")


def test_an_adapter_has_two_matrices_per_projection_of_the_stated_size(tiny, tmp_path):
    folder = vllm.random_adapter(tiny, tmp_path / "adapter")
    raw = (folder / "adapter_model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    assert len(header) == 2 * 7 * TINY["num_hidden_layers"]
    end = 0
    for tensor in header.values():
        begin, end_ = tensor["data_offsets"]
        assert begin == end
        assert end_ - begin == 2 * np.prod(tensor["shape"])
        end = end_
    assert len(raw) == 8 + length + end
    stem = "base_model.model.model.layers.1.self_attn.k_proj.lora_"
    assert header[f"{stem}A.weight"]["shape"] == [16, 64]
    assert header[f"{stem}B.weight"]["shape"] == [32, 16]
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 16


def test_variants_are_every_combination_each_with_its_flags(tiny, tmp_path):
    on_off = [False, True]
    axes = {"quantization": ["none", "fp8"], "tensor_parallel": [1, 2]}
    settings = Settings(**axes, prefix_caching=on_off, lora=on_off)
    every = [variant for variant, _ in probe._variants([tiny, tiny], settings, tmp_path)]
    assert len(every) == 32
    assert len({variant.label for variant in every}) == 16
    heaviest = every[-1]
    assert heaviest.label == "tiny fp8 tp2 prefix-caching lora"
    assert heaviest.request_model == "adapter"
    assert " ".join(heaviest.flags) == (
        "--quantization fp8 --tensor-parallel-size 2 --enable-prefix-caching "
        f"--enable-lora --max-lora-rank 16 --lora-modules adapter={tmp_path / 'adapter-tiny'}"
    )


def test_a_frame_names_each_server_with_its_own_settings(tiny, tmp_path):
    frame = pd.DataFrame(
        [
            {"label": "short", "model": str(tiny), "tensor_parallel": 2, "lengths": [(64, 16)]},
            {"label": "long", "model": str(tiny), "tensor_parallel": 1, "lengths": [(512, 16)]},
        ]
    )
    every = list(probe._variants(frame, Settings(quantization=["fp8"]), tmp_path))
    assert [(v.label, v.quantization, v.tensor_parallel, lengths) for v, lengths in every] == [
        ("short", "fp8", 2, [(64, 16)]),
        ("long", "fp8", 1, [(512, 16)]),
    ]


# the counters


def test_counters_are_summed_over_labels_and_gauges_left_out():
    assert server_metrics.parse_counters(METRICS) == {
        "vllm:prompt_tokens_total": 7,
        "vllm:time_to_first_token_seconds_count": 2,
        "vllm:time_to_first_token_seconds_sum": 0.5,
    }


def escaped(value):
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


@given(
    st.lists(
        st.tuples(
            st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3),
            st.floats(min_value=0, max_value=1e12),
        ),
        min_size=1,
        max_size=6,
    )
)  # fmt: skip
def test_no_label_however_odd_changes_a_value(rows):
    text = "# TYPE vllm:x_total counter\n"
    for labels, value in rows:
        inside = ",".join(f'l{i}="{escaped(label)}"' for i, label in enumerate(labels))
        text += f"vllm:x_total{{{inside}}} {value!r}\n" if labels else f"vllm:x_total {value!r}\n"
    total = server_metrics.parse_counters(text)["vllm:x_total"]
    assert isclose(total, sum(value for _, value in rows), rel_tol=1e-12)


def test_a_run_is_the_difference_of_two_readings(monkeypatch):
    later = METRICS.replace("} 3.0", "} 13.0").replace('_sum{engine="0"} 0.5', "_sum{} 0.75")
    pages = iter([METRICS, later.replace('_count{engine="0"} 2.0', "_count{} 3.0")])
    monkeypatch.setattr(server_metrics, "page", lambda base_url, path: next(pages))
    with server_metrics.counters("http://127.0.0.1:1/v1") as increase:
        assert increase == {}
    assert increase == {
        "vllm:prompt_tokens_total": 10,
        "vllm:time_to_first_token_seconds_count": 1,
        "vllm:time_to_first_token_seconds_sum": 0.25,
    }


def test_a_restarted_server_is_an_error(monkeypatch):
    pages = iter([METRICS, METRICS.replace("} 3.0", "} 2.0")])
    monkeypatch.setattr(server_metrics, "page", lambda base_url, path: next(pages))
    with (
        pytest.raises(ValueError, match="restarted"),
        server_metrics.counters("http://127.0.0.1:1/v1"),
    ):
        pass


def test_a_server_that_is_not_there_or_not_vllm_is_named(tiny, fake):
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:9/metrics does not answer"):
        server_metrics.read_counters("http://127.0.0.1:9/v1/")
    with pytest.raises(ValueError, match="is no address"):
        server_metrics.read_counters("127.0.0.1")
    with serve(tiny, python=fake) as running, pytest.raises(ValueError, match="404"):
        server_metrics.read_counters(running.base_url + "/elsewhere")


def test_client_and_server_are_compared_from_dispatch():
    one = Sample(0, "measure", 1.0, 1.5, content_times_s=[2.0, 2.1, 2.4], ok=True)
    one.output_tokens, one.reasoning_tokens = 3, 0
    lost = Sample(1, "measure", 1.0, 1.5, content_times_s=[9.0])
    grown = {
        "vllm:time_to_first_token_seconds_sum": 0.4,
        "vllm:time_to_first_token_seconds_count": 1.0,
    }
    found = server_metrics.against_server(table([one, lost]), grown).set_index("metric")
    assert found.loc["ttft_s", "client_mean_s"] == pytest.approx(0.5)
    assert found.loc["ttft_s", "client_minus_server_s"] == pytest.approx(0.1)
    assert found.loc["itl_s", "client_mean_s"] == pytest.approx(0.2)
    assert found.loc["e2e_s", "client_mean_s"] == pytest.approx(0.9)
    assert pd.isna(found.loc["e2e_s", "server_mean_s"])


# the GPU


def fake_nvml(product="NVIDIA H200", *, fails=(), init_fails=False):
    """What the library answers on a host with two GPUs; `fails`: functions it does not support."""

    class NVMLError(Exception):
        pass

    def answer(name, value):
        def function(*_):
            if name in fails:
                raise NVMLError("Not Supported")
            return value

        return function

    def start():
        if init_fails:
            raise NVMLError("Driver Not Loaded")

    nvml = types.ModuleType("pynvml")
    values = {
        "nvmlShutdown": None,
        "nvmlDeviceGetCount": 2,
        "nvmlSystemGetDriverVersion": b"580.65.06",
        "nvmlSystemGetCudaDriverVersion": 13000,
        "nvmlDeviceGetName": product,
        "nvmlDeviceGetMemoryInfo": types.SimpleNamespace(total=141 * 2**30, used=70 * 2**30),
        "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        "nvmlDeviceGetPowerUsage": 350_000,
        "nvmlDeviceGetMigMode": [0, 0],
        "nvmlDeviceGetUtilizationRates": types.SimpleNamespace(gpu=98, memory=50),
    }
    for name, value in values.items():
        setattr(nvml, name, answer(name, value))
    nvml.nvmlInit = start
    nvml.nvmlDeviceGetHandleByIndex = nvml.nvmlDeviceGetHandleByUUID = lambda which: which
    nvml.NVMLError = NVMLError
    return nvml


@pytest.fixture
def nvml(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def install(**kwargs):
        monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(**kwargs))

    return install


def test_gpu_facts_name_the_card_as_its_data_sheet(nvml, monkeypatch):
    nvml()
    found = vllm.gpu_facts()
    assert found == {
        "gpu": "h200_sxm",
        "gpu_product": "NVIDIA H200",
        "gpus": 2,
        "gpu_memory_gib": 141.0,
        "power_limit_w": 700.0,
        "mig": False,
        "driver": "580.65.06",
        "cuda": "13.0",
        "gpu_note": None,
    }
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert vllm.gpu_facts()["gpus"] == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "visible" in vllm.gpu_facts()["gpu_note"]


def test_every_known_product_is_in_the_data_sheets():
    for name in hardware.GPU_NAMES.values():
        assert name is None or gpu(name).gpu == name


@pytest.mark.parametrize(
    ("product", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "h100_sxm"),
        ("NVIDIA H100 PCIe", "h100_pcie"),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA H200 NVL", None),
        ("NVIDIA A100-SXM4-80GB", "a100_80gb_sxm"),
        ("NVIDIA A100-SXM4-40GB", None),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L40", None),
        ("NVIDIA B200", "b200_sxm"),
        ("NVIDIA GB200", "gb200"),
        ("Tesla T4", None),
    ],
)
def test_a_product_is_never_taken_for_another(product, name):
    assert hardware.spec_name(product) == name


def test_without_nvml_facts_are_none_with_the_reason(monkeypatch, nvml):
    for name in hardware._MODULES:
        monkeypatch.setitem(sys.modules, name, None)
    found = vllm.gpu_facts()
    assert found.pop("gpu_note") == "NVML cannot be read: nvidia-ml-py is not installed"
    assert set(found.values()) == {None}
    nvml(init_fails=True)
    assert vllm.gpu_facts()["gpu_note"] == "NVML finds no NVIDIA driver: Driver Not Loaded"
    with vllm.gpu_use(0.01) as use:
        pass
    assert use.summary()["readings"] == 0
    assert "driver" in use.summary()["note"]


def test_use_is_sampled_while_the_block_runs(nvml):
    nvml()
    with vllm.gpu_use(0.02) as use:
        time.sleep(0.3)
    found = use.summary()
    assert 3 <= found["readings"] <= 16
    assert found["power_mean_w"] == 350
    assert found["memory_peak_gib"] == 70
    assert found["utilisation_mean_share"] == pytest.approx(0.98)


def test_a_card_without_utilisation_still_tells_memory_and_power(nvml):
    nvml(fails=("nvmlDeviceGetUtilizationRates", "nvmlDeviceGetMigMode"))
    with vllm.gpu_use(0.02) as use:
        time.sleep(0.1)
    found = use.summary()
    assert found["utilisation_mean_share"] is None
    assert found["power_peak_w"] == 350
    assert "no utilisation" in found["note"]
    assert vllm.gpu_facts()["mig"] is None


# the limit

POINT = {
    "model": "meta-llama/Llama-3.1-8B",
    "gpu": "h200_sxm",
    "precision": "bf16",
    "engine_version": "0.26.0",
    "input_tokens": 1024,
    "output_tokens": 1024,
    "concurrency": 1,
    "tensor_parallel": 1,
    "moe_ep": 1,
    "attention_dp": 1,
    "ttft_ms": 20.0,
    "tpot_ms": 5.0,
}


def shares(**changes):
    point = pd.DataFrame([{**POINT, **changes}])
    shape = model_shape(POINT["model"])
    return vllm.roofline_share(point, shape, gpu("h200_sxm"), "bf16").iloc[0]


def test_the_limit_of_one_request_is_the_weights_and_its_cache_read_once_per_token():
    cache = 2 * 32 * 8 * 128 * 2 * (1024 + 512)
    by_hand_ms = 1e3 * (8.03e9 * 2 + cache) / 4800e9
    found = shares()
    assert found["bytes_tpot_ms"] == pytest.approx(by_hand_ms, rel=1e-9)
    assert found["flops_tpot_ms"] == pytest.approx(1e3 * 2 * 8.03e9 / 989e12, rel=1e-9)
    assert found["bound"] == "bytes"
    assert found["tpot_share"] == pytest.approx(by_hand_ms / 5.0, rel=1e-9)
    assert not found["above_limit"]


def test_points_beyond_the_card_are_flagged_by_either_measure():
    assert shares(tpot_ms=3.0)["above_limit"]
    assert shares(output_tokens_per_s_per_gpu=310.0)["above_limit"]
    assert not shares(output_tokens_per_s_per_gpu=150.0)["above_limit"]


def test_no_published_point_of_a_dense_model_beats_the_card():
    points = serving_points("meta-llama/Llama-3.1-70B", "h200_sxm", "fp8")
    found = vllm.roofline_share(
        points, model_shape("meta-llama/Llama-3.1-70B"), gpu("h200_sxm"), "fp8"
    )
    assert not found["above_limit"].any()
    assert found["throughput_share"].between(0.05, 1).all()


def test_an_unknown_kv_dtype_is_named():
    points = pd.DataFrame([POINT])
    with pytest.raises(ValueError, match="'int3'"):
        vllm.roofline_share(points, model_shape(POINT["model"]), gpu("h200_sxm"), "bf16", "int3")


# a sweep, with a stand-in for the server and its answers


def closed_loop(workers, n, seconds=1.0):
    """A run of a closed loop with the facts of a sweep."""
    rows = []
    for i in range(n):
        sent = (i // workers) * seconds + (i % workers) * 1e-3
        first, last = sent + 0.2, sent + seconds - 1e-4
        times = [first, float("nan"), last]  # those between are not known
        one = Sample(i, "measure", sent, sent, content_times_s=times, done_s=last, ok=True)
        one.input_tokens, one.output_tokens, one.reasoning_tokens = 64, 16, 0
        rows.append(one)
    serving = {
        "model": "tiny",
        "gpu": "cpu",
        "precision": "bf16",
        "tensor_parallel": 1,
        "kv_dtype": "bf16",
        "prefix_caching": False,
        "weights": "dummy",
    }
    facts = {
        "tool": {"name": "llmstudy", "version": "0"},
        "started_at": "2026-11-23T10:00:00+00:00",
        "endpoint": {"model": "tiny", "engine": "vllm", "engine_version": "0.32.0"},
        "load": {"process": "closed", "concurrency": workers, "n": n, "warmup_n": 0},
        "serving": serving,
        "server_counters": {},
        "gpu_use": {
            "utilisation_mean_share": None,
            "memory_peak_gib": None,
            "power_mean_w": None,
        },
        "client": {"cpu_share": 0.1},
    }
    return Run(table(rows), facts)


@pytest.fixture
def stand_in(tiny, monkeypatch):
    """A server that answers every point, and what it is asked."""

    @contextmanager
    def serve(model, flags, **_):
        serving = {"gpu": None, "gpu_product": None, "device": "cpu", "model_config": TINY}
        yield vllm.Server("http://127.0.0.1:9/v1", "tiny", serving)

    def measure(server, variant, point, folder, seed):
        made = closed_loop(int(point["concurrency"]), int(point["n_requests"]))
        made.facts["serving"] |= {"variant": variant.label}
        return made

    monkeypatch.setattr(sweeps, "serve", serve)
    monkeypatch.setattr(sweeps, "_warm", lambda *_: None)
    monkeypatch.setattr(sweeps, "_measure", measure)
    monkeypatch.setattr(sweeps, "audit", lambda run: types.SimpleNamespace(valid=True, reasons=()))
    monkeypatch.setattr(sweeps, "_bench", lambda *_: {"n": 16})
    return vllm.Variant(tiny)


def test_each_point_is_handed_over_when_it_is_measured_and_a_kill_loses_none(
    stand_in, tmp_path, monkeypatch
):
    points, began = sweeps.named_levels([1, 2, 4], [(64, 16)]), datetime(2026, 11, 23, tzinfo=UTC)
    measure, asked = sweeps._measure, []

    def killed_at_the_third(*arguments):
        asked.append(arguments)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(sweeps, "_measure", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        sweeps.sweep(
            stand_in,
            points,
            tmp_path / "runs",
            seed=0,
            on_point=lambda made: recorded.write(tmp_path / "recorded", [made], began),
        )
    [run] = recorded.recorded_runs(tmp_path / "recorded")
    assert run["points"]["concurrency"].tolist() == [1, 2]
    assert run["settings"][0]["failed"] == "stopped before its last point"
    assert not list((tmp_path / "recorded").rglob("*.partial"))


def test_a_server_that_dies_keeps_what_was_measured_and_says_why(stand_in, tmp_path, monkeypatch):
    measure = sweeps._measure

    def dies_at_four(server, variant, point, *rest):
        if point["concurrency"] == 4:
            raise vllm.ServerFailed("vLLM stopped: the GPU's memory is full.\nits log")
        return measure(server, variant, point, *rest)

    monkeypatch.setattr(sweeps, "_measure", dies_at_four)
    points = sweeps.named_levels([1, 4, 8], [(64, 16)])
    done = sweeps.sweep(stand_in, points, tmp_path, seed=0)
    assert done.points["concurrency"].tolist() == [1]
    assert done.failed == "vLLM stopped: the GPU's memory is full."


def test_a_failing_bench_and_a_point_that_is_none_are_rows_and_the_rest_goes_on(
    stand_in, tmp_path, monkeypatch
):
    measure, benched = sweeps._measure, []

    def too_short(server, variant, point, *rest):
        short = {"n_requests": 1} if point["concurrency"] == 2 else {}
        return measure(server, variant, {**point, **short}, *rest)

    def bench(server, model, point, *rest):
        benched.append(point["concurrency"])
        raise vllm.ServerFailed("vllm bench serve failed (exit code 1)")

    monkeypatch.setattr(sweeps, "_measure", too_short)
    monkeypatch.setattr(sweeps, "_bench", bench)
    points = sweeps.named_levels([1, 2, 4], [(64, 16), (32, 16)])
    done = sweeps.sweep(stand_in, points, tmp_path, seed=0, bench_at=2)
    assert benched == [4]  # one point, though two have this concurrency
    assert done.failed is None
    assert len(done.points) == 4
    assert len(done.metrics) == 4
    assert done.invalid["concurrency"].tolist() == [2, 4, 2]
    assert "none ran in steady state" in done.invalid["reasons"][0]
    assert "vllm bench serve failed" in done.invalid["reasons"][1]


def test_the_metrics_of_a_point_are_those_of_its_steady_state(stand_in, tmp_path):
    done = sweeps.sweep(stand_in, sweeps.named_levels([4], [(64, 16)]), tmp_path, seed=0)
    [point], [told] = done.points.to_dict("records"), done.metrics
    assert told["n"] == point["n"] < 16
    assert told["ttft_ms"]["p50"] == pytest.approx(point["ttft_median_ms"])


def test_the_default_points_of_each_setting_fit_a_call_of_ten_minutes(monkeypatch):
    monkeypatch.setattr(sweeps, "_card", lambda: gpu("h200_sxm"))
    default = Settings()
    n_points, longest_s, pairs = default.max_points, default.max_point_s, default.lengths
    for name, quantized in [("8b", "none"), ("8b", "fp8"), ("70b", "fp8")]:
        variant = vllm.Variant(vllm.bundled_model(f"llama-3.1-{name}"), quantized)
        table = sweeps.levels(variant, pairs, 256, n_points, longest_s)
        assert table["seconds"].sum() + 180 < 600
        assert len(table) >= 5


# the command


def run_vllm(*words):
    return CliRunner().invoke(app, ["probe", "vllm", *map(str, words)], catch_exceptions=False)


def test_a_setting_that_fails_ends_with_exit_2_and_the_others_are_recorded(
    stand_in, tiny, tmp_path, monkeypatch
):
    served = sweeps.serve

    def serve(model, flags, **rest):
        if "fp8" in flags:
            raise vllm.ServerFailed("vLLM did not start: no FP8 here.")
        return served(model, flags, **rest)

    monkeypatch.setattr(sweeps, "serve", serve)
    both = ["--quantization", "fp8", "--quantization", "none", "--lengths", "64x16"]
    place = ["--record", tmp_path / "recorded", "--out", tmp_path / "runs"]
    done = run_vllm(tiny, *both, *place, "--concurrency", 2, "--bench", "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 2
    assert [s["failed"] for s in told["settings"]] == ["vLLM did not start: no FP8 here.", None]
    assert [len(s["points"]) for s in told["settings"]] == [0, 1]
    [run] = recorded.recorded_runs(tmp_path / "recorded")
    assert run["settings"][0]["failed"] == "vLLM did not start: no FP8 here."
    assert run["points"]["variant"].tolist() == ["tiny"]


def test_where_every_setting_fails_the_reason_is_the_mistake(stand_in, tiny, tmp_path, monkeypatch):
    def serve(model, flags, **_):
        raise ValueError("vLLM is not installed")

    monkeypatch.setattr(sweeps, "serve", serve)
    done = run_vllm(tiny, "--concurrency", 1, "--out", tmp_path / "runs", "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["errors"] == ["tiny: vLLM is not installed"]


def test_offline_hands_every_setting_to_the_engine_and_claims_no_audit(tiny, tmp_path, monkeypatch):
    asked = []

    def engine_points(model, batches, taken, given, arguments, *, adapter, say):
        asked.append((arguments, adapter))
        return pd.DataFrame([{"concurrency": 1, "input_tokens": taken, "output_tokens": given}])

    monkeypatch.setattr(probe, "engine_points", engine_points)
    axes = ["--tensor-parallel", 2, "--prefix-caching", "on", "--lora", "on"]
    place = ["--lengths", "8x2", "--out", tmp_path / "runs", "--json"]
    done = run_vllm(tiny, "--offline", "--quantization", "fp8", *axes, *place)
    [(arguments, adapter)] = asked
    assert arguments["quantization"] == "fp8"
    assert arguments["tensor_parallel_size"] == 2
    assert arguments["enable_prefix_caching"] is True
    assert (adapter / "adapter_config.json").exists()
    told = json.loads(done.stdout)
    assert told["audit"]["valid"] is None
    assert "no arrivals to audit" in told["audit"]["reasons"][0]
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--offline", "--bench", "--flag=--x"], "--bench, --flag with --offline"),
        (["--offline", "--record", "r"], "--record with --offline"),
        (["--lengths", "8x1"], "at least one token in and two out"),
        (["--lengths", "0x2"], "at least one token in and two out"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(tiny, tmp_path, words, sentence):
    done = run_vllm(tiny, *words, "--out", tmp_path / "runs")
    assert done.exit_code == 2
    assert sentence in done.stderr
