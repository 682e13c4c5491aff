"""Workloads are proposed from fields that a study can map, and from nothing else."""

import json

import pandas as pd
import pytest

from llmstudy.requests import propose
from llmstudy.requests.importers import read_log


def written(tmp_path, rows):
    """A log of LiteLLM whose rows have these fields beside the usual ones, and its proposal."""
    file = tmp_path / "log.jsonl"
    usual = {
        "status": "success", "custom_llm_provider": "openai", "model": "gpt-4o",
        "prompt_tokens": 900, "completion_tokens": 90, "response_cost": 0.01,
    }  # fmt: skip
    lines = [
        json.dumps({"litellm_call_id": f"c{n}", "startTime": 1793610000.0 + 60 * n, **usual, **row})
        for n, row in enumerate(rows)
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    return propose.proposed(file, read_log(file), {})


def test_a_tag_goes_before_a_route_and_a_route_before_an_operation(tmp_path):
    rows = [
        {"request_tags": [tag], "model_group": group, "call_type": call}
        for tag, group, call in [
            ("triage", "fast", "acompletion"), ("recap", "slow", "completion"),
            ("triage", "slow", "completion"), ("triage", "fast", "acompletion"),
        ]
    ]  # fmt: skip
    made = written(tmp_path, rows)
    assert made.fields == ("/request_tags/0",)
    assert made.workloads["workload"].tolist() == ["triage", "recap"]
    assert made.workloads["task"].tolist() == ["classification", "summarisation"]
    assert made.workloads["by"].unique().tolist() == ["tag"]
    del rows[0]["request_tags"]  # now a request has none
    assert written(tmp_path, rows).fields == ("model_group",)
    one = [{**row, "model_group": "all-of-them"} for row in rows]
    assert written(tmp_path, one).fields == ("call_type",)


def test_the_tag_of_the_calling_library_that_the_gateway_adds_is_no_workload(tmp_path):
    agents = ["User-Agent: curl", "User-Agent: python-requests"] * 4
    rows = [
        {"request_tags": [agent], "model_group": group}
        for agent, group in zip(agents, ["fast", "slow", "slow", "fast"] * 2, strict=True)
    ]
    assert written(tmp_path, rows).fields == ("model_group",)


@pytest.mark.parametrize(
    "tags",
    [
        [f"customer-{n}" for n in range(9)],  # too many
        ["chat"] * 99 + ["test"],  # too few of one
        ["all", "chat"],  # a name that tables use
        ["chat", "chat"],
    ],
)
def test_a_field_that_parts_the_log_badly_is_not_proposed(tmp_path, tags):
    made = written(tmp_path, [{"request_tags": [tag]} for tag in tags])
    assert made.fields == ()
    assert made.workloads[["workload", "by", "share"]].to_numpy().tolist() == [
        ["unknown", "none", 1.0]
    ]


def test_the_log_read_with_the_proposed_field_has_the_proposed_workloads(tmp_path):
    tags = ["chat", "extract", "chat", "chat"]
    made = written(tmp_path, [{"request_tags": [tag]} for tag in tags])
    again = read_log(tmp_path / "log.jsonl", columns={"workload": made.fields})
    assert again.accepted["workload"].value_counts().to_dict() == {"chat": 3, "extract": 1}
    proposed = made.log.accepted
    order = again.accepted.sort_values(["workload", "ts_start"], kind="stable", ignore_index=True)
    alike = order[list(proposed)].astype(proposed.dtypes)
    pd.testing.assert_frame_equal(alike, proposed)


def test_rows_that_stand_for_many_count_as_many():
    table = pd.DataFrame(
        {
            "workload": ["a", "b"], "ok": [True, True], "n_requests": [30.0, None],
            "input_tokens": [3_000, 50], "output_tokens": [300, 5],
        }
    )  # fmt: skip
    rows = propose.workloads_of(table, "tag").set_index("workload")
    assert rows["share"].to_dict() == pytest.approx({"a": 30 / 31, "b": 1 / 31})
    assert rows["input_tokens_mean"].to_dict() == {"a": 100, "b": 50}
