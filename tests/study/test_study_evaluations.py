import numpy as np
import pandas as pd
import pytest

from llmstudy import paths
from llmstudy.chapters.quality import doubts, protected_slices, quality_verdicts
from llmstudy.run.provenance import made_of
from llmstudy.simulate.quality import counts_of, repair_draws
from llmstudy.study import StudyError, load
from llmstudy.study.snapshot import from_json, to_json

BASELINE, CANDIDATE = "openai-gpt-4o", "novita-llama-3.1-70b"
GOOD, BAD = (0.86, 0.03, 0.03, 0.08), (0.7, 0.18, 0.04, 0.08)


def _scores(cells, n, seed=1, **columns):
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(np.repeat(np.arange(4), rng.multinomial(n, cells)))
    rows = {
        "item_id": np.tile(np.arange(n), 2),
        "route": np.repeat([BASELINE, CANDIDATE], n),
        "score": np.concatenate([np.isin(drawn, (0, 1)), np.isin(drawn, (0, 2))]).astype(int),
    }
    return pd.DataFrame({**rows, **columns})


@pytest.fixture
def write_study(tmp_path):
    """Writes the default study with an evaluation as the evidence on a candidate for extraction."""

    def write(scores, evidence="", quality=""):
        scores.to_csv(tmp_path / "scores.csv", index=False)
        text = paths.params("default.yaml").read_text()
        at = text.index("  extraction:\n")
        before, after = text[:at], text[at:]
        after = after.replace(
            f"{CANDIDATE}: *llama70b",
            f"{CANDIDATE}: {{evaluation: scores.csv, as_of: 2026-11-20{evidence}}}",
            1,
        ).replace("      margin: 5 pp\n", f"      margin: 5 pp\n{quality}", 1)
        file = tmp_path / "study.yaml"
        file.write_text(before + after)
        return file

    return write


def _verdict(study):
    rows = quality_verdicts(study)
    return rows[(rows["workload"] == "extraction") & (rows["route"] == CANDIDATE)].iloc[0]


@pytest.mark.parametrize(
    ("cells", "n", "verdict"),
    [(GOOD, 900, "non-inferior"), (BAD, 900, "inferior"), (GOOD, 60, "undecided")],
)
def test_the_verdict_is_that_of_the_evaluation(write_study, cells, n, verdict):
    row = _verdict(load(write_study(_scores(cells, n))))
    assert (row["verdict"], row["grade"], row["n"]) == (verdict, "measured", n)
    assert row["source"] == f"scores.csv: {n} items"


def test_the_counts_are_those_of_the_scores(write_study):
    scores = _scores(GOOD, 300)
    study = load(write_study(scores))
    evidence = study.workloads["extraction"].quality.evidence[CANDIDATE]
    today, other = (scores[scores["route"] == r]["score"].to_numpy() for r in (BASELINE, CANDIDATE))
    counts = counts_of(evidence)
    assert (counts.both, counts.only_a) == ((today & other).sum(), (today > other).sum())
    assert (evidence.model_proprietary, evidence.benchmark) == (BASELINE, "scores")


def test_a_protected_slice_that_fails_keeps_the_candidate_from_passing(write_study):
    scores = pd.concat(
        [
            _scores(GOOD, 1_500, slice="en"),
            _scores(BAD, 300, seed=2, slice="de").assign(item_id=lambda s: s["item_id"] + 9_000),
        ]
    )
    assert _verdict(load(write_study(scores)))["verdict"] == "non-inferior"
    study = load(write_study(scores, quality="      protected: [de]\n"))
    assert _verdict(study)["verdict"] == "inferior"
    (row,) = protected_slices(study).to_dict("records")
    assert (row["slice"], row["verdict"], row["n"]) == ("de", "inferior", 300)


