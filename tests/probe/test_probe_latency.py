"""A recorded probe's latencies, by the folder that it wrote."""

import numpy as np
import pandas as pd
import pytest

import llmstudy
from llmstudy.probe.run import Run, Sample, table, write


def test_a_recorded_probe_is_summed_up_from_its_folder_without_its_warm_up(tmp_path):
    first_tokens = np.linspace(0.2, 0.6, 100)
    samples = [
        Sample(i, "measure", float(i), float(i), content_times_s=[i + at, i + at + 1], ok=True)
        for i, at in enumerate(first_tokens)
    ]
    samples.append(Sample(100, "warmup", 100.0, 100.0, content_times_s=[190.0], ok=True))
    write(tmp_path / "run", Run(table(samples), {"schema_version": "1"}))
    shown = llmstudy.latency_table(tmp_path / "run", metrics=["ttft_s"])
    alone = llmstudy.latency_table(pd.DataFrame({"ttft_s": first_tokens, "ok": True}))
    pd.testing.assert_frame_equal(shown, alone)
    share = llmstudy.slo_attainment(str(tmp_path / "run"), limits={"ttft_s": 0.4})
    assert share["attainment"].tolist() == [pytest.approx(0.5)]
    with pytest.raises(ValueError, match=r"holds no probe run: it has no run\.json"):
        llmstudy.latency_table(tmp_path)
