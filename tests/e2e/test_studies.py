"""The whole way, as a user goes it: every study that ships, through papermill, to its memo."""

import html
import json
import re
from dataclasses import replace

import nbformat
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from llmstudy import paths
from llmstudy.cli import app
from llmstudy.compare.runs import compared
from llmstudy.memo import lint
from llmstudy.memo.render import external_references
from llmstudy.requests.files import log_sha256
from llmstudy.run import CHAPTERS, run_study
from llmstudy.run.record import Results, read_run
from llmstudy.study import Log

STUDIES = ("default", "source_memo", "regulated", "hyperscale")


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_that_ships_ends_in_a_memo(run_of, name):
    result = run_of(name)
    for key in ("memo", "index", "results", "figures", "provenance"):
        assert result.paths[key].stat().st_size > 0
    for chapter in CHAPTERS:
        assert (result.folder / f"{chapter}.html").is_file()


@pytest.mark.parametrize("name", STUDIES)
def test_results_follow_the_schema_and_hold_no_nan(run_of, name):
    text = run_of(name).paths["results"].read_text()
    assert not re.search(r"NaN|Infinity", text)
    Results.model_validate(json.loads(text))


@pytest.mark.parametrize("name", STUDIES)
def test_the_memo_needs_nothing_from_outside_and_describes_every_picture(run_of, name):
    page = run_of(name).paths["memo"].read_text()
    assert external_references(page) == []
    pictures = re.findall(r"<img\b[^>]*>", page)
    assert pictures
    assert all(re.search(r'alt="[^"]{20,}"', tag) for tag in pictures)


@pytest.mark.parametrize("name", STUDIES)
def test_next_steps_lead_to_the_gateways_files_which_the_index_lists(run_of, name):
    result = run_of(name)
    linked = re.findall(r'<a href="(gateway/[^"]+)"', result.paths["memo"].read_text())
    assert "gateway/phase-1/config.yaml" in linked
    assert all((result.folder / path).is_file() for path in linked)
    files = {f.relative_to(result.folder).as_posix() for f in result.folder.glob("gateway/**/*.*")}
    listed = re.findall(r'<a href="(gateway/[^"]+)"', result.paths["index"].read_text())
    assert set(listed) == files >= set(linked)


@pytest.mark.parametrize("name", STUDIES)
def test_the_memo_keeps_its_budget(run_of, name):
    assert lint.length_faults(run_of(name).paths["memo"].read_text()) == []
    pages = json.loads(run_of(name).paths["provenance"].read_text())["memo_pages"]
    assert pages is None or pages <= lint.MEMO_PAGES + lint.APPENDIX_PAGES


@pytest.mark.parametrize("name", STUDIES)
def test_every_kept_output_is_in_the_chapter_page(run_of, name):
    folder = run_of(name).folder
    for chapter in CHAPTERS:
        page = (folder / ("memo.html" if chapter == "08_memo" else f"{chapter}.html")).read_text()
        plain = _words(page)
        notebook = nbformat.read(folder / "notebooks" / f"{chapter}.ipynb", as_version=4)
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                if "image/svg+xml" in data:
                    alt = output["metadata"]["image/svg+xml"]["alt"]
                    assert html.escape(alt, quote=True)[:80] in page or alt[:80] in page
                elif "text/html" in data:
                    assert _words(data["text/html"]) in plain


def _words(page):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_the_source_memos_case_comes_out_api_first_with_armed_triggers(run_of):
    found = Results.model_validate_json(run_of("source_memo").paths["results"].read_text())
    assert found.verdict.overall == "api_first"
    assert not [t for t in found.triggers if t.status == "fired"]
    assert {t.id for t in found.triggers if t.status == "armed"} >= {"G1", "G4"}
    assert len(found.collect_first) >= 6


def test_health_data_stays_with_a_contract(run_of):
    found = Results.model_validate_json(run_of("regulated").paths["results"].read_text())
    for verdict in found.verdict.workloads.values():
        assert verdict.arm == "self_hosted" or verdict.contract.startswith("BAA until")
    moved = found.verdict.workloads["patient-messages"]
    assert (moved.decision, moved.route) == ("move", "azure-gpt-4o")


def test_hyperscale_moves_where_the_figures_support_it_and_only_there(run_of):
    found = Results.model_validate_json(run_of("hyperscale").paths["results"].read_text())
    verdicts = found.verdict.workloads
    assert found.verdict.overall == "hybrid"
    assert verdicts["homework-help"].decision == "move"
    assert verdicts["homework-help"].arm in ("hosted_open", "self_hosted")
    assert verdicts["code-tutor"].decision == "undecided"
    assert verdicts["code-tutor"].route == "openai-gpt-4o"


def test_simulated_requests_are_marked_in_memo_and_chapters(run_of):
    folder = run_of("default").folder
    for page in ("memo.html", "01_evidence.html", "06_crossover.html"):
        assert "simulated from published figures" in (folder / page).read_text()


@pytest.mark.shared
def test_a_second_run_says_what_has_changed_since_the_first(run_of, tmp_path):
    first = run_of("source_memo").folder
    second = run_study(
        paths.params("source_memo.yaml"), tmp_path, progress=False, previous=first
    ).folder
    assert (second / "results" / "diff.json").is_file()
    assert "The recommendation is that of the memo of" in (second / "memo.html").read_text("utf-8")


