import math
from datetime import date
from typing import get_args

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy import paths, units
from llmstudy.figure import GRADES
from llmstudy.study import (
    Contract,
    StudyError,
    bundled_figures,
    load,
    quantity,
)

SHIPPED = ["default", "hyperscale", "regulated", "source_memo"]

LONG = "{value: 24, unit: months, range: [12, 36], source: x, as_of: 2026-11-01, grade: assumed}"
CANDIDATES = "candidates: [together-llama-3.1-70b, h200-llama-3.1-70b]"
OWN = "counts: [90, 5, 9, 10]\n          source: scored by hand\n          as_of: 2026-11-01"
LOG = "requests: {path: log.csv, format: csv, workload: nope}"

COMMITMENT = "    commitment: {on_demand: 40 %, reserved: 60 %, spot: 0 %}\n"
OWNED = "{price: 36 k USD/GPU}"
PREMIUM = (
    "{value: 1.1, unit: x, range: [1, 1.2], source: list, as_of: 2026-11-01, grade: published}"
)

NOT_OURS = [" : ", "[key]", "unpack", "convert string", "Input tag", "Unable to extract", "{'"]
"""Marks of a sentence that a library made, or that lacks a name."""


def faults(file):
    """(line, sentence) of every fault."""
    with pytest.raises(StudyError) as refused:
        load(file)
    found = []
    for fault in str(refused.value).split(f"{file}:")[1:]:
        line, _, sentence = fault.partition(": ")
        found.append((int(line), sentence.strip()))
    return found


def line_of(file, marker):
    lines = file.read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if marker in line)


def horizon(written, sentence, *, id):
    """A fault in the study's horizon: what is written there, and the sentence it must give."""
    return pytest.param("horizon: 24 months", f"horizon: {written}", "horizon:", sentence, id=id)


