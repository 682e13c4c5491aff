"""Assumptions set for a run: `Study.with_` and `load(file, overrides)`."""

import pytest

from llmstudy import paths
from llmstudy.evidence.case import open_case
from llmstudy.study import StudyError, load
from llmstudy.study.snapshot import changed_inputs, from_json, to_json
from llmstudy.study.study import SET

DEFAULT = paths.params("default.yaml")
GROWTH = "workloads.extraction.growth"


def test_a_figure_set_by_its_value_has_no_range_and_says_where_it_comes_from():
    study = load(DEFAULT, {GROWTH: "6 %/month"})
    growth = study.workloads["extraction"].growth
    assert (growth.value, growth.low, growth.source) == (0.06, None, SET)
    assert study.overrides[GROWTH].model_dump() == {
        "value": "6 %/month",
        "instead_of": "4 %/month",
    }


def test_a_figure_set_in_full_is_taken_as_a_study_file_would_be():
    entry = {"value": 6, "unit": "%/month", "range": [4, 9], "source": "board plan"}
    entry |= {"as_of": "2026-11-20", "grade": "assumed"}
    growth = load(DEFAULT, {GROWTH: entry}).workloads["extraction"].growth
    assert (growth.value, growth.low, growth.high, growth.source) == (
        0.06,
        0.04,
        0.09,
        "board plan",
    )


def test_only_what_was_set_differs_and_nothing_set_is_the_study_itself():
    base = load(DEFAULT)
    assert load(DEFAULT, {}) == base
    changed = load(DEFAULT, {GROWTH: "6 %/month", "seed": 7})
    assert changed_inputs(base, changed) == ["seed", GROWTH]


def test_what_was_set_first_is_compared_with_the_file_when_it_is_set_again():
    study = load(DEFAULT).with_({GROWTH: "6 %/month"}).with_({GROWTH: "8 %/month"})
    assert study.overrides[GROWTH].model_dump() == {
        "value": "8 %/month",
        "instead_of": "4 %/month",
    }
    assert len(study.overrides) == 1


def test_a_study_with_overrides_is_saved_and_read_back():
    study = load(DEFAULT, {GROWTH: "6 %/month"})
    assert from_json(to_json(study)) == study


def test_a_name_with_a_dot_and_a_list_are_places_too():
    study = load(DEFAULT, {"routes.h200-llama-3.1-70b.tensor_parallel": 4})
    assert study.routes["h200-llama-3.1-70b"].tensor_parallel == 4
    candidates = list(load(DEFAULT).workloads["extraction"].candidates)
    study = load(DEFAULT, {"workloads.extraction.candidates.0": candidates[0]})
    assert list(study.workloads["extraction"].candidates) == candidates


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"workloads.extractoin.growth": "6 %/month"}, "workloads has no extractoin: use one of"),
        ({"workloads.extraction.grwth": "6 %/month"}, "growth is not a key|grwth is not a key"),
        ({GROWTH: 6}, 'a unit is missing. Write "6 share/month"'),
        ({f"{GROWTH}.value": 6}, f"{GROWTH} is 4 %/month: set {GROWTH} as a whole"),
        ({"horizon": "600 months"}, "horizon is 600 months, but must be 1 to 60 months"),
        ({"workloads.extraction.candidates": ["x"]}, 'names the route "x"'),
        ({"workloads.extraction.candidates.9": "x"}, "candidates is a list of"),
        ({"decide_by": "2026-01-01"}, "decide_by is 2026-01-01, but the study is as of"),
        ({"overrides": {}}, "a study has no overrides"),
        ({"": 1}, "a study has no"),
    ],
)
def test_what_cannot_be_set_is_named_with_its_cure(overrides, sentence):
    with pytest.raises(StudyError, match=f"overrides of .*default.yaml: .*({sentence})"):
        load(DEFAULT, overrides)


def test_a_study_file_does_not_hold_overrides(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(DEFAULT.read_text(encoding="utf-8") + "\noverrides: {}\n", encoding="utf-8")
    with pytest.raises(StudyError, match=r"study.yaml:\d+: overrides is not a key"):
        load(file)


def test_what_is_set_goes_before_what_the_log_measured(tmp_path):
    times = [f"2026-11-{day:02d}T{hour:02d}:00:00Z" for day in range(2, 12) for hour in range(24)]
    log = tmp_path / "log.csv"
    rows = [f"{time},1000,200,true" for time in times]
    log.write_text("\n".join(["at,in,out,ok", *rows]), encoding="utf-8")
    columns = {"ts_start": "at", "input_tokens": "in", "output_tokens": "out", "ok": "ok"}
    requests = {"path": str(log), "format": "csv", "columns": columns}
    requests |= {"workload": "extraction", "provider": "openai", "model": "gpt-4o"}
    place = "workloads.extraction.intake"
    measured = open_case(load(DEFAULT, {"requests": requests})).study
    assert measured.workloads["extraction"].intake.input_tokens.value == 1000
    overrides = {"requests": requests, f"{place}.input_tokens": "3000 tokens/request"}
    both = open_case(load(DEFAULT, overrides)).study.workloads["extraction"].intake
    assert (both.input_tokens.value, both.output_tokens.value) == (3000, 200)
