"""The sliders of the attachment: every setting of their grid is the function's own answer."""

import json
import re
from itertools import product

import pytest

from llmstudy.answer import Changes, answer, prepare
from llmstudy.memo import sliders as snippet
from llmstudy.text import share, signed_usd, usd

GRID = {"VOLUMES": (0.05, 1.0, 10.0), "GPU_PRICES": (0.5, 1.0), "MARGIN_STEPS": (-0.03, 0.0, 0.05)}


@pytest.fixture(scope="module")
def base(default_case, reference):
    return prepare(default_case, reference, n=500)


@pytest.fixture(scope="module")
def made(base):
    with pytest.MonkeyPatch.context() as patch:
        for name, values in GRID.items():
            patch.setattr(snippet, name, values)
        yield snippet.what_if_html(base)


@pytest.fixture(scope="module")
def data(made):
    text = re.search(r'<script type="application/json">(.*?)</script>', made, re.S).group(1)
    return json.loads(text)


def _settings():
    # a margin step of -3 points would leave 3 points nothing, and is not offered
    return list(product(GRID["VOLUMES"], GRID["GPU_PRICES"], (0.0, 0.05)))


def test_every_setting_of_the_grid_is_what_the_function_answers(base, data):
    assert len(data["rows"]) == len(_settings())
    turned = 0
    for row, (volume, price, margin) in zip(data["rows"], _settings(), strict=True):
        found = answer(base, Changes(volume=volume, gpu_price=price, margin=margin))
        said, *cells = (data["text"][i] for i in row)
        assert usd(found.stay_month_usd) in said
        for k, workload in enumerate(found.workloads.values()):
            verdict, best, saving, _, chance, fleet = cells[6 * k : 6 * k + 6]
            assert verdict.split(":")[0] == workload.verdict.decision
            assert best == workload.best.route
            assert saving.startswith(usd(workload.best.saving_usd["p50"]) + " (")
            assert chance == share(workload.best.p_cheaper)
            own = [r.saving_usd["p50"] for r in workload.routes if r.arm == "self_hosted"]
            assert fleet == (usd(max(own)) if own else "no fleet")
        turned += "Changed from base" in said
    assert 0 < turned < len(data["rows"])


def test_a_difference_to_the_base_is_between_the_same_move_of_both(base, data):
    row = data["rows"][_settings().index((10.0, 1.0, 0.0))]
    now, then = (answer(base, Changes(volume=v)) for v in (10.0, 1.0))
    for k, (name, workload) in enumerate(now.workloads.items()):
        route = workload.best.route
        before = then.workloads[name].of(route).saving_usd["p50"]
        less = workload.best.saving_usd["p50"] - before
        assert data["text"][row[1 + 6 * k + 3]] == signed_usd(less)


def test_the_base_case_is_marked_and_is_where_the_sliders_stand(made, data):
    assert data["base"] == [1, 1, 0]
    assert [values[at] for values, at in zip(data["values"], data["base"], strict=True)] == [
        "base case"
    ] * 3
    assert made.count('class="what-if-base"') == 3
    assert [int(x) for x in re.findall(r'value="(\d+)" aria-valuetext', made)] == data["base"]


def test_without_a_script_the_base_case_stands_there_and_no_dead_slider(made, base):
    shown = re.sub(r"<script.*?</script>|<style>.*?</style>", "", made, flags=re.S)
    assert '<div class="what-if-levers" hidden>' in shown
    for workload in answer(base).workloads.values():
        assert usd(workload.best.saving_usd["p50"]) in shown


def test_every_column_of_its_table_has_a_head_and_the_table_a_caption(made):
    table = re.search(r"<table>.*?</table>", made, re.S).group()
    heads = len(re.findall('<th scope="col">', table))
    assert "<caption>" in table
    rows = re.findall("<tr>(.*?)</tr>", table.partition("<tbody>")[2], re.S)
    assert rows
    assert {len(re.findall("<t[hd]", row)) for row in rows} == {heads}


def test_it_needs_nothing_from_elsewhere_and_its_script_is_small(made):
    assert not re.search(r"(?:src|href|url|import|fetch|XMLHttp)\s*[=(]", made)
    assert "//" not in re.sub(r"</?\w+|/>", "", made.replace("<\\/", ""))
    assert len(snippet.SCRIPT.encode()) < 4096


def test_paper_shows_none_of_it(made):
    assert re.search(r"@media print \{ \.what-if \{ display: none \} \}", made)


def test_each_slider_has_a_label_and_says_its_value(made):
    ids = re.findall(r'<input type="range" id="([\w-]+)"', made)
    assert len(ids) == 3
    for key in ids:
        assert f'<label for="{key}">' in made
        assert f'<output for="{key}">' in made
    assert 'aria-live="polite"' in made


def test_a_route_cannot_write_markup_into_the_memo(base):
    evil = "<!--<script></script><script>alert(1)</script>"
    assert evil not in snippet._row(evil, [evil])
    within = snippet.embedded({"text": [evil]})
    assert "<" not in within
    assert json.loads(within) == {"text": [evil]}


def test_the_shipped_grid_holds_the_base_case_and_no_impossible_margin(base):
    settings = snippet.grid(base)
    assert Changes() in settings
    least = min(w.quality.margin.value for w in base.study.workloads.values())
    assert all(changes.margin + least > 0 for changes in settings)
