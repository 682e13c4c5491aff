"""Whether the difference of two runs adds up, and says what changed and nothing else."""

import json
import random
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from llmstudy import io, paths, study
from llmstudy.cli import app
from llmstudy.compare.diff import DATA_AND_CODE, Run, attributed, diff, headline_of, uncounted_looks
from llmstudy.run.record import read_run
from llmstudy.study.snapshot import blended, changed_inputs, from_json, leaves, to_json

SHIPPED = ("default", "hyperscale", "regulated", "source_memo")


@pytest.fixture(scope="module")
def studies():
    return {name: study.load(paths.params(f"{name}.yaml")) for name in SHIPPED}


@pytest.fixture(scope="module")
def default(studies):
    return studies["default"]


def scaled(of, name, key, factor):
    """The study with one figure of a workload's intake, and its range, times a factor."""
    workload = of.workloads[name]
    figure = getattr(workload.intake, key)
    ends = {end: getattr(figure, end) * factor for end in ("value", "low", "high")}
    intake = workload.intake.model_copy(update={key: replace(figure, **ends)})
    changed = workload.model_copy(update={"intake": intake})
    return of.model_copy(update={"workloads": of.workloads | {name: changed}})


# --- a study kept, and two of them mixed ----------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_a_study_that_was_kept_is_the_same_study(studies, name):
    plain = json.loads(io.dumps(to_json(studies[name])))
    assert leaves(from_json(plain)) == leaves(studies[name])


def test_what_is_kept_names_no_folder(default):
    log = study.Log(path=Path("/srv/secret/log.csv"), format="csv")
    text = io.dumps(to_json(default.model_copy(update={"requests": log})))
    assert "log.csv" in text
    assert "secret" not in text


def test_a_study_of_another_form_is_refused_by_the_place(default):
    plain = to_json(default)
    del plain["team"]
    with pytest.raises(ValueError, match=r"an unknown form at team: .* another version"):
        from_json(plain)


def test_a_mixture_of_all_is_the_second_study_and_of_none_the_first(studies):
    then, now = studies["default"], studies["regulated"]
    found = changed_inputs(then, now)
    assert changed_inputs(blended(then, now, frozenset(found)), now) == []
    assert changed_inputs(blended(then, now, frozenset()), then) == []


def test_every_mixture_is_a_study_that_differs_in_nothing_but_what_was_taken(studies):
    rng = random.Random(1)
    for first, second in permutations(SHIPPED, 2):
        then, now = studies[first], studies[second]
        found = changed_inputs(then, now)
        for _ in range(4):
            taken = frozenset(rng.sample(found, rng.randrange(len(found) + 1)))
            mixed = blended(then, now, taken)
            assert set(changed_inputs(then, mixed)) == taken
            assert set(changed_inputs(mixed, now)) == set(found) - taken


def test_another_source_is_no_change_of_an_input_and_a_log_changes_as_one(default):
    renamed = default.model_copy(
        update={"horizon": replace(default.horizon, source="board", as_of=default.as_of)}
    )
    assert changed_inputs(default, renamed) == []
    logged = default
    for key in ("requests", "input_tokens"):
        logged = scaled(logged, "extraction", key, 1.1)
        intake = logged.workloads["extraction"].intake
        said = replace(getattr(intake, key), source="log: 9 requests", grade="measured")
        workload = logged.workloads["extraction"].model_copy(
            update={"intake": intake.model_copy(update={key: said})}
        )
        logged = logged.model_copy(
            update={"workloads": logged.workloads | {"extraction": workload}}
        )
    assert changed_inputs(default, logged) == ["the log of extraction"]


# --- which input moved the headline ---------------------------------------------------------


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=14), st.floats(-2, 2))
def test_the_parts_add_up_to_the_whole_however_many_inputs_changed(moves, together):
    names = [f"x{i}" for i in range(len(moves))]

    def value(taken):
        alone = sum(move for name, move in zip(names, moves, strict=True) if name in taken)
        return alone + together * len(taken) ** 2

    method, moved = attributed(value, names)
    assert sum(moved.values()) == pytest.approx(value(frozenset(names)) - value(frozenset()))
    assert method == ("shapley" if len(names) <= 10 else "one at a time")


def test_of_more_than_ten_inputs_the_ten_that_move_most_are_named():
    names = [f"x{i:02d}" for i in range(12)]
    _, moved = attributed(lambda taken: sum(int(name[1:]) for name in taken), names)
    assert list(moved) == [*reversed(names[2:]), "2 more, and all of them together"]
    assert moved["2 more, and all of them together"] == 1