FAULTS = [
    pytest.param(
        "seed: 20261123", "seed: 1\ncolour: red", "colour", "colour is not a key", id="unknown key"
    ),
    pytest.param(
        "      gpu_platform",
        "      gpus: 2\n      gpu_platform",
        "gpus: 2",
        "workloads.product.intake.gpus is not a key",
        id="unknown key in depth",
    ),
    pytest.param(
        "      data_class: unknown\n",
        "",
        "    intake:",
        "intake.data_class is missing: how sensitive is the data? Answer it, or write unknown",
        id="missing intake question",
    ),
    pytest.param(
        "seed: 20261123\n", "", "# The source memo", "seed is missing: add it", id="missing key"
    ),
    pytest.param(
        "ttft_p95: unknown",
        "ttft_p95: 400",
        "ttft_p95: 400",
        'slo.ttft_p95 is 400, but a unit is missing. Write "400 s" or "400 ms".',
        id="missing unit",
    ),
    pytest.param(
        "tpot_p95: 50 ms",
        "tpot_p95: 0 s",
        "tpot_p95: 0 s",
        "workloads.product.slo.tpot_p95 is 0 s, but must be 0.0001 to 60 s",
        id="out of range in depth",
    ),
    pytest.param(
        "seed: 20261123",
        "seed: 1\ngateway: {rerank: {provider: cohere, model: rerank-v3.5}}",
        "gateway:",
        "gateway.rerank.usd_per_search is missing: add it.",
        id="reranking without a price",
    ),
    pytest.param(
        "seed: 20261123",
        "seed: 1\ngateway: {rerank: {provider: cohere, model: m, usd_per_search: 2}}",
        "gateway:",
        "gateway.rerank.usd_per_search is 2, but must be 0.1 or less.",
        id="price of a thousand searches",
    ),
    pytest.param(
        "seed: 20261123",
        "seed: 1\ngateway: {embeddings: {provider: mistral, model: m, usd_per_mtok: 0}}",
        "gateway:",
        "gateway.embeddings.usd_per_mtok is 0, but must be more than 0.",
        id="embeddings for nothing",
    ),
    pytest.param(
        "seed: 20261123",
        "seed: 1\ngateway: {embeddings: {provider: openai, model: text-embedding-9}}",
        "gateway:",
        "gateway.embeddings: openai lists no model 'text-embedding-9'",
        id="embeddings in no price list",
    ),
    horizon("24 s", 'horizon has the unit "s", but needs one of: months, years', id="wrong unit"),
    horizon("100 months", "horizon is 100 months, but must be 1 to 60 months", id="out of range"),
    horizon(LONG.replace("36]", "61]"), "must be 1 to 60 months", id="end of a range out of range"),
    horizon("soon", 'horizon is "soon", which is not a number with a unit', id="no number"),
    horizon("[24]", "horizon is not a quantity. Write", id="list"),
    horizon("unknown", 'horizon is "unknown"', id="unknown where it is not legal"),
    horizon(
        "{figure: nope}",
        'names the figure "nope", which is not bundled. Those in months: self_hosting.ramp',
        id="bad figure name",
    ),
    horizon(
        "{figure: growth.saas}",
        'names the figure "growth.saas" in share/month, but needs months',
        id="figure of another unit",
    ),
    horizon(LONG.replace("value", "valeu"), "unknown key 'valeu'", id="unknown key of a figure"),
    horizon(LONG.replace("source: x, ", ""), "horizon lacks source", id="figure without source"),
    horizon(
        LONG.replace("assumed", "guess"), "the grade 'guess'. Use one of measured", id="bad grade"
    ),
    horizon(LONG.replace("unit: months", "unit: d"), 'the unit "d"', id="bad unit of a figure"),
    horizon(
        LONG.replace("[12", "[30"),
        "value 24 lies outside its range [30, 36]",
        id="value outside its range",
    ),
    horizon(
        LONG.replace("[12, 36]", "[12]"),
        "range",
        id="range of one end",
    ),
    horizon(
        LONG.replace("24", "two"),
        "two",
        id="value that is no number",
    ),
    horizon(
        LONG.replace("range", "distribution: normal, range"),
        "distribution",
        id="unknown distribution",
    ),
    horizon(
        LONG.replace("24", ".nan").replace("range: [12, 36], ", ""),
        "horizon",
        id="not a number",
    ),
    horizon(
        LONG.replace("2026-11-01", "soon"),
        "soon",
        id="as_of that is no date",
    ),
    horizon(
        LONG.replace("grade", "expires: 2026-11-01, grade"),
        "2026-11-01",
        id="expired figure",
    ),
    pytest.param(
        "data_class: unknown",
        "data_class: secret",
        "data_class: secret",
        "intake.data_class is 'secret', but must be one of 'consumer', 'enterprise'",
        id="wrong literal",
    ),
    pytest.param(
        "{kind: dpa",
        "{kind: nda",
        "{kind: nda",
        "routes.openai-gpt-4o.contracts.0.kind is 'nda', but must be one of 'dpa', 'baa'",
        id="contract kind",
    ),
    pytest.param(
        "{on_demand: 40 %",
        "{on_demand: 50 %",
        "{on_demand: 50 %",
        "routes.h200-llama-3.1-70b.commitment sums to 110%, but the three shares must sum to 100 %",
        id="shares not summing to 1",
    ),
    pytest.param(
        "seed: 20261123",
        "seed: 1\nseed: 2",
        "seed: 2",
        "the key seed is there twice: keep one of the two",
        id="duplicate YAML key",
    ),
    pytest.param(
        "status: draft", "status: [draft", "as_of: 2026-11-23", "not valid YAML", id="broken YAML"
    ),
    pytest.param(
        "study: source_memo",
        "study: My Study",
        "study: My",
        'study is "My Study", but a name has only lower-case letters',
        id="name",
    ),
    pytest.param(
        "tensor_parallel: 2",
        "tensor_parallel: two",
        "tensor_parallel: two",
        "tensor_parallel is 'two', but must be a whole number",
        id="not an integer",
    ),
    pytest.param(
        "  self_hosted:\n    cost",
        "  selfhosted:\n    cost",
        "  selfhosted:",
        "moving.selfhosted",
        id="unknown arm to move to",
    ),
    pytest.param(
        "    arm: self_hosted",
        "    arm: selfhosted",
        "  h200-llama-3.1-70b:",
        "'selfhosted'",
        id="unknown arm",
    ),
    pytest.param(
        "    arm: self_hosted\n",
        "",
        "  h200-llama-3.1-70b:",
        "arm",
        id="missing arm",
    ),
    pytest.param(
        "current_route: openai-gpt-4o\n",
        "current_route: openai-gpt-5\n",
        "  product:",
        'workloads.product names the route "openai-gpt-5", which is not under routes',
        id="bad route name",
    ),
    pytest.param(
        "        together-llama-3.1-70b: &llama70b",
        "        openai-gpt-4o-mini: &llama70b",
        "  product:",
        'workloads.product.quality.evidence speaks for "openai-gpt-4o-mini", which is not',
        id="evidence for no candidate",
    ),
    pytest.param(
        "seed: 20261123",
        f"seed: 1\n{LOG}",
        LOG,
        'requests.workload is "nope", which is not under workloads: product',
        id="log workload unknown",
    ),
    pytest.param(
        "seed: 20261123",
        "seed: 1\ninvoices: [{month: 2026-13, usd: 1, source: x}]",
        "invoices:",
        "invoices.0.month is 2026-13, but must be a month, such as 2026-11.",
        id="month of no calendar",
    ),
    pytest.param(
        "seed: 20261123",
        "seed: 1\ninvoices: [{month: 2026-10-01, usd: 1, source: x}]",
        "invoices:",
        "invoices.0.month is 2026-10-01, but must be a month",
        id="day for a month",
    ),
    pytest.param(
        "seed: 20261123",
        "seed: 1\ninvoices: {month: 2026-10, usd: 1, source: x}",
        "invoices:",
        "invoices is a mapping, but must be a list: write `- ` before each of its entries",
        id="one invoice, not in a list",
    ),
    pytest.param(
        "seed: 20261123",
        "seed: \x07",
        "seed: \x07",
        "the character 0x7 is not allowed in YAML",
        id="control character",
    ),
    pytest.param(
        COMMITMENT,
        f"{COMMITMENT}    owned: {OWNED}\n",
        "h200-llama-3.1-70b:",
        "routes.h200-llama-3.1-70b has `owned` and rented_from and commitment as well",
        id="rented and owned",
    ),
    pytest.param(
        COMMITMENT,
        "",
        "h200-llama-3.1-70b:",
        "routes.h200-llama-3.1-70b lacks commitment: name the provider of its GPUs",
        id="neither rented nor owned",
    ),
    pytest.param(
        "    model: gpt-4o\n",
        "    model: gpt-4o\n    rate_limit: {}\n",
        "rate_limit:",
        "routes.openai-gpt-4o.rate_limit has no limit",
        id="rate limit of nothing",
    ),
    pytest.param(
        "    model: gpt-4o\n",
        f"    model: gpt-4o\n    regional_premium: {PREMIUM}\n",
        "regional_premium:",
        "routes.openai-gpt-4o.regional_premium has a range, but a premium is listed",
        id="premium with a range",
    ),
    pytest.param(
        CANDIDATES,
        CANDIDATES.replace("[", "[openai-gpt-4o, "),
        "  product:",
        "openai-gpt-4o",
        id="current route among the candidates",
    ),
    pytest.param(
        "model: gpt-4o\n",
        "model: gpt-4o\n    tier: batch\n",
        "  openai-gpt-4o:",
        "routes.openai-gpt-4o is of the batch tier with a first token after 0.2 s, but",
        id="a batch that answers at once",
    ),
    pytest.param(
        "margin: 3 pp",
        "margin: 0 pp",
        "margin: 0 pp",
        "workloads.product.quality.margin is 0 share",
        id="margin of nothing",
    ),
    pytest.param(
        "benchmark: zeroeval_gsm\n",
        "benchmark: own\n          counts: [90, 5, 9, -10]\n",
        "counts:",
        "counts",
        id="negative count",
    ),
    pytest.param(
        "benchmark: zeroeval_gsm\n",
        "benchmark: own\n          counts: [90, 5, 9, 10]\n",
        "together-llama-3.1-70b: &llama70b",
        "together-llama-3.1-70b lacks source and as_of: your own counts need both",
        id="own counts from nowhere",
    ),
    pytest.param(
        "benchmark: zeroeval_gsm\n",
        f"benchmark: own\n          {OWN.replace('90, 5, 9, 10', '0, 0, 0, 0')}\n",
        "together-llama-3.1-70b: &llama70b",
        "together-llama-3.1-70b has no items in its counts",
        id="own counts of nothing",
    ),
    pytest.param(
        "margin: 3 pp",
        "margin: 100 %",
        "margin: 100 %",
        "quality.margin is 1 share, but must be more than 0 and less than 1 share",
        id="margin of everything",
    ),
    pytest.param(
        CANDIDATES,
        CANDIDATES.replace("]", ", h200-llama-3.1-70b]"),
        "  product:",
        'workloads.product names the route "h200-llama-3.1-70b" more than once',
        id="candidate named twice",
    ),
    pytest.param(
        "  self_hosted:\n    cost: {figure: self_hosting.migration_usd}\n"
        "    ramp: {figure: self_hosting.ramp_months}\n",
        "",
        "moving:",
        "moving.self_hosted is missing: what would moving there cost?",
        id="arm without a cost of moving",
    ),
    horizon(
        LONG.replace("grade", "expires: never, grade"),
        'horizon has expires "never", which is not a date',
        id="expires that is no date",
    ),
    horizon(LONG.replace("36]", ".inf]"), "both ends must be finite", id="range without an end"),
    horizon('"2,4 months"', 'is "2,4 months", whose number cannot be read', id="decimal comma"),
]


