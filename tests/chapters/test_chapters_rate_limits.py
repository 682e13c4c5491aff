"""Rate limits of a study's routes, and what its verdict asks for."""

from functools import partial

import numpy as np
import pytest

from llmstudy.chapters import cost as of_study
from llmstudy.chapters.cost import NOT_STATED, rate_limit_rows
from llmstudy.decide.routes import higher_tiers
from llmstudy.evidence.case import open_case
from llmstudy.figure import Figure
from llmstudy.study import RateLimit, load

ROUTE, OTHER = "openai-gpt-4o", "novita-llama-3.1-70b"


@pytest.fixture(scope="module")
def study():
    return load("params/hyperscale.yaml")


def limited(study, requests=None, tokens=None, growth=None):
    """A case of the study whose today's route lets so much through in a minute."""
    limit = RateLimit(
        requests_per_minute=requests and Figure("", requests, "requests/min"),
        tokens_per_minute=tokens and Figure("", tokens, "tokens/min"),
    )
    route = study.routes[ROUTE].model_copy(update={"rate_limit": limit})
    changed = {"routes": {**study.routes, ROUTE: route}}
    if growth is not None:
        rate = Figure("", growth, "share/month")
        changed["workloads"] = {
            name: workload.model_copy(update={"growth": rate})
            for name, workload in study.workloads.items()
        }
    return open_case(study.model_copy(update=changed))


def own(rows, name="homework-help"):
    return [row for row in rows if (row["workload"], row["route"]) == (name, ROUTE)]


def test_without_a_stated_limit_nothing_is_compared():
    assert rate_limit_rows(open_case(load("params/source_memo.yaml"))) == []


def test_a_limit_that_nobody_stated_is_listed_as_such_and_asks_for_nothing(study):
    rows = rate_limit_rows(limited(study, requests=1e9))
    (row,) = [r for r in rows if (r["workload"], r["route"]) == ("homework-help", OTHER)]
    assert row["counted"] == NOT_STATED
    assert {row[key] for key in row if key not in ("workload", "route", "counted", "beside")} == {
        None
    }
    assert higher_tiers(rows, "homework-help", [OTHER, None]) == []


def test_the_busiest_minute_is_above_the_peak_hour_of_all_workloads_on_the_route(study):
    (row,) = own(rate_limit_rows(limited(study, requests=1e9)))
    intakes = [workload.intake for workload in study.workloads.values()]
    peak = sum(i.requests.value * i.peak_to_mean.value / (730 * 60) for i in intakes)
    assert 1.1 * peak < row["busiest_p50"] < 2 * peak
    assert row["beside"] == "school-reports, code-tutor"
    assert (row["p_reached_today"], row["from_month_p50"]) == (0.0, None)


def test_a_limit_is_reached_when_growth_has_used_up_the_room_to_it(study):
    """Growth of 5 % a month, and twice today's busiest minute: about ln 2 / ln 1.05 months on."""
    (now,) = own(rate_limit_rows(limited(study, requests=1e9, growth=0.05)))
    (row,) = own(rate_limit_rows(limited(study, requests=2 * now["busiest_p50"], growth=0.05)))
    months = np.log(2) / np.log(1.05)
    assert row["from_month_p50"] == pytest.approx(1 + months, abs=3)
    assert row["from_month_p10"] < row["from_month_p50"] < row["from_month_p90"]
    (asked, reason), *others = higher_tiers([row], "homework-help", [ROUTE, ROUTE])
    assert not others
    assert f"before month {row['from_month_p10']:.0f}" in asked.sentence
    assert "asks for 50 % of the" in reason.sentence


def test_a_limit_that_is_reached_already_is_to_be_raised_now(study):
    rows = rate_limit_rows(limited(study, requests=1000.0, tokens=1e12))
    requests, tokens = own(rows)
    assert (requests["p_reached_today"], requests["from_month_p50"]) == (1.0, 1.0)
    assert (tokens["p_reached_today"], tokens["from_month_p10"]) == (0.0, None)
    ((asked, reason),) = higher_tiers(rows, "homework-help", [ROUTE])
    assert asked.sentence == f"{ROUTE}: ask for a higher tier now"
    assert reason.sentence.endswith("of the 1,000 requests a minute that are let through")


def test_of_two_limits_the_one_that_is_reached_first_is_told():
    row = {"workload": "chat", "route": ROUTE, "busiest_p50": 50.0, "per_minute": 100.0}
    rows = [
        {**row, "counted": "requests", "from_month_p10": 9.0},
        {**row, "counted": "tokens", "from_month_p10": 4.0},
    ]
    ((asked, reason),) = higher_tiers(rows, "chat", [ROUTE])
    assert "before month 4" in asked.sentence
    assert "tokens a minute" in reason.sentence


def test_prompts_that_grow_use_up_tokens_but_no_requests(study):
    case = limited(study, requests=1e9, tokens=1e12, growth=0.0)
    of_log = partial(of_study._irregularity, case)
    ratio = {
        counted: np.median(asked[:, -1] / asked[:, 0])
        for counted in ("requests", "tokens")
        for asked in [of_study._busiest(case, of_log, "homework-help", ROUTE, counted)]
    }
    assert ratio["requests"] == pytest.approx(1.0, abs=0.02)
    assert ratio["tokens"] > 1.02
