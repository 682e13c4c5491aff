"""Whether the number that leads a memo, found the quick way, is the one that a run finds."""

from dataclasses import replace

import pandas as pd
import pytest

from llmstudy import paths, study
from llmstudy.answer import Replay, answer, prepare
from llmstudy.chapters.all import MEASURES, chapter_results
from llmstudy.evidence import case
from llmstudy.evidence.case import Case, open_case
from llmstudy.evidence.traffic import traffic_of
from llmstudy.figure import Figure
from llmstudy.simulate import inputs
from llmstudy.simulate.futures import portfolio_saving
from llmstudy.simulate.invoices import logged_bills, monthly_bills
from llmstudy.study.snapshot import from_json, to_json


@pytest.fixture(scope="module")
def small():
    """A study with one workload."""
    return study.load(paths.params("source_memo.yaml"))


def answer_of(of):
    """The answer of a study on tables that are made anew."""
    case = open_case(of)
    return answer(prepare(case, chapter_results(case, MEASURES)))


def test_the_quick_answer_is_that_of_the_reference_run(base, reference):
    found, decided = answer(base), reference["07_triggers_and_routing"]
    wanted = {kind: decided[kind] for kind in ("saving", "at_stake")}
    wanted["stay"] = reference["06_crossover"]["month_usd"]["horizon"]
    for kind, amount in wanted.items():
        spread = amount and {key: amount[key] for key in ("p10", "p50", "p90")}
        assert found.amounts[kind] == (spread and pytest.approx(spread, rel=1e-6))


def scaled(node, factor):
    """A block of a study with every uncertain figure, and its range, nearer to one end."""
    changes = {}
    for key in type(node).model_fields:
        figure = getattr(node, key)
        if isinstance(figure, Figure) and figure.uncertain:
            value = figure.low + factor * (figure.high - figure.low)
            changes[key] = replace(figure, name="", value=value)
    return node.model_copy(update=changes)


def test_nothing_that_the_replay_keeps_rests_on_what_it_leaves_out(small):
    """All blocks that its cache does not look at are changed, and what it kept still holds."""
    (name,) = small.workloads
    replay = Replay(open_case(small))
    kinds = ("saving", "at_stake", "stay")
    first = {kind: replay.median_usd(small, kind) for kind in kinds}
    workload = small.workloads[name]
    drifting = {"growth", "volatility", "prompt_growth", "cache_write_share"}
    other = {key: value for key, value in vars(scaled(workload, 0.2)).items() if key in drifting}
    own = small.self_hosting
    priced = ("spare_replicas", "target_utilisation", "spot_rerun")
    hosts = scaled(own, 0.2).model_copy(update={key: getattr(own, key) for key in priced})
    changed = small.model_copy(
        update={
            "workloads": {name: workload.model_copy(update=other)},
            "self_hosting": hosts,
            "team": scaled(small.team, 0.2),
            "price_drift": scaled(small.price_drift, 0.2),
            "price_paths": scaled(small.price_paths, 0.2),
            "api_use": scaled(small.api_use, 0.2),
            "moving": {arm: scaled(block, 0.2) for arm, block in small.moving.items()},
        }
    )
    anew = answer_of(changed)
    for kind in kinds:
        amount = anew.amounts[kind]
        kept = replay.median_usd(changed, kind)
        assert kept == pytest.approx(amount["p50"] if amount else 0.0, rel=1e-6)
    assert replay.median_usd(changed, "stay") != pytest.approx(first["stay"], rel=1e-3)


def test_what_each_month_is_billed_is_the_bill_of_staying_without_what_no_invoice_holds(reference):
    default = study.load(paths.params("default.yaml"))
    free = replace(default.api_use.evaluation, value=0.0, low=0.0, high=0.0)
    for_ever = replace(default.api_use.model_life, name="", value=1e9, low=None, high=None,
                       distribution="fixed")  # fmt: skip
    use = default.api_use.model_copy(
        update={"evaluation": free, "model_life": for_ever, "hosted_model_life": for_ever}
    )
    bare = default.model_copy(update={"api_use": use})
    offers = inputs.market(reference["02_cost"], reference["05_self_hosting"])
    allowed = case.permissions(bare)
    rows = monthly_bills(bare, offers, allowed[~allowed["current"] & allowed["permitted"]])
    stay = inputs.stay_draws(bare, offers)
    by_place = {(row["workload"], row["route"]): row for row in rows}
    for name, bills in stay.items():
        row = by_place[name, bare.workloads[name].current_route]
        p10, p50, p90 = (row[key] for key in ("p10_usd", "p50_usd", "p90_usd"))
        for month in (0, 11, 23):
            known = inputs.spread(bills[:, month])
            assert (p10[month], p50[month], p90[month]) == pytest.approx(tuple(known.values()))
    whole = inputs.spread(sum(stay.values())[:, 5])
    assert by_place[None, None]["p50_usd"][5] == pytest.approx(whole["p50"])


