"""Many studies come out as they would alone, on whatever works through them, on one page."""

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from typer.testing import CliRunner

from llmstudy import io, paths
from llmstudy.cli import app
from llmstudy.memo.render import external_references
from llmstudy.run.sweep import Row, in_blocks, page, planned, sweep, totals
from llmstudy.run.sweep.portfolio import Course, Fired, failed
from llmstudy.study import StudyError, load


@pytest.fixture(scope="module")
def dask():
    """joblib's backend on a cluster of two threads that listens to nobody."""
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    )
    with cluster, Client(cluster):
        yield lambda: joblib.parallel_config("dask")


# ---- many studies -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A study, and one that is well written but whose log is not there."""
    text = paths.params("regulated.yaml").read_text(encoding="utf-8")
    log = "requests: {path: gone.csv, format: csv, columns: {workload: workload}}\nteam:\n"
    lost = tmp_path_factory.mktemp("lost") / "lost.yaml"
    lost.write_text(
        text.replace("team:\n", log, 1).replace("study: regulated", "study: lost", 1),
        encoding="utf-8",
    )
    return [paths.params("source_memo.yaml"), lost]


@pytest.fixture(scope="module")
def alone(files, tmp_path_factory):
    """The figures alone, worked through one after the other in this process."""
    return sweep(files, tmp_path_factory.mktemp("alone"), memos=False)


def test_rows_are_the_same_whoever_works_and_a_failed_study_loses_no_other(
    files, alone, dask, tmp_path
):
    done, lost = alone.rows
    assert (done.study, done.error) == ("source_memo", None)
    assert (lost.study, lost.overall, lost.month_usd) == ("lost", None, None)
    assert re.search(r"gone\.csv", lost.error)
    assert alone.failures == [lost]
    two = sweep(files, tmp_path / "loky", memos=False, n_jobs=2)
    with dask():
        cluster = sweep(files, tmp_path / "dask", memos=False)
    for other in (two, cluster):
        assert other.rows == alone.rows
        for key, path in alone.paths.items():
            assert other.paths[key].read_bytes() == path.read_bytes(), key


def test_the_command_runs_each_study_to_the_memo_of_a_run_alone_and_says_which_failed(
    files, alone, run_of, tmp_path
):
    done = CliRunner().invoke(
        app, ["sweep", *map(str, files), "--out", str(tmp_path / "out"), "--json"]
    )
    assert done.exit_code == 1
    portfolio = json.loads(done.stdout, parse_constant=pytest.fail)
    first, lost = portfolio["studies"]
    assert "gone.csv" in lost["error"]
    assert f"lost failed: {lost['error']}" in done.stderr
    ended = [
        line
        for line in done.stderr.splitlines()
        if re.search(r": (done in|failed after) \d+ s$", line)
    ]
    assert sorted(line.partition(":")[0] for line in ended) == ["lost", "source_memo"]
    assert "Parallel" not in done.stderr  # joblib's own lines
    html, memo = Path(portfolio["portfolio"]), Path(first["memo"])
    assert memo.parent.parent == tmp_path / "out" / "source_memo"
    (link,) = re.findall(r'href="([^"#]+)"', html.read_text())
    assert (html.parent / link).resolve() == memo.resolve()

    # the same study gives the same bytes, and without notebooks the same figures
    run = run_of("source_memo")
    for key in ("results", "memo", "figures"):
        assert (memo.parent / run.paths[key].name).read_bytes() == run.paths[key].read_bytes(), key
    results = json.loads(run.paths["results"].read_text())
    assert first["overall"] == results["verdict"]["overall"] == "api_first"
    for key in ("month_usd", "stay_usd", "saving_usd", "at_stake_usd"):
        assert first[key] == results[key]
    assert io.plain(replace(alone.rows[0], memo=first["memo"])) == first