@pytest.mark.parametrize(("old", "new", "marker", "sentence"), FAULTS)
def test_a_fault_gives_one_sentence_with_its_line(variant, old, new, marker, sentence):
    file = variant("source_memo", (old, new))
    # where a figure is shared by a YAML anchor, the fault is told for each use
    line, said = faults(file)[0]
    assert sentence in said
    assert not [words for words in NOT_OURS if words in said]
    assert line == line_of(file, marker)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(
            "- {kind: dpa, valid_until: 2027-12-31}",
            "- {kind: dpa, valid_until: 2026-12-31}\n      - {kind: dpa, valid_until: 2027-12-31}",
            id="a contract and its renewal",
        ),
        pytest.param(
            "benchmark: zeroeval_gsm\n", f"benchmark: own\n          {OWN}\n", id="own counts"
        ),
        pytest.param(
            f"    rented_from: nebius\n{COMMITMENT}", f"    owned: {OWNED}\n", id="owned cards"
        ),
        pytest.param(
            "    model: gpt-4o\n",
            "    model: gpt-4o\n    rate_limit: {tokens_per_minute: 2 M tokens/min}\n"
            "    regional_premium: {figure: api.regional_premium}\n",
            id="rate limit and premium",
        ),
        pytest.param(
            "horizon: 24 months", "horizon: 24 months\ndiscount_rate: 8 %/year", id="discount rate"
        ),
        pytest.param(
            "horizon: 24 months",
            f"horizon: {LONG.replace('grade', 'expires: 2026-11-24, grade')}",
            id="a figure that expires the day after",
        ),
    ],
)
def test_what_is_in_order_loads(variant, old, new):
    assert load(variant("source_memo", (old, new))).study == "source_memo"


