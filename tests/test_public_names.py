"""What `import llmstudy` offers by name: it is there, explained, and quick to import."""

import inspect
import subprocess
import sys
from importlib.util import find_spec

import pandas as pd
import pytest

import llmstudy
from llmstudy import paths


@pytest.mark.parametrize("name", llmstudy.__all__)
def test_a_public_name_is_there_with_an_example_and_hides_no_module(name):
    assert name in dir(llmstudy)
    assert ">>>" in inspect.getdoc(getattr(llmstudy, name))
    assert find_spec(f"llmstudy.{name}") is None


def test_the_docstring_names_what_is_offered():
    assert not [name for name in llmstudy.__all__ if f"`{name}`" not in llmstudy.__doc__]


def test_a_name_that_is_not_offered_is_an_error():
    with pytest.raises(AttributeError, match="has no attribute 'latency_tabel'"):
        llmstudy.latency_tabel  # noqa: B018


def test_importing_the_package_alone_is_quick_and_loads_no_library_of_arrays():
    heavy = {"numpy", "pandas", "scipy", "duckdb", "genai_prices"}
    code = f"import sys, time, llmstudy; print(time.process_time(), *{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    cpu_s, *loaded = done.stdout.split()
    assert not loaded, done.stderr
    assert float(cpu_s) < 0.4


NONE = pd.DataFrame()
REQUESTS = pd.DataFrame({"input_tokens": [900], "output_tokens": [100]})
SAMPLES = pd.DataFrame({"ttft_s": [0.2, 0.3], "ok": True})
SCORES = pd.DataFrame({"today": [1, 0, 1], "open": [1, 1, 0]})
GRADES = pd.DataFrame({"today": [1.5, 2, 3], "open": [1, 3, 2]})
ON = "2026-11-20"
GPT_4O = "openai/gpt-4o"


@pytest.mark.parametrize(
    ("name", "args", "options"),
    [
        ("read_log", ("params",), {}),
        ("read_log", ("absent.csv",), {}),
        ("read_log", (None,), {}),
        ("read_log", (NONE,), {}),
        ("read_log", (REQUESTS,), {"columns": {"ts_start": None}}),
        ("read_log", (REQUESTS,), {"constants": ["ok"]}),
        ("price_requests", (NONE, GPT_4O, ON), {}),
        ("price_requests", (REQUESTS, GPT_4O, "tomorrow"), {}),
        ("price_requests", (REQUESTS, GPT_4O, None), {}),
        ("price_requests", (REQUESTS, "gpt-4o", ON), {}),
        ("price_requests", (REQUESTS, ["openai/gpt4o"], ON), {}),
        ("price_requests", (REQUESTS, [("openai", "gpt-4o")], ON), {}),
        ("price_requests", ("october.csv", GPT_4O, ON), {}),
        ("PricedModel", ("openai", "gpt-4o"), {"usd_per_mtok": 2.5}),
        ("PricedModel", ("openai", "gpt-4o"), {"factor": "10 %"}),
        ("latency_table", (NONE,), {}),
        ("latency_table", ("params",), {}),
        ("latency_table", (SAMPLES,), {"by": "route"}),
        ("latency_table", (SAMPLES,), {"metrics": "e2e_s"}),
        ("latency_table", (SAMPLES,), {"level": 95}),
        ("latency_table", (SAMPLES["ttft_s"],), {}),
        ("slo_attainment", (SAMPLES,), {}),
        ("slo_attainment", (SAMPLES,), {"limits": {"tpot_s": 0.05}}),
        ("reprice", (NONE,), {}),
        ("reprice", (REQUESTS,), {}),
        ("reprice", ("october.csv",), {}),
        ("summary_by", ("absent.parquet",), {}),
        ("summary_by", ("params/default.yaml",), {}),
        ("summary_by", (REQUESTS,), {"by": "team"}),
        ("reconcile", (REQUESTS,), {}),
        ("reconcile", (3,), {}),
        ("slo_attainment", (SAMPLES,), {"limits": {"ttft_s": "500 ms"}}),
        ("slo_attainment", (SAMPLES,), {"limits": {"ttft_s": None}}),
        ("quantile_interval", (["soon"], 0.95), {}),
        ("compare_quality", (NONE, "today", "open", 0.05), {}),
        ("compare_quality", (SCORES, "today", "llama", 0.05), {}),
        ("compare_quality", (SCORES, "today", ["open"], 0.05), {}),
        ("compare_quality", (SCORES.assign(open=[1, None, 1]), "today", "open", 0.05), {}),
        ("compare_quality", (SCORES.assign(open="yes"), "today", "open", 0.05), {}),
        ("compare_quality", (SCORES, "today", "open", "5 %"), {}),
        ("compare_quality", (SCORES, "today", "open", 0.05), {"alpha": "5 %"}),
        ("compare_quality", (GRADES, "today", "open", "5 %"), {}),
        ("items_needed", ("10 %", 0.03), {}),
        ("items_needed", (0.1, None), {}),
        ("items_needed", ([0.1, 0.2], 3), {}),
        ("noise_floor", (NONE,), {}),
        ("holm", (["low"],), {}),
        ("RouteCost", ("0.005",), {}),
        ("crossover", (0.005, 3_000), {}),
        ("serving_points", ("llama", "h200_sxm", "fp8"), {}),
        ("model_shape", ("llama",), {}),
        ("gpu", ("H200",), {}),
    ],
)
def test_a_usual_mistake_is_one_sentence(name, args, options, monkeypatch):
    monkeypatch.chdir(paths.ROOT)
    with pytest.raises(ValueError, match=r"\w") as raised:
        getattr(llmstudy, name)(*args, **options)
    assert "\n" not in str(raised.value)