# --- runs -----------------------------------------------------------------------------------


def run_of(of, amount_usd, run_id="1", **changes):
    """A run made by hand, which stays everywhere at a given cost."""
    workloads = {
        name: {"decision": "stay", "route": w.current_route, "target": None}
        for name, w in of.workloads.items()
    }
    results = {
        "study": of.study,
        "as_of": of.as_of.isoformat(),
        "verdict": {"workloads": workloads},
        "saving_usd": None,
        "at_stake_usd": None,
        "stay_usd": dict.fromkeys(("p10", "p50", "p90"), amount_usd),
        "triggers": [],
    }
    figures = [{**figure.row(), "name": name} for name, figure in of.figures().items()]
    chapters = {
        "01_evidence": {"figures": io.plain(figures), "study": to_json(of)},
        "02_cost": {"offers": {}},
        "03_latency": {"latency": [], "probes": []},
        "05_self_hosting": {"figures": [], "offers": {}},
        "06_crossover": {"month_usd": {"today_by_workload": dict.fromkeys(workloads, 1.0)}},
    }
    made_of = {"package": "1", "run_id": run_id}
    run = Run(run_id, results, chapters, made_of, of)
    return replace(run, **changes)


def tokens(of, kind):
    """A bill that is a product of two inputs: USD 1 for a million tokens of one workload."""
    intake = of.workloads["extraction"].intake
    return intake.requests.value * intake.input_tokens.value / 1e6


def test_two_inputs_of_a_product_share_its_move_as_on_paper(default):
    later = scaled(scaled(default, "extraction", "requests", 1.5), "extraction", "input_tokens", 2)
    then, now = run_of(default, tokens(default, "")), run_of(later, tokens(later, ""), "2")
    found = diff(then, now, tokens)
    bill = tokens(default, "")
    # each before and after the other: requests +0.5 x (1 + 2) / 2, tokens +1 x (1 + 1.5) / 2
    by_hand = {"input_tokens": 1.25 * bill, "requests": 0.75 * bill}
    assert found["attribution"]["method"] == "shapley"
    assert {
        row["input"].removeprefix("workloads.extraction.intake."): row["moved_usd"]
        for row in found["attribution"]["inputs"]
    } == pytest.approx(by_hand)
    assert found["headline"]["moved_usd"] == pytest.approx(2 * bill)


@settings(max_examples=12, deadline=None)
@given(st.floats(-1e6, 1e6))
def test_what_no_replay_brings_back_is_data_and_code(default, shift):
    """The later run paid so much more than its own inputs explain."""
    later = scaled(default, "extraction", "requests", 1.5)
    bill, more = tokens(default, ""), tokens(later, "")
    found = diff(run_of(default, bill), run_of(later, more + shift), tokens)
    moved = {row["input"]: row["moved_usd"] for row in found["attribution"]["inputs"]}
    assert moved["workloads.extraction.intake.requests"] == pytest.approx(more - bill)
    assert moved.get(DATA_AND_CODE, 0.0) == pytest.approx(shift, abs=1e-3)
    assert sum(moved.values()) == pytest.approx(found["headline"]["moved_usd"], abs=1e-3)


def test_two_runs_of_the_same_differ_in_nothing(default):
    found = diff(run_of(default, 5.0), run_of(default, 5.0, "2"), lambda of, kind: 5.0)
    assert found["same_recommendation"]
    assert found["headline"]["moved_usd"] == 0
    assert found["attribution"]["inputs"] == []
    assert [found[key] for key in ("assumptions", "triggers", "made_of")] == [[], [], []]


def test_a_changed_assumption_is_shown_from_and_to(default):
    later = scaled(default, "extraction", "requests", 1.5)
    (row,) = diff(run_of(default, 1.0), run_of(later, 1.0), tokens)["assumptions"]
    assert row["name"] == "workloads.extraction.intake.requests"
    assert (row["then"]["value"], row["now"]["value"]) == (2.4e6, 3.6e6)
    assert row["then"]["grade"] == "assumed"


