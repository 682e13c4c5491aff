"""What `llmstudy capacity fit` promises: its document, its table, and its words on bad points."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from llmstudy import paths
from llmstudy.cli import app
from llmstudy.measures import capacity

PUBLISHED = paths.data("vllm_serving_points.csv")
PARAMETERS = ["bandwidth_efficiency", "flop_efficiency", "step_overhead_s", "tp_overhead_s"]


def fit(*arguments):
    narrow = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    return CliRunner().invoke(app, ["capacity", "fit", *map(str, arguments)], env=narrow)


def document(*arguments):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    result = fit(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout, parse_constant=refuse)


@pytest.fixture
def points():
    """One group of the published points, as a user has them: all columns, as text."""
    table = pd.read_csv(PUBLISHED, dtype=str, keep_default_na=False)
    return table[(table["model"] == "meta-llama/Llama-3.1-70B") & (table["gpu"] == "h200_sxm")]


@pytest.fixture
def write(tmp_path):
    def write_(table):
        file = tmp_path / "points.csv"
        table.to_csv(file, index=False)
        return file

    return write_


def refusal(*arguments):
    """The sentence of a command that ends with exit code 2, the same with and without --json."""
    plain, as_json = fit(*arguments), fit(*arguments, "--json")
    assert plain.exit_code == as_json.exit_code == 2
    assert plain.stdout == ""
    (sentence,) = json.loads(as_json.stdout)["errors"]
    assert plain.stderr.strip() == sentence
    return sentence


def test_the_document_holds_each_group_with_its_error_and_parameters(points, write):
    file = write(points)
    found = document(file, "--points", 8, "--seed", 1)
    (group,) = found["groups"]
    assert found["n_points"] == group["n_fit"] == 8
    key = {name: group[name] for name in capacity.GROUP}
    assert key == {
        "model": "meta-llama/Llama-3.1-70B",
        "gpu": "h200_sxm",
        "precision": "fp8",
        "engine_version": "not recorded",
    }
    assert group["n_heldout"] == 25
    assert found["median_of_medians_abs_error_share"] == group["median_abs_error_share"] < 0.08
    assert group["median_abs_error_share"] <= group["p90_abs_error_share"]
    assert list(group["parameters"]) == PARAMETERS
    ttft = group["ttft_ratio"]
    assert 0.5 <= ttft["low"] <= ttft["estimate"] <= ttft["high"] <= 2
    for parameter in group["parameters"].values():
        assert parameter["low"] <= parameter["value"]
        assert parameter["high"] is None or parameter["value"] <= parameter["high"]
    assert group["flags"] == [
        {
            "flag": "more requests than the KV memory holds: some wait, and TTFT is a queue",
            "n_points": 1,
        }
    ]
    assert found["left_out"] == []


def test_the_same_points_and_seed_give_the_same_bytes(points, write):
    file = write(points)
    first, second = (fit(file, "--seed", 4, "--json").stdout for _ in range(2))
    assert first == second


def test_what_the_points_do_not_determine_has_the_range_of_the_other_groups(points, write):
    (group,) = document(write(points), "--points", 4)["groups"]
    for parameter in group["parameters"].values():
        assert 0 < parameter["low"] < parameter["high"]
    assert group["parameters"]["flop_efficiency"]["high"] < 1
    assert group["parameters"]["step_overhead_s"]["high"] < 0.05


def test_all_published_points_are_fitted_and_shown():
    result = fit(PUBLISHED)
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "…" not in result.stdout
    for model in pd.read_csv(PUBLISHED)["model"].unique():
        assert model.rpartition("/")[2] in result.stdout
    said = " ".join(result.stdout.split())
    assert "(median of the medians of 19 groups)" in said
    assert "Worst: " in said
    assert "a curve fitted to all its points is off by" in said
    assert said.count("Left out: ") == 5
    assert "Fitted on one GPU, judged on another of its family" in said
    assert "nan" not in said
    assert "inf" not in said.replace("information", "")


def test_an_unknown_model_or_gpu_is_left_out_and_the_rest_is_fitted(points, write):
    strange = [
        points.assign(model="acme/Secret-9B"),
        points.assign(gpu="tpu_v9"),
        points.assign(precision="fp6"),
    ]
    found = document(write(pd.concat([points, *strange])))
    assert len(found["groups"]) == 1
    reasons = {row["model"] + row["gpu"]: row["reason"] for row in found["left_out"]}
    assert "no model 'acme/Secret-9B' in data/model_shapes.csv" in reasons["acme/Secret-9Bh200_sxm"]
    assert "no gpu 'tpu_v9' in data/gpu_specs.csv" in reasons["meta-llama/Llama-3.1-70Btpu_v9"]
    assert any("unknown precision 'fp6'" in row["reason"] for row in found["left_out"])


def test_the_type_of_the_kv_cache_is_read_and_said(points, write):
    halves = [points.assign(kv_dtype="fp8"), points.assign(kv_dtype="auto")]
    groups = document(write(pd.concat(halves)))["groups"]
    assert sorted(group["kv_value_bytes"] for group in groups) == [1, 2]


def test_what_an_empty_cell_is_taken_for_is_said(points, write):
    found = document(write(points.assign(precision="", engine_version="", moe_ep="")))
    (group,) = found["groups"]
    assert (group["precision"], group["engine_version"]) == ("bf16", "not recorded")
    assert found["notes"] == [
        "precision is empty in 34 rows: taken as bf16",
        "engine_version is empty in 34 rows: taken as not recorded",
    ]


@pytest.mark.shared
def test_the_table_as_it_was_collected_gives_the_goal_and_the_bundled_groups(shared):
    found = document(shared / "figures" / "vllm_serving_points.csv", "--points", 5)
    assert found["median_of_medians_abs_error_share"] <= 0.12
    groups = [*found["groups"], *found["left_out"]]
    keys = {tuple(group[name] for name in capacity.GROUP) for group in groups}
    bundled = pd.read_csv(PUBLISHED)[capacity.GROUP]
    assert keys == set(bundled.itertuples(index=False, name=None))
    assert sum(group["n_rows"] for group in groups) == 746


def test_rows_of_another_engine_setting_are_set_aside_and_counted(points, write):
    cached = np.where(np.arange(len(points)) < 3, "True", "False")
    found = document(write(points.assign(prefix_caching=cached)))
    assert "3 rows are set aside: prefix_caching is true" in found["notes"]
    assert found["groups"][0]["n_rows"] == len(points) - 3
    assert "lora is true; none are left" in refusal(write(points.assign(lora="true")))


@pytest.mark.parametrize("column", ["model", "engine_version", "tensor_parallel", "tpot_ms"])
def test_a_missing_column_is_named(points, write, column):
    file = write(points.drop(columns=column))
    assert refusal(file) == (
        f"{file} lacks the column {column}: add it, as in data/vllm_serving_points.csv"
    )


@pytest.mark.parametrize(
    ("column", "cell", "mend"),
    [
        ("tpot_ms", "fast", "write a number above 0"),
        ("tpot_ms", "0", "write a number above 0"),
        ("ttft_ms", "", "write a number above 0"),
        ("ttft_ms", "inf", "write a number above 0"),
        ("concurrency", "-4", "write a number above 0"),
        ("concurrency", "4.5", "write a whole number"),
        ("attention_dp", "two", "write a number above 0"),
        ("model", "", "name it, as text"),
        ("kv_dtype", "fp3", "write one of auto, bf16"),
    ],
)
def test_a_cell_that_cannot_be_used_is_named_with_its_row(points, write, column, cell, mend):
    table = points.reset_index(drop=True).assign(kv_dtype="auto")
    table.loc[5, column] = cell
    file = write(table)
    sentence = refusal(file)
    assert sentence.startswith(f"{file}, row 7: {column} is {cell!r}; {mend}")


def test_files_that_hold_no_points_are_refused_by_name(points, write, tmp_path):
    missing = tmp_path / "none.csv"
    assert refusal(missing) == f"{missing}: there is no such file: check the path of the points"
    assert "there is no such file" in refusal(tmp_path)
    empty = tmp_path / "empty.csv"
    empty.touch()
    assert refusal(empty) == f"{empty} is empty: give a CSV file with a header and points"
    assert "has no points: add a row" in refusal(write(points.head(0)))
    picture = tmp_path / "picture.csv"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    assert f"{picture} is not a CSV file in UTF-8" in refusal(picture)


def test_too_few_or_too_many_points_are_refused(points, write):
    file = write(points)
    assert "four parameters need at least four" in refusal(file, "--points", 3)
    assert "four parameters need at least four" in refusal(file, "--points", -1)
    sentence = refusal(file, "--points", 300)
    assert "none of 1 groups can be fitted" in sentence
    assert "34 points give 33 (1 exceed the KV memory)" in sentence


def test_where_nothing_is_known_of_any_model_the_command_ends(points, write):
    sentence = refusal(write(points.assign(model="acme/Secret-9B")))
    assert "no model 'acme/Secret-9B' in data/model_shapes.csv" in sentence
    assert "add a row with its source" in sentence
