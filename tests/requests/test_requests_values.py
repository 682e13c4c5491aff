"""What can be read in two ways is settled by the other values of the file, or asked."""

import pandas as pd
import pytest

from llmstudy.requests.importers import read_log

TIME = "2026-11-02T09:00:00Z"


def _log(tmp_path, header, rows, delimiter=",", **meaning):
    path = tmp_path / "log.csv"
    lines = [header, *rows]
    path.write_text("\n".join(delimiter.join(line) for line in lines) + "\n")
    return read_log(path, **meaning)


def _tokens(tmp_path, values, **meaning):
    rows = [(TIME, f'"{value}"', "5") for value in values]
    return _log(tmp_path, ("ts_start", "input_tokens", "output_tokens"), rows, **meaning)


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (["739", "1.267", "2.000"], [739, 1_267, 2_000]),
        (["739", "1,267", "2,000"], [739, 1_267, 2_000]),
        (["739", "1 267"], [739, 1_267]),
        (["1.234.567", "12"], [1_234_567, 12]),
        (["119.0", "1.000"], [119, 1]),  # a column of decimals
        (["1267", "12"], [1_267, 12]),
    ],
)
def test_the_thousands_sign_is_told_by_the_other_numbers_of_the_file(tmp_path, values, counts):
    assert _tokens(tmp_path, values).accepted["input_tokens"].tolist() == counts


@pytest.mark.parametrize("sign", [".", ","])
def test_a_number_that_is_one_or_a_thousand_is_asked_about(tmp_path, sign):
    values = [f"1{sign}000", f"2{sign}000", "640"]
    with pytest.raises(
        ValueError, match=f'may be one or a thousand: declare `thousands: "[{sign}]'
    ):
        _tokens(tmp_path, values)
    read = _tokens(tmp_path, values, thousands=sign)
    assert read.accepted["input_tokens"].tolist() == [1_000, 2_000, 640]
    read = _tokens(tmp_path, values, decimal=sign)
    assert read.accepted["input_tokens"].tolist() == [1, 2, 640]


def test_both_signs_of_a_european_table_are_told_by_one_number_with_both(tmp_path):
    columns = ("ts_start", "input_tokens", "output_tokens", "latency_s")
    rows = [(TIME, "1.000", "5", "0,5"), (TIME, "2.000", "5", "1.234,5")]
    log = _log(tmp_path, columns, rows, ";")
    assert log.accepted["input_tokens"].tolist() == [1_000, 2_000]
    assert log.accepted["latency_s"].tolist() == [0.5, 1_234.5]


def _times(tmp_path, times, **meaning):
    rows = [(f'"{time}"', "10", "5") for time in times]
    return _log(tmp_path, ("ts_start", "input_tokens", "output_tokens"), rows, **meaning)


@pytest.mark.parametrize(
    ("times", "first"),
    [
        (["02.11.2026 09:00:01", "13.11.2026 09:00:00"], "2026-11-02T09:00:01Z"),
        (["02/11/2026 09:00", "13/11/2026 09:00"], "2026-11-02T09:00Z"),
        (["11/2/2026, 12:03:36.140 AM", "11/13/2026, 1:00:00 PM"], "2026-11-02T00:03:36.14Z"),
        (["Mon, 02 Nov 2026 09:00:00 GMT"], "2026-11-02T09:00:00Z"),
        (["02-11-2026 09:00:01", "13-11-2026 09:00:00"], "2026-11-02T09:00:01Z"),
        (["11/2/26 9:00", "11/13/26 9:00"], "2026-11-02T09:00Z"),
        (["2.11.26 09:00", "13.11.26 09:00"], "2026-11-02T09:00Z"),
        (["Nov 2, 2026, 9:00:01 PM", "Nov 13, 2026, 9:00:00 AM"], "2026-11-02T21:00:01Z"),
        (["2 Nov 2026 09:00:01"], "2026-11-02T09:00:01Z"),
        (["2026-11-02 09:00:01,123"], "2026-11-02T09:00:01.123Z"),
        (["2026-11-02 09:00:01.5 +0100 CET"], "2026-11-02T08:00:01.5Z"),
        (["1793610000,5"], "2026-11-02T09:00:00.5Z"),
        (["638975700000000000"], "2025-11-01T05:00:00Z"),  # ticks of .NET
    ],
)
def test_a_date_is_read_from_the_forms_of_spreadsheets(tmp_path, times, first):
    assert _times(tmp_path, times).accepted["ts_start"][0] == pd.Timestamp(first)


