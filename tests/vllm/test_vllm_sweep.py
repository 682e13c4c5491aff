"""The sweep that `make probe-gpu` runs, against a real server on the CPU."""

import json

import pandas as pd
from typer.testing import CliRunner

from llmstudy.cli import app


def test_a_sweep_measures_its_points_and_vllm_bench_agrees(
    vllm_python, cpu, tiny, tmp_path, monkeypatch
):
    for name, value in cpu.env.items():
        monkeypatch.setenv(name, value)
    flags = [f"--flag={flag}" for flag in ("--dtype", "float32", "--enforce-eager")]
    place = ["--out", str(tmp_path / "runs"), "--record", str(tmp_path / "recorded")]
    points = ["--lengths", "64x16", "--concurrency", "1", "--concurrency", "4"]
    words = ["probe", "vllm", str(tiny), "--python", str(vllm_python), *points, *flags, *place]
    done = CliRunner().invoke(app, [*words, "--bench", "--json"], catch_exceptions=False)
    told = json.loads(done.stdout)
    (setting,) = told["settings"]
    assert len(setting["points"]) + len(setting["invalid"]) == 2
    # a CPU shared with the server may leave the client late, and then the audit must say so
    assert done.exit_code == (3 if setting["invalid"] else 0)
    for point in setting["points"]:
        assert (point["input_tokens"], point["output_tokens"]) == (64, 16)
        assert point["weights"] == "dummy"
        assert point["gpu"] == "cpu"
        assert point["engine_version"]
        assert point["variant"] == "tiny"
        assert point["enforce_eager"] is True
        assert point["metrics"]["n"] == point["n"]
    (bench,) = setting["bench"]
    assert bench["n"] == 16
    # two tools, one server, a noisy host: the same order of magnitude, or one of them is wrong
    assert 0.2 < bench["e2e_ms_ratio"] < 5
    if setting["points"]:
        (recorded,) = (tmp_path / "recorded").iterdir()
        assert len(pd.read_csv(recorded / "points.csv")) == len(setting["points"])
        origin = json.loads((recorded / "provenance.json").read_text())
        assert origin["settings"][0]["serving"]["flags"]
        assert origin["settings"][0]["failed"] is None