@pytest.fixture
def logged(tmp_path, small):
    """The small study with a log: a request a day, from the last of September through October."""
    log = tmp_path / "log.csv"
    days = [f"2026-10-{day:02d}T12:00:00Z" for day in range(1, 32)]
    lines = [f"{at},1000,100,0,true" for at in ["2026-09-30T12:00:00Z", *days]]
    log.write_text("at,in,out,cached,ok\n" + "\n".join(lines) + "\n", encoding="utf-8")
    columns = {
        "ts_start": "at",
        "input_tokens": "in",
        "output_tokens": "out",
        "cached_input_tokens": "cached",
        "ok": "ok",
    }
    (name,) = small.workloads
    given = study.Log(
        path=log, format="csv", columns=columns, workload=name, provider="openai", model="gpt-4o"
    )
    return small.model_copy(update={"requests": given})


@pytest.mark.parametrize("failed", [None, 1])
def test_a_whole_month_of_a_log_is_billed_by_its_tokens_at_list_price(logged, failed):
    traffic = traffic_of(logged)
    retried = pd.array([failed] * len(traffic.requests), "Int64")
    requests = traffic.requests.assign(failed_attempts=retried)
    bills = logged_bills(Case(logged, replace(traffic, logged=requests)))
    (name,) = logged.workloads
    # USD 2.50 a million tokens in, USD 10 out; September is no whole month
    assert [(bill.month, bill.workload) for bill in bills] == [("2026-10", name), ("2026-10", None)]
    for bill in bills:
        attempts = 31 * (1 + (failed or 0))
        assert bill.usd == pytest.approx(attempts * (1000 * 2.5 + 100 * 10) / 1e6)


def test_a_study_that_was_kept_with_its_logs_figures_is_replayed_on_the_log(logged):
    """As `llmstudy diff` does it: the figures stand in the study, and nothing is measured twice."""
    case = open_case(logged)
    later = from_json(to_json(case.study)).model_copy(update={"requests": logged.requests})
    replay = Replay(Case(later, traffic_of(later)))
    anew = answer_of(logged)
    unlogged = later.model_copy(update={"requests": None})  # as a mixture of two studies is
    for kind, amount in anew.amounts.items():
        assert replay.median_usd(unlogged, kind) == pytest.approx(amount["p50"] if amount else 0.0)


def test_where_nobody_has_a_fleet_the_savings_of_moves_add_up(reference):
    default = study.load(paths.params("default.yaml"))
    offers = inputs.market(reference["02_cost"], reference["05_self_hosting"])
    targets = {"support-chat": "openai-gpt-6-luna", "classification": "groq-llama-3.1-8b"}
    each = [portfolio_saving(default, offers, {name: to}) for name, to in targets.items()]
    assert portfolio_saving(default, offers, targets) == pytest.approx(sum(each))


@pytest.mark.parametrize("target_ms", [80, 100, 199])
def test_a_target_below_every_stated_best_case_leaves_no_api_favoured(target_ms):
    """The bundled claims begin at 200 ms: on every arm, and in both engines, they are out."""
    found = study.load(paths.params("default.yaml"))
    chat = found.workloads["support-chat"]
    slo = chat.slo.model_copy(update={"ttft_p95": Figure("", target_ms / 1000, "s")})
    tight = found.model_copy(
        update={"workloads": {"support-chat": chat.model_copy(update={"slo": slo})}}
    )
    case = open_case(tight)
    results = chapter_results(case, MEASURES)
    rows = results["03_latency"]["latency"]
    apis = [row for row in rows if row["arm"] != "self_hosted"]
    assert {row["verdict"] for row in apis} == {"misses"}
    verdict = answer(prepare(case, results)).workloads["support-chat"].verdict
    assert (verdict.decision, verdict.target) == ("undecided", None)
