"""What a notebook shows is the same text each time, and nothing from outside becomes markup."""

import csv
import io
import json
import re

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from llmstudy import io as llmstudy_io
from llmstudy import paths
from llmstudy.chapters import notebook as chapters
from llmstudy.chapters.notebook import ChapterError, open_chapter
from llmstudy.charts import Chart
from llmstudy.study import load


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, as (data, metadata)."""
    seen = []
    monkeypatch.setattr(
        chapters, "display", lambda data, raw, metadata=None: seen.append((data, metadata))
    )
    return seen


@pytest.fixture
def chapter(tmp_path):
    return open_chapter("02_cost", str(paths.params("default.yaml")), str(tmp_path / "run"))


def drawing():
    figure = Figure()
    figure.subplots().plot([1, 2])
    return Chart(figure, "cost rises from 1 to 2")


def test_a_relative_folder_is_the_same_one_wherever_the_notebook_runs(tmp_path, monkeypatch):
    study = paths.params("default.yaml")
    monkeypatch.setattr(chapters, "load", {str(study): load(study)}.get)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    from_its_own_folder = open_chapter("01_evidence", str(study), "outputs/mine").run
    monkeypatch.chdir(tmp_path)
    from_the_root = open_chapter("01_evidence", str(study), "outputs/mine").run
    assert from_the_root.samefile(from_its_own_folder)
    assert from_the_root.samefile(tmp_path / "outputs" / "mine")


def test_a_notebook_without_a_folder_gets_one_of_its_study_files_own(variant, monkeypatch):
    original, copied = paths.params("default.yaml"), variant("default")
    monkeypatch.setattr(paths, "outputs", lambda: copied.parent / "outputs")
    mine, theirs = (open_chapter("01_evidence", str(f)).run for f in (original, copied))
    assert mine != theirs
    assert {f.parent for f in (mine, theirs)} == {copied.parent / "outputs" / "notebooks"}
    assert mine.name.startswith("default-")


def test_results_of_another_study_are_refused_with_what_to_run(chapter, variant):
    chapter.write({"n": 3})
    other = variant("default", ("seed: ", "seed: 1"))
    later = open_chapter("06_crossover", str(other), str(chapter.run))
    with pytest.raises(ChapterError, match=r"another study.* execute 02_cost\.ipynb"):
        later.read("02_cost")


def test_the_committed_reference_is_read_and_never_written():
    study = paths.params("default.yaml")
    chapter = open_chapter("04_quality", str(study), str(paths.reference()))
    before = {f: f.stat().st_mtime_ns for f in chapter.run.rglob("*")}
    assert chapter.write({"n": 3}) == {"n": 3}
    chapter.keep(pd.DataFrame({"a": [1]}), "quality")
    assert {f: f.stat().st_mtime_ns for f in chapter.run.rglob("*")} == before


def test_a_lone_notebook_of_the_default_study_reads_the_committed_reference(tmp_path):
    study = str(paths.params("default.yaml"))
    assert open_chapter("06_crossover", study).read("04_quality")["quality"]
    with pytest.raises(ChapterError, match="missing"):
        open_chapter("06_crossover", study, str(tmp_path)).read("04_quality")


def test_a_lone_notebook_of_another_study_computes_what_it_reads_and_says_so(monkeypatch, tmp_path):
    written = (paths.reference() / "results" / "02_cost.json").read_text(encoding="utf-8")
    monkeypatch.setattr(paths, "outputs", lambda: tmp_path / "outputs")
    shown = []
    monkeypatch.setattr(chapters, "_display", lambda data, metadata=None: shown.append(data))
    study = load(paths.params("default.yaml"))
    changed = study.with_({"workloads.extraction.intake.requests": "3e6 requests/month"})
    chapter = open_chapter("03_latency", changed)
    bills = {row["route"]: row for row in chapter.read("02_cost")["bills"]}
    assert "02&#95;cost are computed here, as it was not executed" in shown[0]["text/markdown"]
    assert chapter.read("02_cost")["bills"]
    assert len(shown) == 1  # written the first time, and read the second
    of_default = json.loads(written)["bills"]
    before = {row["route"]: row for row in of_default if row["workload"] == "extraction"}
    assert bills["openai-gpt-4o"]["month_usd"] == pytest.approx(
        before["openai-gpt-4o"]["month_usd"] * 3e6 / 2.4e6
    )


def test_overrides_have_a_folder_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "outputs", lambda: tmp_path / "outputs")
    study = str(paths.params("default.yaml"))
    plain, first, second = (
        open_chapter("01_evidence", study, overrides=text)
        for text in ("", '{"seed": 1}', {"seed": 2})
    )
    assert len({chapter.run for chapter in (plain, first, second)}) == 3
    assert (first.study.seed, second.study.seed) == (1, 2)
    with pytest.raises(ValueError, match="write a mapping"):
        open_chapter("01_evidence", study, overrides="seed")


def test_results_reach_the_next_chapter_as_they_were_written(chapter):
    written = chapter.write({"arms": pd.DataFrame({"usd": [1.0, None]}), "n": 3})
    later = chapters.Chapter("06_crossover", chapter.study, chapter.run)
    assert later.read("02_cost") == written == {"arms": [{"usd": 1.0}, {"usd": None}], "n": 3}


def test_a_chapter_that_comes_too_early_says_which_one_must_run_first(chapter):
    with pytest.raises(ChapterError, match="execute 05_self_hosting"):
        chapter.read("05_self_hosting")


def test_results_that_cannot_be_written_leave_the_last_ones(chapter):
    chapter.write({"usd": 1})
    with pytest.raises(ValueError, match=r"results\.usd is nan"):
        chapter.write({"usd": float("nan")})
    assert chapter.read("02_cost") == {"usd": 1}


def test_a_chart_is_shown_with_its_text_alternative_and_kept(chapter, shown):
    chapter.show("cost", drawing())
    ((data, metadata),) = shown
    assert metadata["image/svg+xml"]["alt"] == data["text/plain"] == "cost rises from 1 to 2"
    assert (chapter.run / "charts" / "cost.svg").read_text() == data["image/svg+xml"]


def reversal(usd):
    parts = ("unused_p10_usd", "unused_p50_usd", "unused_p90_usd", "back_usd", "usd")
    return {"months": 3, **dict.fromkeys(parts, usd), "of_no_page": "x"}


def test_a_table_without_a_row_says_so_only_where_that_tells_something(chapter, shown):
    chapter.table("rate_limits", [])
    chapter.table("quarantine", [])
    ((data, _),) = shown
    assert data["text/markdown"] == "Rows of the log that could not be used, and why: none."
    assert [file.name for file in (chapter.run / "tables").iterdir()] == ["quarantine.csv"]


def test_a_table_that_nothing_describes_is_refused(chapter):
    with pytest.raises(KeyError, match="arms"):
        chapter.table("arms", [{"arm": "api"}])


def test_showing_the_same_thing_twice_gives_the_same_text(chapter, shown):
    frame = pd.DataFrame([reversal(1.25)])
    for _ in range(2):
        chapter.show("cost", drawing())
        chapter.table("reversal", frame)
        chapter.heading("API is cheapest")
    assert shown[:3] == shown[3:]


def test_a_table_is_kept_unrounded(chapter, shown):
    frame = pd.DataFrame([reversal(1234.56789)])
    chapter.table("reversal", frame)
    kept = pd.read_csv(chapter.run / "tables" / "reversal.csv")
    pd.testing.assert_frame_equal(kept, frame)
    assert "1,235" in shown[0][0]["text/html"]


def cells(fragment):
    soup = BeautifulSoup(fragment, "html.parser")
    return [[c.get_text() for c in row.find_all(["th", "td"])] for row in soup.find_all("tr")]


def test_a_page_shows_words_and_per_cent_where_the_file_keeps_names_and_shares(chapter, shown):
    row = {
        "buyer": "named_model",
        "rule": "always_now",
        "advisor": "benchmark",
        "regret_usd": 2e6,
        "regret_low_usd": 1.9e6,
        "regret_high_usd": 2.1e6,
        "false_alarm_share": 0.83,
        "missed_share": None,
        "delay_months": -6.0,
        "switch_share": 1.0,
    }
    chapter.table("regret", [row])
    head, cell = cells(shown[0][0]["text/html"])
    said = dict(zip(head, (text.replace("\u00a0", " ") for text in cell), strict=True))
    assert said["buyer"] == "keeps the named model"
    assert said["rule"] == "move now"
    assert (said["false alarms"], said["missed"], said["switches"]) == ("83 %", "–", "100 %")
    kept = pd.read_csv(chapter.run / "tables" / "regret.csv")
    assert kept.loc[0, ["rule", "false_alarm_share"]].tolist() == ["always_now", 0.83]


@pytest.mark.parametrize("text", ["<script>x</script>", "a <b>c</b>", "<!-- x -->", "<img src=x>"])
def test_prose_brings_no_markup_of_its_own(chapter, shown, text):
    chapter.say(text)
    chapter.heading(text)
    for data, _ in shown:
        page = BeautifulSoup(markdown2html_mistune(data["text/markdown"]), "html.parser")
        assert not page.find(["script", "b", "img"])
        assert text in page.get_text()


HOSTILE = [
    *("[click](javascript:alert(1))", "![x](http://evil.example/x.png)", "<http://evil.example>"),
    *("see http://evil.example or www.evil.example", "a@evil.example", "[x]: http://evil.example"),
    *(
        "*a* _b_ __c__ ~~d~~ `e`",
        "# a",
        "> a",
        "1. a",
        "12) a",
        "- a",
        "+ a",
        "a | b",
        "---",
        "===",
    ),
    *("$x$ $$y$$", r"\\(x\\) \\[y\\]", "&lt;b&gt; &#60;", "{{ 7*7 }}", "    code", "a^b^ [^1]"),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_in_prose_is_neither_link_nor_image_nor_anything_but_text(chapter, shown, text):
    chapter.say(text)
    chapter.heading(text)
    chapter.bullets([text, text])
    for (data, _), tag, times in zip(shown, ["p", "h3", "li"], [1, 1, 2], strict=True):
        page = BeautifulSoup(markdown2html_mistune(data["text/markdown"]), "html.parser")
        found = page.find_all(tag)
        anchors = {"¶"}  # of the converter's own, at headings
        read = ["".join(s for s in one.strings if s not in anchors).strip() for one in found]
        assert read == [" ".join(text.split())] * times
        inside = {t.name for one in found for t in one.find_all(True) if "¶" not in t.get_text()}
        assert not inside


@given(st.text(max_size=20), st.sampled_from(["", " ", "a;", "a,", "a\t", "\t", "a\n", "a; "]))
def test_no_text_of_a_table_is_a_formula_in_a_spreadsheet(text, before):
    for sign in "=+-@＝＠":
        cell = before + sign + "x" + text
        written = llmstudy_io.csv(pd.DataFrame({"a": [cell]}))
        kept = list(csv.reader(io.StringIO(written, newline="")))
        parts = re.split(r"[;,\t\r\n]", kept[1][0])
        first = [part.lstrip()[:1] for part in parts]
        assert not {"=", "@", "＝", "＠"} & set(first)
        assert first[0] not in ("+", "-")


def test_numbers_of_a_table_stay_numbers():
    frame = pd.DataFrame({"x": [-2.5, 1.0], "text": ["-3", "+4.5 %"], "none": [None, None]})
    assert llmstudy_io.csv(frame) == "x,text,none\n-2.5,-3,\n1.0,+4.5 %,\n"


def test_a_dollar_in_prose_is_a_dollar(chapter, shown):
    chapter.say("between $5 and $9, p95 < 2 s")
    page = markdown2html_mistune(shown[0][0]["text/markdown"])
    assert BeautifulSoup(page, "html.parser").get_text().strip() == "between $5 and $9, p95 < 2 s"


def test_results_are_canonical_on_disk(chapter):
    chapter.write({"x": 1 / 3})
    text = (chapter.run / "results" / "02_cost.json").read_text()
    assert json.loads(text) == {"study_sha256": chapter.study_sha256, "x": 0.3333333333}