def test_a_move_that_is_recommended_now_is_compared_with_none_then(default):
    later = run_of(default, 9.0, "2")
    verdict = {"decision": "move", "route": "novita", "target": "novita"}
    later.results["verdict"]["workloads"]["extraction"] = verdict
    later.results["saving_usd"] = {"p10": 1.0, "p50": 4.0, "p90": 6.0}
    found = diff(run_of(default, 9.0), later, None, "nothing to replay")
    assert not found["same_recommendation"]
    assert [row["workload"] for row in found["recommendation"] if row["changed"]] == ["extraction"]
    headline = found["headline"]
    assert (headline["kind"], headline["then_usd"], headline["now_usd"]) == ("saving", 0.0, 4.0)
    assert found["attribution"]["why_not"] == "nothing to replay"


def test_a_headline_of_a_workload_without_a_bill_is_not_stated(default):
    run = run_of(default, 9.0)
    run.chapters["06_crossover"]["month_usd"]["today_by_workload"].pop("extraction")
    assert headline_of(run) is None
    found = diff(run, run_of(default, 9.0), tokens)
    assert found["headline"]["moved_usd"] is None
    assert "cannot be stated" in found["attribution"]["why_not"]


def test_triggers_and_files_that_changed_are_named(default):
    def watched(status, sha):
        run = run_of(default, 9.0, made_of={"package": "1", "data_sha256": {"gpu_prices.csv": sha}})
        row = {"workload": "extraction", "id": "G4", "name": "vendor", "status": status}
        run.results["triggers"].append(row)
        return run

    found = diff(watched("armed", "aa"), watched("fired", "bb"), tokens)
    assert found["triggers"] == [
        {"workload": "extraction", "id": "G4", "name": "vendor", "then": "armed", "now": "fired"}
    ]
    assert found["made_of"] == [{"what": "data/gpu_prices.csv", "then": "aa", "now": "bb"}]


def judged(of, counts, looks):
    """The study with own items of the open model on extraction."""
    workload = of.workloads["extraction"]
    own = {"counts": counts, "looks": looks, "source": "by hand", "as_of": of.as_of}
    evidence = {
        route: given.model_copy(update=own) for route, given in workload.quality.evidence.items()
    }
    asked = workload.quality.model_copy(update={"evidence": evidence})
    changed = workload.model_copy(update={"quality": asked})
    return of.model_copy(update={"workloads": of.workloads | {"extraction": changed}})


FEW, MORE = (80, 2, 2, 16), (160, 5, 3, 32)


@pytest.mark.parametrize(
    ("then", "now", "mended"),
    [
        ((FEW, 0), (MORE, 0), 1),  # items were added, and are tested as if for the first time
        ((FEW, 1), (MORE, 1), 2),
        ((FEW, 1), (MORE, 0), 2),
        ((FEW, 1), (FEW, 0), 1),  # a look is forgotten
        ((FEW, 0), (MORE, 1), None),
        ((FEW, 1), (FEW, 1), None),
        ((FEW, 0), (FEW, 3), None),  # stricter than it need be
        (None, (MORE, 0), None),  # the first items of one's own
        ((FEW, 0), None, None),
    ],
)
def test_items_judged_again_without_being_counted_are_named_with_the_looks_to_write(
    default, then, now, mended
):
    before, after = (judged(default, *own) if own else default for own in (then, now))
    found = diff(run_of(before, 1.0), run_of(after, 1.0, "2"), tokens)["looks"]
    assert found == uncounted_looks(before, after)
    # two routes to one model are one comparison
    assert len(found) == (mended is not None)
    if mended is not None:
        assert found[0].startswith("extraction: the items of gpt-4o-2024-08-06 and Meta-Llama-3.1")
        assert f"Write looks: {mended}, or" in found[0]


def test_nothing_is_said_of_the_looks_of_a_run_whose_study_is_not_known(default):
    assert uncounted_looks(None, judged(default, MORE, 0)) == []


def test_runs_of_two_studies_are_not_compared(studies):
    with pytest.raises(ValueError, match="compare two runs of one study"):
        diff(run_of(studies["default"], 1.0), run_of(studies["hyperscale"], 1.0), None)


# --- the command ----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Writes a run as `llmstudy run` keeps it."""

    def write(run):
        home = tmp_path / run.run_id
        io.write(home / "results.json", io.dumps(run.results))
        io.write(home / "provenance.json", io.dumps(run.made_of))
        for name, found in run.chapters.items():
            io.write(home / "results" / f"{name}.json", io.dumps(found))
        return home

    return write


@pytest.fixture
def replayed(monkeypatch):
    """The bill of the product above in place of a whole replay, which tests/assess looks at."""

    class Product:
        def __init__(self, case):
            self.median_usd = tokens

    monkeypatch.setattr("llmstudy.compare.runs.Replay", Product)


