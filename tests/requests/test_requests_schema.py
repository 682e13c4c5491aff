import numpy as np
import pandas as pd
import pytest

from llmstudy.requests.schema import COLUMNS, NAMES, REQUIRED, conform, weights


def _frame(**changed):
    required = {
        "request_id": ["a", "b"],
        "ts_start": pd.to_datetime(["2026-11-02T09:00:00Z", "2026-11-02T09:00:01Z"]),
        "workload": "chat",
        "provider": "openai",
        "model_served": "gpt-4o",
        "input_tokens": [374, 396],
        "output_tokens": [44, 109],
        "ok": [True, False],
        "source": "example",
    }
    return pd.DataFrame({**required, **changed})


def test_a_conformed_table_has_every_column_in_order_and_type():
    table = conform(_frame()[REQUIRED[::-1]])
    assert [(name, str(table[name].dtype)) for name in table] == [
        (column.name, column.dtype) for column in COLUMNS
    ]


def test_tokens_are_held_against_the_longest_context_but_not_in_a_bucket_without_a_count():
    tokens = {"input_tokens": [60_000_000, 396]}
    for n_requests in ([None, None], [5, None]):
        with pytest.raises(ValueError, match="above 10,000,000"):
            conform(_frame(**tokens, n_requests=n_requests))
    assert weights(conform(_frame(**tokens, n_requests=[0, None]))).tolist() == [0, 1]
    assert weights(conform(_frame(**tokens, n_requests=[6, None]))).tolist() == [6, 1]


def test_an_empty_frame_conforms():
    assert conform(_frame().iloc[:0]).columns.tolist() == NAMES


def test_conforming_twice_changes_nothing():
    once = conform(_frame(latency_s=[1.5, None], tenant=["acme", None]))
    pd.testing.assert_frame_equal(conform(once), once)


def test_a_time_in_another_zone_is_the_same_instant_in_utc():
    zoned = pd.to_datetime(["2026-11-02T11:00:00+02:00", "2026-11-02T11:00:01+02:00"])
    assert conform(_frame(ts_start=zoned))["ts_start"].tolist() == _frame()["ts_start"].tolist()


def test_what_is_not_logged_stays_null_and_breaks_no_rule():
    table = conform(_frame(ttft_s=[0.4, np.nan], cached_input_tokens=[None, 396]))
    assert table["latency_s"].isna().all()
    assert table["cached_input_tokens"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"input_tokens": [374, -1]}, "row 1 of 2: a token count is below zero"),
        ({"cached_input_tokens": [300, 0], "cache_write_tokens": [75, 0]}, "row 0 of 2: cached"),
        ({"cached_input_tokens": [None, 397]}, "row 1 of 2: cached"),
        ({"reasoning_tokens": [44, 110]}, "row 1 of 2: reasoning tokens exceed"),
        ({"latency_s": [1, 1], "ttft_s": [0.5, 1.5]}, "row 1 of 2: the first token comes after"),
        ({"latency_s": [None, -0.1]}, "row 1 of 2: a duration is below zero"),
        ({"ts_start": pd.to_datetime(["2026-11-02T09:00:00Z", None])}, "ts_start is missing"),
        ({"request_id": [None, "b"]}, "row 0 of 2: request_id is missing"),
        ({"ok": [True, None]}, "row 1 of 2: ok is missing"),
        ({"input_tokens": [374, 1.5]}, "input_tokens must be int64"),
        ({"ok": ["yes", "no"]}, "ok must be bool"),
        ({"ts_start": pd.to_datetime(["2026-11-02", "2026-11-03"])}, "ts_start must be .*UTC"),
        ({"prompt": "secret"}, r"unknown columns \['prompt'\]"),
    ],
)
def test_a_broken_rule_is_an_error_that_says_where_and_which(changed, reason):
    with pytest.raises(ValueError, match=reason):
        conform(_frame(**changed))


def test_an_absent_required_column_is_named():
    with pytest.raises(ValueError, match=r"columns \['ok'\] are missing"):
        conform(_frame().drop(columns="ok"))
