"""Support chat of the default study with a real log: an hour of the Azure conversation trace."""

import pytest

from llmstudy import paths
from llmstudy.study import load

pytestmark = pytest.mark.shared

EVIDENCE, COST, DECISION = "01_evidence", "02_cost", "07_triggers_and_routing"
LOG = (
    "requests: {{path: {path}, format: azure, workload: support-chat, provider: openai, "
    "model: gpt-4o}}\nteam:\n"
)


@pytest.fixture(scope="module")
def logged(assess, shared, tmp_path_factory):
    trace = shared / "traces" / "AzureLLMInferenceTrace_conv.csv"
    text = paths.params("default.yaml").read_text(encoding="utf-8")
    text = text[: text.index("  extraction:\n")]  # one workload with a log and one without
    study = tmp_path_factory.mktemp("logged") / "default.yaml"
    study.write_text(text.replace("team:\n", LOG.format(path=trace), 1), encoding="utf-8")
    return assess(load(study))


def test_its_tokens_are_measured_and_are_the_published_means(logged):
    row = logged.row(EVIDENCE, "workloads", workload="support-chat")
    assert round(row["input_tokens"]) == 1155
    assert round(row["output_tokens"]) == 211
    assert (row["tokens_grade"], row["traffic"]) == ("measured", "measured")
    other = logged.row(EVIDENCE, "workloads", workload="classification")
    assert (other["tokens_grade"], other["traffic"]) == ("assumed", "simulated")


def test_every_row_is_read_and_its_rate_is_the_traces(logged):
    log = logged.results[EVIDENCE]["log"]
    assert (log["rows_read"], log["rows_accepted"], log["rows_quarantined"]) == (19_366, 19_366, 0)
    row = logged.row(EVIDENCE, "workloads", workload="support-chat")
    # 19,366 requests from 18:15:46 to 19:14:08
    assert row["requests_per_month"] == pytest.approx(19_366 / (58.37 / 60) * 730, rel=0.002)


def test_an_hour_of_log_cannot_size_a_fleet_and_the_memo_is_warned(logged):
    [warning] = [w for w in logged.results[EVIDENCE]["warnings"] if "cannot size a fleet" in w]
    assert "1.0 hours of log for support-chat" in warning
    requests = logged.case.study.workloads["support-chat"].intake.requests
    assert requests.high / requests.low > 2
    assert "hours of the week unknown" in requests.source


def test_an_hour_of_log_fires_no_utilisation_trigger(logged):
    trigger = logged.row(DECISION, "triggers", id="G1", workload="support-chat")
    assert trigger["value"] > trigger["threshold"]
    assert (trigger["status"], trigger["grade"]) == ("pending", "assumed")


def test_the_logs_own_requests_are_what_is_priced(logged):
    bill = logged.row(COST, "bills", workload="support-chat", current=True)
    row = logged.row(EVIDENCE, "workloads", workload="support-chat")
    cached = logged.case.study.workloads["support-chat"].cached_input_share.value
    by_hand = row["input_tokens"] * (2.50 - 1.25 * cached) + row["output_tokens"] * 10
    assert bill["usd_per_request"] == pytest.approx(by_hand / 1e6 * 1.02, rel=1e-3)


def test_what_the_log_does_not_say_of_the_cache_the_study_does_and_the_memo_is_told(logged):
    [warning] = [w for w in logged.results[EVIDENCE]["warnings"] if "cache" in w]
    assert "the study's own share stands in" in warning
    assert logged.case.study.workloads["support-chat"].cached_input_share.grade == "assumed"


def test_the_log_is_summed_up_by_workload_and_without_tenants_by_nothing_else(logged):
    (group,) = logged.results[EVIDENCE]["request_groups"]
    assert (group["workload"], group["tenant"], group["requests"]) == (
        "support-chat",
        "all",
        19_366,
    )
    (behaviour,) = logged.results[EVIDENCE]["request_behaviour"]
    assert behaviour["peak_to_mean_1min"] > 1
    assert behaviour["growth_per_month"] is behaviour["tenant_share_largest"] is None
    (row,) = logged.results[EVIDENCE]["reconciliation"]
    assert (row["against"], row["kind"], row["requests"]) == ("log", "not logged", 19_366)