def test_every_name_that_another_block_lacks_is_told_at_once(variant):
    file = variant("source_memo", (CANDIDATES, "candidates: [a, b]"))
    assert [said.split('"')[1] for _, said in faults(file)] == [
        "a", "b", "together-llama-3.1-70b", "h200-llama-3.1-70b"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["embeddings", "rerank"])
def test_no_workload_has_the_name_of_a_model_behind_the_gateway(variant, name):
    models = {
        "embeddings": "{provider: openai, model: text-embedding-3-small}",
        "rerank": "{provider: cohere, model: rerank-v3.5, usd_per_search: 0.002}",
    }
    workload = ("  product:", f"  {name}:")
    load(variant("source_memo", workload))
    block = ("seed: 20261123", f"seed: 1\ngateway: {{{name}: {models[name]}}}")
    file = variant("source_memo", workload, block)
    [(line, sentence)] = faults(file)
    assert f"workloads.{name} has the name that gateway.{name} serves its model under" in sentence
    assert line == line_of(file, f"  {name}:")


def test_every_fault_of_a_file_is_told_at_once(variant):
    file = variant(
        "source_memo",
        ("status: draft", "status: done"),
        ("horizon: 24 months", "horizon: 24"),
        ("data_class: unknown", "data_class: secret"),
    )
    assert [line for line, _ in faults(file)] == [
        line_of(file, marker) for marker in ("status:", "horizon:", "data_class:")
    ]


