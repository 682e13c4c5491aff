"""Whether the last memo was right about the bill, on months whose arithmetic fits on paper."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy.compare.forecast import against_actual, forecast_sentences
from llmstudy.study import Invoice, StudyError, load

ROUTES = {"chat": "api", "tags": "api"}


def row(workload, route, usd, months=24):
    """A forecast of so much an hour, with a range of a tenth to either side."""
    level = np.array([730 * usd] * months)
    ends = {"p10_usd": 0.9 * level, "p50_usd": level, "p90_usd": 1.1 * level}
    return {"workload": workload, "route": route} | {k: x.tolist() for k, x in ends.items()}


FLAT = [row("chat", "api", 1.0), row("tags", "api", 2.0), row(None, None, 3.0)]


def bill(month, usd, workload=None):
    return Invoice(month=month, usd=usd, source="invoice", workload=workload)


def compare(bills, forecasts=FLAT, as_of=date(2026, 1, 1), now=ROUTES):
    return against_actual(forecasts, as_of, ROUTES, now, bills)


def test_a_month_is_forecast_by_its_days():
    found = compare([bill("2026-01", 744 * 3.0), bill("2026-02", 700 * 3.0)])
    january, february = found["months"]
    assert january["p50_usd"] == pytest.approx(31 * 24 * 3)
    assert january["error_usd"] == pytest.approx(0)
    assert february["p50_usd"] == pytest.approx(28 * 24 * 3)
    assert february["error_share"] == pytest.approx((700 - 672) / 672)


@given(st.dates(date(2026, 1, 1), date(2026, 6, 30)))
def test_a_calendar_month_takes_of_each_month_of_the_forecast_its_days(as_of):
    rising = {**FLAT[2], "p50_usd": [730.0 * m for m in range(24)]}
    (found,) = compare([bill("2026-08", 1.0)], [rising], as_of)["months"]

    def months_after(day):
        """Whole months from the day of the forecast, counted day by day."""
        whole = 12 * (day.year - as_of.year) + day.month - as_of.month
        return whole - (day.day < min(as_of.day, 31 if day.month in (7, 8) else 30))

    days = (date(2026, 8, d) for d in range(1, 32))
    assert found["p50_usd"] == pytest.approx(sum(24 * months_after(day) for day in days))


def test_bias_and_coverage_are_those_of_the_months():
    hours = [744, 672, 744, 720]
    errors = [0.05, -0.05, 0.2, 0.3]  # the last two lie outside a tenth
    bills = [
        bill(f"2026-0{m}", 3 * h * (1 + e))
        for m, h, e in zip(range(1, 5), hours, errors, strict=True)
    ]
    (summary,) = compare(bills)["summary"]
    assert (summary["months"], summary["inside"], summary["coverage_share"]) == (4, 2, 0.5)
    by_hand = sum(3 * h * e for h, e in zip(hours, errors, strict=True))
    assert summary["bias_usd"] == pytest.approx(by_hand / 4)
    assert summary["bias_share"] == pytest.approx(by_hand / (3 * sum(hours)))
    assert summary["mean_abs_error_share"] == pytest.approx(0.15)
    assert summary["coverage_low"] < 0.5 < summary["coverage_high"]


def test_right_forecasts_are_inside_as_often_as_they_say():
    rng = np.random.default_rng(3)
    draws = rng.lognormal(0, 0.3, (4000, 24)) * 730
    ends = dict(zip(("p10_usd", "p50_usd", "p90_usd"), np.quantile(draws, [0.1, 0.5, 0.9], axis=0),
                    strict=True))  # fmt: skip
    forecast = [{"workload": None, "route": None} | {k: x.tolist() for k, x in ends.items()}]
    inside = []
    for _ in range(60):
        came = rng.lognormal(0, 0.3, 24) * 730
        days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] * 2
        bills = [
            bill(f"{2026 + m // 12}-{m % 12 + 1:02d}", came[m] * days[m] * 24 / 730)
            for m in range(24)
        ]
        inside += [row["inside"] for row in compare(bills, forecast)["months"]]
    assert np.mean(inside) == pytest.approx(0.8, abs=0.03)


def test_a_workload_that_has_moved_is_held_against_the_forecast_of_its_new_route():
    forecasts = [*FLAT, row("chat", "own", 0.5)]
    now = {**ROUTES, "chat": "own"}
    found = compare([bill("2026-01", 372.0, "chat"), bill("2026-01", 1860.0)], forecasts, now=now)
    chat, whole = found["months"]
    assert chat["p50_usd"] == pytest.approx(0.5 * 744)
    assert whole["p50_usd"] == pytest.approx((0.5 + 2.0) * 744)
    assert (chat["summed"], whole["summed"]) == (False, True)
    assert [summary["workload"] for summary in found["summary"]] == ["chat", None]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (bill("2025-12", 1.0), "not lie within the months that were forecast"),
        (bill("2028-01", 1.0), "not lie within the months that were forecast"),
        (bill("2026-03", 1.0, "search"), "nothing was forecast of search"),
    ],
)
def test_a_bill_that_was_not_forecast_is_named_and_not_compared(given, says):
    found = compare([given])
    assert (found["months"], found["summary"]) == ([], [])
    assert says in found["not_compared"][0]["reason"]
    assert says in forecast_sentences(found)[0]


def test_the_words_follow_the_numbers():
    above, below, exact = (
        forecast_sentences(compare([bill("2026-01", 744 * usd)]))[0] for usd in (3.3, 2.7, 3.0)
    )
    assert "10 % above the forecast" in above
    assert "10 % below the forecast" in below
    assert "was what was forecast" in exact
    far = [bill(f"2026-{m:02d}", 1.0) for m in range(1, 11)]
    assert "in 0 of 10: too seldom" in forecast_sentences(compare(far))[0]


# --- invoices in a study --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("invoice", "says"),
    [
        ("{month: 2026-13, usd: 1, source: x}", r"invoices\.1\.month"),
        ("{month: 2026-10, usd: -1, source: x}", r"invoices\.1\.usd is -1, but must be 0"),
        ("{month: 2026-10, usd: 1}", r"invoices\.1\.source is missing"),
        ("{month: 2026-11, usd: 1, source: x}", r"2026-11, which is not over on 2026-11-23"),
        ("{month: 2026-10, usd: 1, source: x, workload: search}", r'"search", which is not under'),
        ("{month: 2026-09, usd: 1, source: x}", r"bills 2026-09 again"),
    ],
)
def test_an_invoice_that_cannot_be_right_is_refused_where_it_stands(variant, invoice, says):
    block = f"invoices:\n  - {{month: 2026-09, usd: 30000.5, source: billing}}\n  - {invoice}\n"
    file = variant("default", ("team:\n", f"{block}\nteam:\n"))
    line = file.read_text().splitlines().index("invoices:") + 1
    with pytest.raises(StudyError, match=says) as error:
        load(file)
    assert int(str(error.value).split(":")[1]) in range(line, line + 3)


def test_a_study_may_say_what_its_months_were_billed(variant):
    block = "invoices:\n  - {month: 2025-12, usd: 30000.5, source: billing, workload: extraction}\n"
    (found,) = load(variant("default", ("team:\n", f"{block}\nteam:\n"))).invoices
    assert (found.usd, found.workload) == (30000.5, "extraction")
    assert (found.begins, found.ends) == (date(2025, 12, 1), date(2026, 1, 1))