def test_a_fault_of_the_scoring_decides_nothing_and_is_shown(write_study):
    scores = _scores(GOOD, 900)
    scores["chance"] = 0.25
    candidate = scores["route"] == CANDIDATE
    scores.loc[candidate, "score"] = (np.arange(900) % 20 == 0).astype(int)  # 5 %, below guessing
    study = load(write_study(scores))
    assert _verdict(study)["verdict"] == "undecided"
    assert "guess" in " ".join(doubts(quality_verdicts(study))["sentence"])


def test_the_names_of_the_file_may_be_others(write_study):
    scores = _scores(GOOD, 300).replace({BASELINE: "gpt", CANDIDATE: "llama"})
    with pytest.raises(StudyError, match=r"evaluation: no answers of .*it has gpt, llama|has gpt"):
        load(write_study(scores))
    names = ", model_proprietary: gpt, model_open: llama"
    assert _verdict(load(write_study(scores, names)))["n"] == 300


def test_graded_scores_are_accepted_from_the_score_that_the_study_states(write_study):
    scores = _scores(GOOD, 300)
    graded = scores.assign(score=scores["score"] * 6 + 2)
    with pytest.raises(StudyError, match="from 2 to 8"):
        load(write_study(graded))
    study = load(write_study(graded, quality="      accepted_from: 7\n"))
    assert _verdict(study)["difference"] == pytest.approx(
        _verdict(load(write_study(scores)))["difference"]
    )


@pytest.mark.parametrize(
    ("evidence", "quality", "fault"),
    [
        (", counts: [9, 1, 1, 1]", "", "leave out `counts`"),
        ("", "      protected: [fr]\n", "no items of the slice fr"),
    ],
)
def test_an_evaluation_that_cannot_be_used_is_one_sentence_with_its_line(
    write_study, evidence, quality, fault
):
    file = write_study(_scores(GOOD, 100, slice="en"), evidence, quality)
    with pytest.raises(StudyError, match=fault) as error:
        load(file)
    assert "study.yaml:" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_missing_file_is_named(write_study, tmp_path):
    file = write_study(_scores(GOOD, 100))
    (tmp_path / "scores.csv").unlink()
    with pytest.raises(StudyError, match=r"scores\.csv.*"):
        load(file)


def test_a_changed_evaluation_is_a_changed_input_of_the_run(write_study, tmp_path):
    file = write_study(_scores(GOOD, 100))
    before = made_of(file, load(file))["evaluations_sha256"]
    _scores(GOOD, 100, seed=2).to_csv(tmp_path / "scores.csv", index=False)
    assert before != made_of(file, load(file))["evaluations_sha256"]


def test_a_saved_study_has_the_counts_and_needs_no_file(write_study, tmp_path):
    study = load(write_study(_scores(GOOD, 100)))
    (tmp_path / "scores.csv").unlink()
    again = from_json(to_json(study))
    assert _verdict(again)["n"] == 100


def test_the_repair_of_a_wrong_answer_is_drawn_from_its_range(write_study):
    quality = (
        "      repair: {value: 2, unit: USD/answer, range: [1, 4], distribution: triangular,\n"
        "        source: a quarter of an hour of support, as_of: 2026-11-01, grade: assumed}\n"
    )
    study = load(write_study(_scores(GOOD, 100), quality=quality))
    draws = repair_draws(study, "extraction", 20_000)
    assert draws.mean() == pytest.approx(7 / 3, rel=0.02)
    assert repair_draws(study, "support-chat", 5) is None


def test_a_quantised_fleet_must_keep_more_than_the_margin_on_other_weights_answers():
    study = load(paths.params("hyperscale.yaml"))
    rows = quality_verdicts(study)
    from llmstudy.chapters.quality import margin_of
    from llmstudy.study import SelfHostedRoute

    fleets = [
        (row["workload"], row["route"], row["margin"])
        for row in rows.to_dict("records")
        if row["closeness"] in ("near", "far")
        and isinstance(study.routes[row["route"]], SelfHostedRoute)
        and study.routes[row["route"]].precision != "bf16"
    ]
    for name, route, margin in fleets:
        assert margin_of(study, name, route) == pytest.approx(max(margin - 0.02, 1e-6))