def test_a_wrong_study_is_refused_before_any_is_run(variant, tmp_path):
    wrong = variant("default", ("horizon: 24 months", "horizon: 24 weeks"))
    missing = tmp_path / "none.yaml"
    good = paths.params("source_memo.yaml")
    out = tmp_path / "out"
    given = ["sweep", str(good), str(wrong), str(missing), "--out", str(out), "--json"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 2
    first, second = json.loads(done.stdout)["errors"]
    assert re.match(r".*default\.yaml:\d+: horizon", first)
    assert second.startswith(f"{missing}: no such study file")
    assert not out.exists()


def test_two_studies_of_one_name_are_refused_since_their_runs_would_mix(variant):
    again = variant("source_memo")
    with pytest.raises(StudyError, match=r"called source_memo, as that of .* rename one of them"):
        planned([paths.params("source_memo.yaml"), again])


def test_where_nothing_can_be_written_nothing_is_run(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(joblib, "Parallel", lambda **_: pytest.fail("a study was run"))
    with pytest.raises(NotADirectoryError):
        sweep([paths.params("source_memo.yaml")], tmp_path / "file")


def test_a_run_that_dies_says_how(files, monkeypatch, tmp_path):
    dies = tmp_path / "python"
    dies.write_text("#!/bin/sh\necho 'Killed' >&2\nexit 137\n")
    dies.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(dies))
    (row,) = sweep(files[:1], tmp_path / "out").rows
    assert row.error == "Its run ended with exit code 137: Killed"


def test_fresh_reaches_every_run(files, monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$*" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    for fresh in (False, True):
        (row,) = sweep(files[:1], tmp_path / f"out-{fresh}", fresh=fresh).rows
        assert row.error.endswith("--fresh") is fresh


def test_a_portfolio_is_there_whole_or_not_at_all(files, monkeypatch, tmp_path):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(io, "write", full)
    with pytest.raises(OSError, match="No space"):
        sweep(files[1:], tmp_path, memos=False)
    assert not list(tmp_path.glob("portfolio-*"))


# ---- what may be added up -----------------------------------------------------------------------


def lognormal(median, sigma, u):
    from scipy.stats import norm

    return median * np.exp(sigma * norm.ppf(u))


def amounts(draws):
    return dict(zip(("p10", "p50", "p90"), np.quantile(draws, [0.1, 0.5, 0.9]), strict=True))


def a_row(name, **known):
    """A finished study of a company of its own."""
    given = {
        "company": f"{name} Inc",
        "question": "Stay?",
        "as_of": "2026-11-23",
        "horizon_months": 24,
        "overall": "api_first",
        "confidence": "low",
        "evidence": "0 of 1 workloads logged",
        "workloads": (Course("chat", "stay", "openai", None, False),),
        "month_usd": 100.0,
        "stay_usd": {"p10": 1_000.0, "p50": 2_400.0, "p90": 9_000.0},
    }
    return Row(name, **(given | known))


def test_the_range_of_a_total_is_that_of_studies_that_come_out_together():
    u = np.random.default_rng(3).random(100_001)
    draws = [lognormal(2e6, 0.3, u), lognormal(5e4, 1.2, u), lognormal(9e5, 0.1, u)]
    rows = [a_row(name, stay_usd=amounts(d)) for name, d in zip("abc", draws, strict=True)]
    found = totals(rows)
    assert found.stay_usd == pytest.approx(amounts(sum(draws)))
    assert found.month_usd == 300.0
    assert (found.saving_usd, found.why_not) == (None, ())


def test_a_study_without_a_move_adds_nothing_to_the_saving():
    saving = {"p10": -5.0, "p50": 10.0, "p90": 30.0}
    rows = [a_row("a", saving_usd=saving), a_row("b"), a_row("c", saving_usd=saving)]
    assert totals(rows).saving_usd == {"p10": -10.0, "p50": 20.0, "p90": 60.0}


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"error": "it broke"}, "A total would lack b, which failed."),
        ({"unbilled": ("chat",)}, "The bill of chat in b is unknown."),
        ({"as_of": "2026-12-01"}, "different days, from 2026-11-23 to 2026-12-01"),
        ({"company": "a Inc"}, "More than one study holds chat of a Inc"),
    ],
)
def test_nothing_is_added_where_a_sum_would_mislead(other, why):
    found = totals([a_row("a"), a_row("b", **other)])
    assert (found.month_usd, found.stay_usd, found.at_stake_usd) == (None, None, None)
    assert why in " ".join(found.why_not)


def test_one_team_of_a_company_is_not_paid_twice():
    own = {"company": "Acme", "runs_fleets": True}
    search = (Course("search", "stay", "gpu", None, False),)
    found = totals([a_row("a", **own), a_row("b", **own, workloads=search)])
    assert found.month_usd is None
    assert found.why_not == ("Each study of Acme pays for the one team of its company.",)


def test_different_horizons_leave_only_the_months_to_add():
    found = totals([a_row("a"), a_row("b", horizon_months=12)])
    assert (found.month_usd, found.stay_usd) == (200.0, None)
    assert "12 and 24 months" in found.why_not[0]


# ---- the page -----------------------------------------------------------------------------------


@pytest.fixture
def rows():
    move = Course("tickets <b>", "move", "host", "host", True)
    wait = Course("search", "undecided", "openai", "mini", False)
    lost = failed(load(paths.params("default.yaml")), "05: cell [4] `<script>` failed.")
    return [
        a_row("small", memo="../small/1 #2/memo.html", fired=(Fired("G4", "vendor", "chat"),)),
        lost,
        a_row(
            "large",
            company="A & B <u>",
            confidence="high",
            workloads=(move, wait),
            month_usd=2e6,
            stay_usd={"p10": 3e7, "p50": 5e7, "p90": 8e7},
            saving_usd={"p10": -2e6, "p50": 1e7, "p90": 2e7},
            at_stake_usd={"p10": 1e6, "p50": 2e6, "p90": 4e6},
            collect_first=("Score 440 golden items (USD 2.6k)",),
        ),
    ]


def words(html):
    return " ".join(unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.S)).split())