def log_after_the_run(file, requests_a_day, away_share=0.0):
    """Two weeks of a log from the day after the run of the source memo's case, in 3,000 rows."""
    rng, n = np.random.default_rng(1), 3_000
    each = requests_a_day * 14 // n
    log = pd.DataFrame(
        {
            "ts_start": pd.Timestamp("2026-11-24", tz="UTC")
            + pd.to_timedelta(np.sort(rng.integers(0, 14 * 86_400_000_000, n)), unit="us"),
            "workload": "product",
            "provider": "openai",
            "model_requested": "product",
            "model_served": np.where(rng.permutation(n) < away_share * n, "gpt-4-turbo", "gpt-4o"),
            "n_requests": each,
            "input_tokens": 1_155 * each,
            "cached_input_tokens": 231 * each,
            "output_tokens": 211 * each,
            "ttft_s": 0.5,
            "latency_s": 3.0,
            "ok": True,
        }
    )
    log.to_csv(file, index=False)


def checked(run, log):
    study = str(paths.params("source_memo.yaml"))
    options = ["--log", str(log), "--run", str(run), "--on", "2026-12-09"]
    done = CliRunner().invoke(app, ["check", study, *options, "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_check_holds_a_new_log_against_the_last_run(run_of, tmp_path):
    run = run_of("source_memo").folder
    log_after_the_run(tmp_path / "calm.csv", 30_000)
    code, found = checked(run, tmp_path / "calm.csv")
    (row,) = found["forecast"]
    assert (code, found["stale"]) == (0, [])
    assert (row["days"], row["first"], row["last"]) == (14, "2026-11-24", "2026-12-07")
    assert (row["month_usd"]["verdict"], row["broke"]) == ("as forecast", None)
    # gpt-4o at the list price: 2.5 and 1.25 USD for input, 10 for output
    by_hand = 30_000 * 365 / 12 * (924 * 2.5 + 231 * 1.25 + 211 * 10) / 1e6
    assert row["month_usd"]["actual"] == pytest.approx(by_hand, rel=1e-3)
    assert ", as forecast: " in row["sentences"][0]


def test_check_names_what_broke_the_forecast_and_the_run_is_stale(run_of, tmp_path):
    run = run_of("source_memo").folder
    log_after_the_run(tmp_path / "busy.csv", 6_000_000, away_share=0.12)
    code, found = checked(run, tmp_path / "busy.csv")
    (row,), (stale,) = found["forecast"], found["stale"]
    assert (code, stale["what"]) == (4, "the forecast of product")
    assert "above what the last run forecast, most of all through the number" in stale["sentence"]
    month, parts = row["month_usd"], {part["driver"]: part["usd"] for part in row["parts"]}
    assert row["broke"] == max(parts, key=parts.get) == "volume"
    assert sum(parts.values()) == pytest.approx(month["actual"] - month["p50"])
    # gpt-4-turbo: 10 and 30 USD, with no price of its own for cached input
    more = 6e6 * 365 / 12 * 0.12 * (1155 * 10 - 924 * 2.5 - 231 * 1.25 + 211 * 20) / 1e6
    assert row["fallback"]["month_usd"] == pytest.approx(more, rel=1e-3)
    assert "were answered by gpt-4-turbo, which cost USD" in row["sentences"][-1]


def test_the_next_run_says_how_the_last_forecast_did(run_of, tmp_path):
    then, log = read_run(run_of("source_memo").folder), tmp_path / "log.csv"
    log_after_the_run(log, 6_000_000, away_share=0.12)
    study = then.study.model_copy(update={"requests": Log(path=log)})
    made_of = then.made_of | {"log_sha256": log_sha256(log)}
    now = replace(then, run_id="later", study=study, made_of=made_of)
    first, second = compared(then, now)["since"]["sentences"]
    assert first.startswith("By the log 0 of 1 logged workloads cost what the last memo forecast;")
    assert "through the number of requests (+USD" in first
    assert second == "12 % of product was answered by gpt-4-turbo, not by its route."


def test_a_real_log_of_an_hour_is_measured_and_said_to_be_too_short(tmp_path):
    trace = paths.ROOT.parent / "shared" / "traces" / "AzureLLMInferenceTrace_conv.csv"
    if not trace.is_file():
        pytest.skip("the Azure 2023 conversation trace is not beside this checkout")
    text = paths.params("source_memo.yaml").read_text()
    section = (
        f"requests: {{path: {trace}, format: azure, workload: product, "
        "provider: openai, model: gpt-4o}\n"
    )
    study = tmp_path / "logged.yaml"
    study.write_text(text.replace("study: source_memo\n", "study: logged\n") + section)
    result = run_study(study, tmp_path / "out", progress=False)
    tables = json.loads((result.folder / "results" / "01_evidence.json").read_text())
    assert tables["log"] == {
        "rows_read": 19_366,
        "rows_accepted": 19_366,
        "rows_quarantined": 0,
        "rows_lost": 0,
        "reasons": {},
    }
    chat = next(row for row in tables["workloads"] if row["workload"] == "product")
    assert chat["tokens_grade"] == chat["volume_grade"] == chat["traffic"] == "measured"
    assert chat["input_tokens"] == pytest.approx(1155, abs=1)
    assert "cannot size a fleet" in result.paths["memo"].read_text()
    figures = pd.read_csv(result.paths["figures"])
    growth = figures.set_index("name").loc["workloads.product.growth"]
    assert growth["grade"] == "assumed"