def test_a_day_that_could_be_a_month_is_asked_about(tmp_path):
    times = ["02/11/2026 09:00:00", "03/11/2026 09:00:00"]
    with pytest.raises(
        ValueError, match=r"day and month could be either: declare `time_form: \"%m/"
    ):
        _times(tmp_path, times)
    read = _times(tmp_path, times, time_form="%d/%m/%Y %H:%M:%S").accepted
    assert read["ts_start"].dt.month.tolist() == [11, 11]


def test_times_from_an_unnamed_moment_are_asked_about(tmp_path):
    with pytest.raises(ValueError, match="a moment that the log does not name"):
        _times(tmp_path, ["0", "1500", "82000"])
    meaning = {"time_origin": "2026-11-02T09:00:00", "units": {"ts_start": "ms"}}
    read = _times(tmp_path, ["0", "1500", "82000"], **meaning).accepted
    assert read["ts_start"].tolist() == [
        pd.Timestamp(TIME) + pd.Timedelta(milliseconds=ms) for ms in (0, 1_500, 82_000)
    ]


def test_days_of_a_spreadsheet_are_asked_about_with_what_they_count_from(tmp_path):
    days = ["46328.375", "46329.5"]
    with pytest.raises(ValueError, match="time_origin: 1899-12-30T00:00:00"):
        _times(tmp_path, days)
    meaning = {"time_origin": "1899-12-30T00:00:00", "units": {"ts_start": "days"}}
    assert _times(tmp_path, days, **meaning).accepted["ts_start"][0] == pd.Timestamp(TIME)


def test_a_time_without_a_zone_is_of_the_declared_one(tmp_path):
    read = _times(
        tmp_path, ["2026-07-01 12:00:00", "2026-12-01T12:00:00Z"], time_zone="Europe/Rome"
    )
    assert read.accepted["ts_start"].tolist() == [
        pd.Timestamp("2026-07-01T10:00Z"),
        pd.Timestamp("2026-12-01T12:00Z"),
    ]
    with pytest.raises(ValueError, match="time_zone 'Rome' is unknown"):
        _times(tmp_path, ["2026-07-01 12:00:00"], time_zone="Rome")


def _statuses(tmp_path, statuses, **meaning):
    rows = [(TIME, "10", "5", status) for status in statuses]
    return _log(tmp_path, ("ts_start", "input_tokens", "output_tokens", "status"), rows, **meaning)


@pytest.mark.parametrize(
    ("statuses", "meaning", "ok"),
    [
        (["success", "failure"], {}, [True, False]),
        (["200", "429"], {}, [True, False]),
        (["WAHR", "FALSCH"], {}, [True, False]),
        (["done", "lost", ""], {"failed_values": ("lost",)}, [True, False, True]),
        (["done", "lost", ""], {"ok_values": ("done",)}, [True, False, False]),
    ],
)
def test_a_status_is_an_answer_or_a_failure(tmp_path, statuses, meaning, ok):
    assert _statuses(tmp_path, statuses, **meaning).accepted["ok"].tolist() == ok


def test_a_status_that_nobody_declared_is_put_aside_not_guessed(tmp_path):
    read = _statuses(tmp_path, ["success", "weird"])
    assert read.quarantined["reason"].tolist() == ["ok is 'weird', not an answer or a failure"]


def test_tokens_that_are_counted_beside_the_input_are_added_to_it(tmp_path):
    columns = (
        "ts_start",
        "input_tokens",
        "output_tokens",
        "cached_input_tokens",
        "reasoning_tokens",
    )
    log = _log(
        tmp_path,
        columns,
        [(TIME, "10", "5", "90", "7"), (TIME, "10", "5", "", "")],
        input_excludes=("cached_input_tokens",),
        output_excludes=("reasoning_tokens",),
        columns={"reasoning_tokens": "reasoning_tokens"},
    )
    assert log.accepted["input_tokens"].tolist() == [100, 10]
    assert log.accepted["output_tokens"].tolist() == [12, 5]


def test_a_row_of_a_sample_stands_for_as_many_requests_as_its_share_says(tmp_path):
    columns = ("ts_start", "input_tokens", "output_tokens", "share")
    rows = [(TIME, "10", "5", "0.1"), (TIME, "20", "5", "0.5")]
    log = _log(tmp_path, columns, rows, columns={"sampling_share": "share"})
    assert log.accepted["n_requests"].tolist() == [10, 2]
    assert log.accepted["input_tokens"].tolist() == [100, 40]