def compared(*arguments):
    done = CliRunner().invoke(app, ["diff", *map(str, arguments), "--json"])

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return done, json.loads(done.stdout, parse_constant=refuse)


def test_a_run_is_read_as_it_was_kept(default, folder):
    run = run_of(default, 9.0)
    read = read_run(folder(run))
    assert leaves(read.study) == leaves(default)
    assert headline_of(read) == headline_of(run)


def test_the_command_exits_0_where_the_recommendation_stands_and_3_where_it_does_not(
    default, folder, replayed
):
    later = scaled(default, "extraction", "requests", 1.5)
    same = run_of(later, tokens(later, ""), "2")
    first = folder(run_of(default, tokens(default, "")))
    done, found = compared(first, folder(same))
    assert (done.exit_code, found["same_recommendation"]) == (0, True)
    (row,) = found["attribution"]["inputs"]
    assert row["input"] == "workloads.extraction.intake.requests"
    assert row["moved_usd"] == pytest.approx(found["headline"]["moved_usd"], rel=1e-9)
    same.results["verdict"]["workloads"]["extraction"]["decision"] = "undecided"
    done, found = compared(first, folder(replace(same, run_id="3")))
    assert (done.exit_code, found["same_recommendation"]) == (3, False)


def test_a_bill_that_came_is_held_against_the_forecast(default, folder, replayed):
    then = run_of(default, 9.0)
    bills = {"workload": None, "route": None} | dict.fromkeys(
        ("p10_usd", "p50_usd", "p90_usd"), [730.0] * 24
    )
    then.chapters["06_crossover"]["monthly_bills"] = [bills]
    invoice = study.Invoice(month="2026-12", usd=2 * 744.0, source="billing")
    update = {"invoices": (invoice,), "as_of": default.as_of.replace(year=2027, month=1)}
    later = default.model_copy(update=update)
    _, found = compared(folder(then), folder(run_of(later, 9.0, "2")))
    (month,) = found["forecast"]["months"]
    assert (month["p50_usd"], month["actual_usd"], month["inside"]) == (744.0, 1488.0, False)
    shown = CliRunner().invoke(
        app, ["diff", *(str(folder(r)) for r in (then, run_of(later, 9.0, "2")))]
    )
    assert "100 % above the forecast" in " ".join(shown.stdout.split())


def test_a_log_that_is_gone_or_was_changed_is_not_replayed(default, folder, tmp_path):
    log = tmp_path / "log.csv"
    logged = default.model_copy(update={"requests": study.Log(path=log, format="azure")})
    made_of = {"package": "1", "run_id": "2", "paths": {"log": str(log), "probes": {}}}
    now = folder(run_of(logged, 9.0, "2", made_of={**made_of, "log_sha256": "00"}))
    then = folder(run_of(default, 9.0))
    assert "is gone (log.csv)" in compared(then, now)[1]["attribution"]["why_not"]
    log.write_text("another\n")
    assert "has changed since" in compared(then, now)[1]["attribution"]["why_not"]


def test_a_folder_that_is_no_run_ends_with_exit_code_2(default, folder, tmp_path):
    done, found = compared(tmp_path, folder(run_of(default, 9.0)))
    assert done.exit_code == 2
    assert "is not a run that can be compared (results.json: No such file" in found["errors"][0]


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("results.json", b"{}", "it lacks 'study'"),
        ("results.json", b"[]", "list indices must be integers"),
        ("results.json", b"{", "line 1 column 2"),
        ("provenance.json", b"\xff", "'utf-8' codec"),
        ("results/06_crossover.json", b"{}", "it lacks 'month_usd'"),
    ],
)
def test_a_run_of_another_form_is_refused_before_it_is_compared(
    default, folder, file, content, why
):
    run = folder(run_of(default, 9.0))
    (run / file).write_bytes(content)
    with pytest.raises(ValueError, match="is not a run that can be compared") as refused:
        read_run(run)
    assert why in str(refused.value)


def test_the_terminal_says_then_now_and_what_moved_it(default, folder, replayed):
    later = scaled(default, "extraction", "requests", 1.5)
    runs = run_of(default, tokens(default, "")), run_of(later, tokens(later, ""), "2")
    shown = CliRunner().invoke(app, ["diff", *(str(folder(run)) for run in runs)])
    said = " ".join(shown.stdout.split())
    assert "Recommendation: the same" in said
    assert "workloads.extraction.intake.requests +USD 2.4k" in said
    assert "Triggers that changed: none" in said
