"""A setting of the levers as a study file: what it says, and when it is refused."""

import pytest

from llmstudy import paths
from llmstudy.answer import Changes, changed, save, with_quotes
from llmstudy.study import load

STUDIES = ("default", "hyperscale", "regulated", "source_memo")
EVERY = Changes(
    volume=1.5, growth=0.01, slo=1.5, gpu_price=0.8, reserved=0.3, margin=0.01, team=0.5
)


def _values(study):
    return {
        keys: (pytest.approx(f.value), f.low and pytest.approx(f.low), f.unit, f.distribution)
        for keys, f in study.figures_by_keys().items()
    }


@pytest.mark.parametrize("name", STUDIES)
def test_the_saved_file_holds_the_study_that_the_slider_showed(name, tmp_path):
    path = paths.params(f"{name}.yaml")
    wanted = changed(with_quotes(load(path)), EVERY)
    found = with_quotes(load(save(path, EVERY, tmp_path / "my-case.yaml")))
    assert _values(found) == _values(wanted)
    assert {n: w.candidates for n, w in found.workloads.items()} == {
        n: w.candidates for n, w in wanted.workloads.items()
    }
    assert found.study == "my-case"


def test_what_no_lever_moved_stays_as_it_was_written(tmp_path):
    path = paths.params("default.yaml")
    text = save(path, Changes(volume=2.0), tmp_path / "my-case.yaml").read_text()
    assert "# The price of the named model. Cheaper models of equal quality" in text
    assert "{figure: growth.saas}" in text
    assert "what if: times 2" in text
    assert "on_demand_quote" not in text


def test_a_chosen_api_model_is_the_one_candidate_of_its_arm(tmp_path):
    path, chosen = paths.params("default.yaml"), "novita-llama-3.1-70b"
    study = load(save(path, Changes(api_route=chosen), tmp_path / "my-case.yaml"))
    as_shipped = load(path).workloads["extraction"].candidates
    others = tuple(route for route in as_shipped if route != "novita-gpt-oss-120b")
    assert study.workloads["extraction"].candidates == others
    twin = path.read_text().replace(
        "candidates: [groq-llama-3.1-8b,", f"candidates: [groq-llama-3.1-8b, {chosen},"
    )
    file = tmp_path / "twin.yaml"
    file.write_text(twin)
    kept = load(save(file, Changes(api_route=chosen), tmp_path / "my-case.yaml"))
    assert "groq-llama-3.1-8b" not in kept.workloads["classification"].candidates
    assert chosen in kept.workloads["classification"].candidates
    assert "groq-llama-3.1-8b" not in kept.workloads["classification"].quality.evidence


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (Changes(margin=-0.03), "margin is 0 share"),
        (Changes(volume=1e7), "requests ranges to"),
        (Changes(growth=1.0), "growth"),
    ],
)
def test_a_value_out_of_range_is_refused_and_nothing_is_written(changes, said, tmp_path):
    file = tmp_path / "my-case.yaml"
    with pytest.raises(ValueError, match=r"not saved: .*my-case\.yaml") as refused:
        save(paths.params("default.yaml"), changes, file)
    assert said in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_refused_case_leaves_the_saved_one_as_it_is(tmp_path):
    file = save(paths.params("default.yaml"), Changes(volume=2.0), tmp_path / "my-case.yaml")
    before = file.read_text()
    with pytest.raises(ValueError, match="not saved"):
        save(paths.params("default.yaml"), Changes(margin=-0.5), file)
    assert file.read_text() == before


def test_a_volume_that_a_log_measures_is_not_overwritten_by_a_file(tmp_path):
    (tmp_path / "log.csv").write_text("anything")
    study = tmp_path / "logged.yaml"
    text = paths.params("default.yaml").read_text()
    study.write_text(text.replace("\nteam:", "\nrequests: {path: log.csv, format: csv}\n\nteam:"))
    with pytest.raises(ValueError, match=r"takes its volume from the log log\.csv"):
        save(study, Changes(volume=2.0), tmp_path / "my-case.yaml")
    elsewhere = tmp_path / "cases"
    elsewhere.mkdir()
    kept = load(save(study, Changes(growth=0.01), elsewhere / "my-case.yaml"))
    assert kept.requests.path.resolve() == (tmp_path / "log.csv").resolve()
