"""What a log amounts to, against sums that can be done by hand."""

import pandas as pd
import pytest

from llmstudy.measures.log_totals import log_totals
from llmstudy.requests.importers import read_log

DAYS = pd.date_range("2026-11-02", periods=10, freq="D", tz="UTC") + pd.Timedelta(hours=1)
GPT_4O = 2.5e-6, 1.25e-6, 10e-6
"""USD per token in, cached and out, as OpenAI's price list has it in November 2026."""


def _log(**columns):
    frame = pd.DataFrame({"ts_start": DAYS, "input_tokens": 1_000, "output_tokens": 100, **columns})
    return read_log(frame)


def test_a_month_is_billed_at_the_rate_of_the_time_that_the_log_covers():
    totals = log_totals(_log(cached_input_tokens=400), "openai/gpt-4o", "2026-11-29")
    per_request = 600 * GPT_4O[0] + 400 * GPT_4O[1] + 100 * GPT_4O[2]
    assert totals.requests_per_month == pytest.approx(730 / 24)
    assert totals.usd == pytest.approx(per_request * 730 / 24)
    assert (totals.input_tokens, totals.cached_input_tokens) == (10_000, 4_000)


def test_an_untold_cache_leaves_a_range_from_all_cached_to_none():
    totals = log_totals(_log(), "openai/gpt-4o", "2026-11-29")
    assert totals.cached_input_tokens is None
    assert totals.usd is None
    output = 100 * GPT_4O[2]
    ends = [1_000 * rate + output for rate in GPT_4O[1::-1]]
    assert [totals.usd_low, totals.usd_high] == pytest.approx([end * 730 / 24 for end in ends])


def test_requests_without_counts_have_the_mean_of_the_others():
    counts = [1_000, None] * 5
    log = _log(input_tokens=counts, output_tokens=[100, None] * 5, cached_input_tokens=0)
    totals = log_totals(log, "openai/gpt-4o", "2026-11-29")
    assert totals.logical_requests == 10
    assert totals.input_tokens == 10_000
    assert log.rows_read == 10


def test_failures_without_tokens_count_as_requests_not_as_short_ones():
    log = _log(input_tokens=[1_000, None] * 5, output_tokens=[100, None] * 5, ok=[True, False] * 5)
    totals = log_totals(log)
    assert totals.failed_share == 0.5
    assert totals.input_tokens / totals.logical_requests == 1_000


def test_what_the_log_does_not_tell_is_none_and_named():
    log = _log()
    assert log_totals(log).failed_share is None
    assert {"ok", "cached_input_tokens", "latency_s", "ttft_s"} <= set(log.unknown)


def test_a_row_that_stands_for_many_is_weighed_by_them():
    log = _log(n_requests=[1.0, 3.0] * 5, input_tokens=[1_000, 6_000] * 5, cached_input_tokens=0)
    totals = log_totals(log, "openai/gpt-4o", "2026-11-29")
    assert totals.logical_requests == 20
    assert totals.input_tokens == 35_000  # of a row: the sum of its requests


def test_a_log_without_a_request_says_so():
    with pytest.raises(ValueError, match="none of its 10 rows is a request"):
        log_totals(_log(input_tokens=-1))