@pytest.mark.parametrize(
    "question",
    [
        "requests",
        "input_tokens",
        "output_tokens",
        "data_class",
        "peak_to_mean",
        "context_tokens",
        "gpu_platform",
    ],
)
def test_every_intake_question_must_be_answered(variant, question):
    written = f"      {question}: unknown\n"
    [(_, said)] = faults(variant("source_memo", (written, "")))
    assert said.startswith(f"workloads.product.intake.{question} is missing: ")
    assert said.endswith("? Answer it, or write unknown.")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "only words"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    file = tmp_path / "empty.yaml"
    file.write_text(text)
    assert faults(file) == [
        (1, "a study file is a mapping of keys, but this one is empty or has no keys.")
    ]


def test_the_folder_of_a_study_is_told_from_the_study_itself(tmp_path):
    (tmp_path / "study.yaml").touch()
    with pytest.raises(StudyError, match=r"is a folder: name the study in it, .*/study\.yaml\.$"):
        load(tmp_path)


def test_a_missing_file_is_named_with_the_way_to_make_one(tmp_path):
    with pytest.raises(StudyError, match=r"nope.yaml: no such study file. Create one with"):
        load(tmp_path / "nope.yaml")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_studies_that_ship_load_and_every_assumption_says_where_it_comes_from(name):
    study = load(paths.params(f"{name}.yaml"))
    assert study.study == name
    assert study.decide_by > study.as_of
    for path, figure in study.figures().items():
        assert figure.source, path
        assert figure.grade in GRADES, path
        assert figure.as_of is None or figure.as_of <= study.as_of, path


@pytest.mark.parametrize("name", SHIPPED)
def test_no_peak_is_higher_than_the_busiest_hour_that_was_published_can_have_been(name):
    """A peak of ten minutes holds the bursts that a fleet's utilisation answers already."""
    traces = pd.read_csv(paths.data("traffic_shape.csv")).set_index("trace")
    seen = traces.loc["ragpulse"]
    requests = seen["peak_to_mean_hour"] * seen["requests"] / seen["span_h"]
    highest = traces["peak_to_mean_hour"].max() * (1 + 1.96 / requests**0.5)
    for workload in load(paths.params(f"{name}.yaml")).workloads.values():
        assert workload.intake.peak_to_mean.high <= highest


def test_every_question_answered_unknown_is_listed():
    intake = "workloads.product.intake."
    assert set(load(paths.params("source_memo.yaml")).unknown()) == {
        f"{intake}requests",
        f"{intake}input_tokens",
        f"{intake}output_tokens",
        f"{intake}data_class",
        f"{intake}peak_to_mean",
        f"{intake}context_tokens",
        f"{intake}gpu_platform",
        "workloads.product.slo.ttft_p95",
        "prompting_and_retrieval_insufficient",
    }
    assert load(paths.params("default.yaml")).unknown() == []


def test_an_unknown_answer_takes_the_wide_prior(variant):
    study = load(variant("default", ("ttft_p95: 1000 ms", "ttft_p95: unknown")))
    prior = study.workloads["support-chat"].slo.ttft_p95
    assert prior == bundled_figures()["unknown.ttft_p95"]
    assert prior.grade == "assumed"
    for name, figure in bundled_figures().items():
        if name.startswith("unknown."):
            assert figure.low is not None
            assert figure.high / figure.low > 2