def test_the_page_says_what_leadership_asks(rows):
    text = words(page.html(rows, totals(rows)))
    assert "3 studies: 1 recommends a move; 1 waits for evidence" in text
    assert "1 study failed and is not in any figure: default." in text
    assert "is USD 10M over 24 months, in large (80 % range −USD 2.0M to USD 20M)" in text
    assert "tickets <b> move to host today's route may not see its data" in text
    assert "search undecided favoured: mini" in text
    assert "API first high confidence: 0 of 1 workloads logged" in text
    assert "USD 50M USD 30M to 80M" in text
    assert "G4 vendor chat" in text
    assert "Failed: 05: cell [4] `<script>` failed." in text
    assert "There is no total. A total would lack default, which failed." in text
    assert text.index("A & B <u>") < text.index("small Inc") < text.index("Failed:")
    together = words(page.html(rows[::2], totals(rows[::2])))
    assert "All 2 studies USD 2.0M USD 50M" in together


def test_the_page_is_complete_in_itself_and_lets_no_markup_in(rows):
    html = page.html(rows, totals(rows))
    assert external_references(html) == []
    assert not re.search(r"<script|<u>|tickets <b>", html)
    assert re.findall(r'<a href="([^"#]+)"', html) == ["../small/1%20%232/memo.html"]


def test_the_page_can_be_heard(rows):
    html = page.html(rows, totals(rows))
    (alt,) = re.findall(r'<img alt="([^"]+)"', html)
    assert "large: staying USD 2.1M a month" in alt
    assert "moves save USD 417k a month, 80 % range −USD 83k to USD 833k" in alt
    assert alt.endswith("Confidence in the evidence: high in large; low in small.")
    table = html[html.index("<table") : html.index("</table")]
    assert "<caption>" in table
    assert len(re.findall(r'<th scope="col"', table)) == 8
    assert len(re.findall(r'<th scope="row"', table)) == 3
    assert 'lang="en"' in html


def test_a_move_that_costs_is_not_drawn_as_a_saving(rows):
    costs = replace(rows[0], saving_usd={"p10": -3e3, "p50": -2.4e3, "p90": -1e3})
    chart = page.comparison([costs])
    assert "moves cost USD 100 a month" in chart.alt
    assert chart.alt.startswith("No study has a move that could save")
    shown = [text.get_text() for text in chart.figure.axes[0].texts]
    assert shown == ["staying USD 100", "moves cost USD 100"]


def test_a_portfolio_without_a_bill_has_no_chart_but_a_page():
    rows = [a_row("a", stay_usd=None, month_usd=None, unbilled=("chat",))]
    assert page.comparison(rows) is None
    html = page.html(rows, totals(rows))
    assert "<img" not in html
    assert "without chat" in words(html)


def test_the_csv_holds_every_row_unrounded(rows, tmp_path):
    (tmp_path / "p.csv").write_text(page.csv(rows))
    table = pd.read_csv(tmp_path / "p.csv").set_index("study")
    assert list(table.index) == ["small", "default", "large"]
    assert table.loc["large", "saving_p10_usd"] == -2e6
    assert table.loc["large", "workloads"] == "tickets <b>: move (host); search: undecided (mini)"
    assert table.loc["small", "fired"] == "G4 vendor on chat"
    assert table.loc["default", "error"] == "05: cell [4] `<script>` failed."
    assert table.loc["default"].isna()["month_usd"]


# ---- many draws ---------------------------------------------------------------------------------


def outcome_of(scale):
    """Nested, so that it travels to workers by value."""

    def outcome(seed, n):
        import numpy

        return scale * numpy.random.default_rng(seed).normal(size=(n, 3))

    return outcome


def test_draws_are_the_same_bytes_whatever_the_workers(dask):
    def made(n_jobs=None):
        return in_blocks(outcome_of(2.0), 1_003, 100, seed=5, n_jobs=n_jobs).tobytes()

    alone = made()
    assert made(2) == alone
    with dask():
        assert made() == alone


def test_every_block_has_draws_of_its_own_and_more_draws_move_none():
    draws = in_blocks(outcome_of(1.0), 1_003, 100, seed=5)
    assert draws.shape == (1_003, 3)
    assert len(np.unique(draws)) == draws.size
    assert (in_blocks(outcome_of(1.0), 2_000, 100, seed=5)[:1_000] == draws[:1_000]).all()
    assert not (in_blocks(outcome_of(1.0), 1_003, 100, seed=6) == draws).any()


def test_blocks_are_independent_draws_of_the_same_thing():
    means = (
        in_blocks(outcome_of(1.0), 400_000, 1_000, seed=9)[:, 0].reshape(400, 1_000).mean(axis=1)
    )
    assert means.std() == pytest.approx(1_000**-0.5, rel=0.12)  # 3.4 standard errors of 400 blocks
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.15


@pytest.mark.parametrize(
    ("outcome", "n_draws", "block", "said"),
    [
        (outcome_of(1.0), 0, 10, "n_draws is 0"),
        (outcome_of(1.0), 10, 0, "block is 0"),
        (lambda seed, n: np.zeros(n + 1), 10, 4, r"4 draws has the shape \(5,\)"),
        (lambda seed, n: np.float64(1), 10, 10, r"10 draws has the shape \(\)"),
    ],
)
def test_what_cannot_be_split_is_refused(outcome, n_draws, block, said):
    with pytest.raises(ValueError, match=said):
        in_blocks(outcome, n_draws, block, seed=1)
