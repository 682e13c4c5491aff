"""What a notebook gets from the functions behind the commands: requests, points, and an audit."""

import asyncio
import inspect

import pytest

import llmstudy
from llmstudy import paths
from llmstudy.probe.metrics import metrics
from llmstudy.probe.run import COLUMNS

SHORT = {"input_tokens": 20, "output_tokens": 4, "requests": 40, "warmup": 5}


def quiet(line):
    """Takes the place of `print`."""


def test_a_notebook_measures_an_endpoint_while_its_event_loop_runs(mock):
    async def cell():
        return llmstudy.probe_endpoint(mock.base_url, "mock", concurrency=4, **SHORT, say=quiet)

    probe = asyncio.run(cell())
    assert probe.folder is None
    assert set(COLUMNS) <= set(probe.samples.columns)
    assert len(probe.samples) == 45
    [point] = probe.points.to_dict("records")
    assert (point["concurrency"], point["n"], point["failed_share"]) == (4, 40, 0)
    assert point["ttft_p50_low_ms"] <= point["ttft_p50_ms"] <= point["ttft_p50_high_ms"]
    assert point["valid"] == probe.audit.valid
    assert bool(point["findings"]) != point["valid"]


def test_a_run_read_again_is_the_run_that_was_measured(mock, tmp_path):
    made = llmstudy.probe_endpoint(
        mock.base_url, "mock", rate_per_s=40, seed=7, **SHORT, out=tmp_path / "a", say=quiet
    )
    read = llmstudy.read_probe(tmp_path / "a")
    # at six digits, as they are written
    columns = ["rate_per_s", "n", "ttft_p50_ms", "e2e_p50_ms"]
    assert read.points[columns].iloc[0].tolist() == pytest.approx(
        made.points[columns].iloc[0].tolist(), rel=1e-6
    )
    assert read.audit.valid == made.audit.valid
    assert read.points["ttft_p50_ms"].item() == metrics(read.runs[0])["ttft_ms"]["p50"]
    # a folder of several runs has a point for each
    llmstudy.probe_endpoint(
        mock.base_url, "mock", concurrency=2, **SHORT, out=tmp_path / "b", say=quiet
    )
    both = llmstudy.read_probe(tmp_path)
    assert both.points["concurrency"].fillna(0).tolist() == [0, 2]
    assert both.samples["point"].value_counts().tolist() == [45, 45]


def test_spend_is_announced_and_needs_a_cap_in_a_notebook_too(mock):
    lines = []
    paid = {"rate_per_s": 40, "price": (1, 1), **SHORT, "say": lines.append}
    with pytest.raises(ValueError, match="--max-spend"):
        llmstudy.probe_endpoint(mock.base_url, "mock", **paid)
    llmstudy.probe_endpoint(mock.base_url, "mock", **paid, max_spend_usd=1.0)
    assert lines[0].startswith("This costs at most USD 0.00")


def test_a_search_gives_a_point_for_each_run(mock):
    slo = {"ttft_s": 9.0, "input_tokens": 5, "output_tokens": 3}
    rates = {"low_per_s": 60, "high_per_s": 61, "max_requests": 200}
    probe = llmstudy.search_rate(mock.base_url, "mock", **slo, **rates, say=quiet)
    assert probe.points["rate_per_s"].isin([60, 61]).all()
    assert len(probe.points) == len(probe.runs)
    assert {"passing_per_s", "failing_per_s", "knee", "stopped"} <= set(probe.report)


def test_a_recorded_gpu_run_gives_its_points_and_no_requests():
    for folder in sorted(paths.data("probes").iterdir()):
        probe = llmstudy.read_probe(folder)
        assert probe.samples.empty
        assert probe.points["valid"].sum() >= 5
        assert probe.audit.valid == bool(probe.points["valid"].all())
        assert probe.points["ttft_p50_ms"].notna()[probe.points["valid"]].all()


def test_an_option_that_there_is_not_is_named_and_every_other_is_in_the_help():
    with pytest.raises(TypeError, match="unknown option rate:"):
        llmstudy.probe_endpoint("http://127.0.0.1:9/v1", "m", rate=2)
    for function in (llmstudy.probe_endpoint, llmstudy.search_rate, llmstudy.probe_vllm):
        names = inspect.signature(function).parameters
        assert "options" not in names
        assert {"seed", "out", "say"} <= set(names)
        assert "- seed: " in function.__doc__


def test_what_is_no_probe_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is no file"):
        llmstudy.read_probe(tmp_path / "absent")