@pytest.mark.parametrize(
    ("given", "folders"),
    [
        ("probes/a", ["probes/a"]),
        ("[probes/a, probes/b]", ["probes/a", "probes/b"]),
        ("[/probes/a]", ["/probes/a"]),
    ],
)
def test_probe_runs_of_a_route_are_one_or_several_beside_the_study_file(
    variant, tmp_path, given, folders
):
    routes = {
        "openai-gpt-4o": "    model: gpt-4o\n",
        "h200-llama-3.1-70b": "    tensor_parallel: 2\n",
    }
    changes = [(line, f"{line}    probe: {given}\n") for line in routes.values()]
    study = load(variant("default", *changes))
    for route in routes:
        assert study.routes[route].probe == tuple(tmp_path / folder for folder in folders)
    assert study.routes["novita-llama-3.1-70b"].probe == ()


def test_a_probe_that_is_no_path_is_refused_with_its_line(variant):
    line = "    model: gpt-4o\n"
    study = variant("default", (line, f"{line}    probe: [3]\n"))
    with pytest.raises(
        StudyError, match=r"yaml:\d+: routes\.openai-gpt-4o\.probe\.0 is 3, .* path"
    ):
        load(study)


def test_a_relative_log_path_is_relative_to_the_study_file(variant, tmp_path):
    log = LOG.replace("nope", "product")
    study = load(variant("source_memo", ("seed: 20261123", f"seed: 1\n{log}")))
    assert study.requests.path == tmp_path / "log.csv"
    absolute = log.replace("log.csv", "/logs/log.csv")
    study = load(variant("source_memo", ("seed: 20261123", f"seed: 1\n{absolute}")))
    assert str(study.requests.path) == "/logs/log.csv"


def test_yes_and_no_may_be_written_bare(variant):
    bare = load(variant("source_memo", ("gpu_platform: unknown", "gpu_platform: yes")))
    quoted = load(variant("source_memo", ("gpu_platform: unknown", 'gpu_platform: "yes"')))
    assert bare == quoted


def test_a_long_form_keeps_source_date_grade_and_range(variant):
    months = load(variant("source_memo", ("horizon: 24 months", f"horizon: {LONG}"))).horizon
    assert (months.low, months.value, months.high) == (12, 24, 36)
    assert (months.source, months.as_of, months.grade) == ("x", date(2026, 11, 1), "assumed")
    assert months.distribution == "triangular"


legal = st.sampled_from([(unit, written) for unit in units.UNITS for written in units.UNITS[unit]])


@given(legal, st.floats(1e-6, 1e12), st.floats(1, 10))
def test_a_quantity_is_the_same_figure_in_any_legal_unit(pair, value, spread):
    unit, written = pair
    read, scale = quantity(unit).func, units.factor(written, unit)
    assert read(f"{value / scale!r} {written}").value == pytest.approx(value)
    long = read(
        {
            "value": value / scale,
            "unit": written,
            "range": [value / scale / spread, value / scale * spread],
            "distribution": "lognormal",
            "source": "x",
            "as_of": date(2026, 11, 1),
            "grade": "assumed",
        }
    )
    assert (long.low, long.value, long.high) == pytest.approx(
        (value / spread, value, value * spread)
    )
    assert long.unit == unit


@given(st.floats(-1e3, 1e3), st.floats(0, 10), st.floats(0, 10))
def test_a_quantity_is_refused_exactly_outside_its_bounds(value, low, width):
    read = quantity("s", low, low + width).func
    if low <= value <= low + width:
        assert read(f"{value!r} s").value == value
    else:
        with pytest.raises(ValueError, match="but must be"):
            read(f"{value!r} s")


def test_contract_kinds_of_the_privacy_matrix_can_be_written_in_a_study():
    from llmstudy.measures.privacy import privacy_matrix

    needed = {kind for needs in privacy_matrix()["needs"] for kind in needs.split()}
    assert needed <= set(get_args(Contract.model_fields["kind"].annotation))


def test_bundled_figures_carry_a_unit_that_a_study_can_use_and_a_range_that_holds_them():
    for name, figure in bundled_figures().items():
        assert figure.unit in units.UNITS, name
        assert figure.low <= figure.value <= figure.high, name
        assert math.isfinite(figure.value), name
