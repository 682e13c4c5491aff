"""Exports on the real gateway: all studies verify, and what is tampered with does not."""

import json
from pathlib import Path

import pytest

from llmstudy.export.check import read_config
from llmstudy.export.drill import drill, limits_of
from llmstudy.export.gateway import export_gateway
from llmstudy.export.source import Decision
from llmstudy.export.verify import verify

STUDIES = ("default", "hyperscale", "regulated", "source_memo")


@pytest.fixture(scope="session")
def exported(assessed, tmp_path_factory):
    def of(name):
        assessment = assessed(name)
        folder = tmp_path_factory.mktemp(name)
        export_gateway(Decision(assessment.case.study, assessment.results, name), folder)
        return folder

    return of


@pytest.mark.parametrize("name", STUDIES)
def test_every_request_of_an_exported_study_is_accounted_for(exported, name, tmp_path):
    seen = verify(exported(name))
    assert seen.faults == ()
    table = seen.table
    parts = table[["by_primary", "by_fallback", "failed", "truncated"]].sum(axis=1)
    assert (parts == table["requests"]).all()
    seen_once = ~((table["fault"] == "empty") & table["streamed"])
    assert (table.loc[seen_once, "without_log_row"] == 0).all()
    cut = table[table["fault"].isin(["cut", "clean end", "empty"]) & table["streamed"]]
    # a busy machine may be late with a first token, which another upstream then answers
    assert (cut["by_primary"] == 0).all()
    assert (cut["truncated"] > 0.5 * cut["requests"]).all()
    healed = table[table["fault"] == "recovered"]
    assert (healed["by_primary"] == healed["requests"]).all()


# --- the cases that bit users of gateways, beside the checkout -----------------------------------


def laid_over(base, case):
    """The base's mappings with those of a case merged in; lists are replaced."""
    merged = dict(base)
    for key, value in case.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = laid_over(base[key], value) if both else value
    return merged


@pytest.fixture
def drilled(shared, exported, gateway_python, tmp_path):
    """Drills a case as it stands, its cooldown mended unless the case is about it."""
    cases = shared / "fixtures/field/gateway"
    rows = (exported("default") / "phase-1" / "log_rows.py").read_text()
    callback = tmp_path / "cb.py"
    callback.write_text(f"{rows}\nh = handler\n")

    def run(case):
        config = read_config(cases / "00-base.yaml")
        config["router_settings"]["cooldown_time"] = 13  # of 5 no hang can trip it
        if case != "00-base":
            config = laid_over(config, read_config(cases / f"{case}.yaml"))
        return drill(config, [callback], gateway_python)

    return run


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("00-base", None),
        ("01-midstream-cut", None),
        ("03-cooldown-window", "hang, in one piece: it never cools down"),
        ("04-retry-backoff", "was tried 3 times for one request"),
        ("07-alias-fallback", "requests were not answered"),
        ("08-unknown-keys", "stream_timeot: sent to the upstreams"),
        ("10-zero-price", "would be logged as free"),
    ],
)
def test_the_drill_alone_names_the_fault_of_a_case(drilled, case, words):
    seen = drilled(case)
    if words is None:
        assert seen.faults == ()
        assert any("were lost (100%)" in limit for limit in limits_of(seen.table))
    else:
        assert any(words in fault for fault in seen.faults), seen.faults


def test_prices_that_the_plan_does_not_have_stop_the_start(exported):
    folder = Path(exported("default"))
    plan = json.loads((folder / "plan.json").read_text())
    alias = next(iter(plan["phases"]["1"]["aliases"].values()))
    alias["deployments"][0]["input_usd_per_token"] *= 2
    (folder / "plan.json").write_text(json.dumps(plan))
    seen = verify(folder)
    assert not seen.drilled
    assert any("input_cost_per_token" in fault for fault in seen.faults)
