import csv
import io
import json
import os
import subprocess
import sys

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmstudy import paths
from llmstudy.requests.importers import Log, imported, read_log
from llmstudy.requests.plausible import NO_USAGE
from llmstudy.requests.schema import NAMES

COLUMNS = {"ts_start": "when", "input_tokens": "in", "output_tokens": "out"}
CONSTANTS = {"workload": "chat", "provider": "openai", "model_served": "gpt-4o", "ok": "true"}
TIME = "2026-11-02T09:00:00Z"

AZURE = paths.ROOT.parent / "shared/traces/AzureLLMInferenceTrace_conv.csv"
RAGPULSE = paths.ROOT.parent / "shared/traces/ragpulse_trace.jsonl"


def _read(path, text, format="csv", columns=COLUMNS, constants=CONSTANTS):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_log(path, format, columns, constants)


def _lines(log):
    """Line of each accepted row, read off the request_id that the importer gave it."""
    return [int(request_id.split(":")[1]) for request_id in log.accepted["request_id"]]


# Rows of a dirty log, each with whether it is sound.

LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))
COUNT = st.integers(0, 10**6).map(str)
NOT_COUNT = st.sampled_from(["", "many", "-3", "1.5", "inf", "NaN", "0x1F", "1e99"])
NOT_TIME = st.sampled_from(["", "-1", "2026-13-02", "infinity", "noon"])
SOUND = st.tuples(st.just(TIME), COUNT, COUNT)
UNSOUND = (
    st.tuples(st.just(TIME), NOT_COUNT, COUNT)
    | st.tuples(st.just(TIME), COUNT, NOT_COUNT)
    | st.tuples(NOT_TIME, COUNT, COUNT)
)


def _csv_line(fields):
    text = io.StringIO()
    csv.writer(text).writerow(fields)
    return text.getvalue()


PROMPT = st.text(st.characters(exclude_categories=["Cs"]))
CSV_ROWS = st.lists(
    st.tuples(st.just(True), st.builds(lambda f, p: _csv_line([*f, p]), SOUND, PROMPT))
    | st.tuples(st.just(False), st.builds(lambda f, p: _csv_line([*f, p]), UNSOUND, PROMPT))
    | st.tuples(
        st.just(False),
        st.lists(LINE, min_size=1, max_size=7).filter(lambda f: len(f) != 4).map(_csv_line),
    )
    | st.tuples(
        st.just(False),
        LINE.filter(lambda t: t and '"' not in t and t.count(",") != 3).map("{}\n".format),
    )
    | st.tuples(st.none(), st.just("\n"))
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=CSV_ROWS)
def test_each_row_of_a_dirty_csv_is_accepted_or_quarantined(tmp_path_factory, rows):
    line, sound, unsound = 2, [], []
    for is_sound, text in rows:
        if is_sound is not None:
            (sound if is_sound else unsound).append(line)
        line += len(io.StringIO(text, newline="").readlines())
    path = tmp_path_factory.getbasetemp() / "dirty.csv"
    log = _read(path, "when,in,out,prompt\n" + "".join(text for _, text in rows))
    assert log.rows_read == len(sound) + len(unsound)
    assert _lines(log) == sound
    assert log.quarantined["row"].tolist() == unsound
    assert log.quarantined["reason"].str.len().gt(0).all()


def _json_line(fields):
    return json.dumps(dict(zip(COLUMNS.values(), fields, strict=True)))


JSON_ROWS = st.lists(
    st.tuples(st.just(True), SOUND.map(_json_line))
    | st.tuples(
        st.just(True),
        st.tuples(st.just(1_793_610_000), st.integers(0, 10**6), st.integers(0, 10**6)).map(
            _json_line
        ),
    )
    | st.tuples(st.just(False), UNSOUND.map(_json_line))
    | st.tuples(st.just(False), SOUND.map(_json_line).map(lambda line: line[:-1]))
    | st.tuples(st.just(False), SOUND.map(list).map(json.dumps))
    | st.tuples(st.just(False), SOUND.map(lambda f: json.dumps({"when": f[0], "in": f[1]})))
    | st.tuples(st.just(False), LINE.filter(str.strip))
    | st.tuples(st.none(), st.sampled_from(["", "  "]))
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=JSON_ROWS)
def test_each_row_of_a_dirty_jsonl_is_accepted_or_quarantined(tmp_path_factory, rows):
    rows = [(True, _json_line((TIME, "1", "1"))), *rows]
    records = [row for row in rows if row[0] is not None]  # a blank line is none
    path = tmp_path_factory.getbasetemp() / "dirty.jsonl"
    log = _read(path, "\n".join(text for _, text in rows), "jsonl")
    assert _lines(log) == [n for n, (sound, _) in enumerate(records, 1) if sound]
    blank = " \t\r\n\x1e"
    unsound = {n: text.strip(blank) for n, (sound, text) in enumerate(records, 1) if not sound}
    assert log.quarantined["row"].tolist() == list(unsound)
    unread = log.quarantined[log.quarantined["reason"].str.startswith("not a JSON")]
    raw = unread["raw"].str.strip(blank).tolist()
    assert raw == [unsound[row] for row in unread["row"]]
    assert log.rows_read == len(log.accepted) + len(log.quarantined)


def test_a_log_that_lost_a_row_cannot_be_made():
    with pytest.raises(ValueError, match="3 rows read, but 2 in the tables"):
        Log(pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]}), 3)


def test_a_quote_that_nobody_closed_costs_one_row(tmp_path):
    text = f'when,in,out\n{TIME},1,1\n{TIME},"2,2\n{TIME},3,3\n{TIME},"4",4\n{TIME},5,5\n'
    log = _read(tmp_path / "log.csv", text)
    assert log.accepted["input_tokens"].tolist() == [1, 3, 4, 5]
    assert log.quarantined[["row", "raw"]].to_numpy().tolist() == [[3, f'{TIME},"2,2']]


def test_a_prompt_longer_than_the_limit_of_pythons_reader_is_passed_over(tmp_path):
    limit = csv.field_size_limit()
    prompt = "word, " * 50_000
    log = _read(tmp_path / "log.csv", f'when,in,out,prompt\n{TIME},1,1,"{prompt}"\n')
    assert len(log.accepted) == 1
    assert csv.field_size_limit() == limit


def test_bytes_that_are_not_utf8_cost_no_row(tmp_path):
    log = _read(tmp_path / "log.csv", f"\ufeffwhen,in,out,p\r\n{TIME},1,1,".encode() + b"\xff\r\n")
    assert len(log.accepted) == 1


def test_the_text_of_prompts_reaches_no_accepted_row(tmp_path):
    log = _read(tmp_path / "log.csv", f"when,in,out,prompt\n{TIME},1,1,the secret\n")
    assert log.accepted.columns.tolist() == NAMES
    assert not log.accepted.astype(str).apply(lambda c: c.str.contains("secret")).any(axis=None)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2023-11-16 18:15:46.6805900", "2023-11-16T18:15:46.680590Z"),
        ("2023-11-16T18:15:46.680590123Z", "2023-11-16T18:15:46.680590Z"),
        ("2023-11-16T18:15:46", "2023-11-16T18:15:46Z"),
        ("2023-11-16T18:15:46+02:00", "2023-11-16T16:15:46Z"),
        ("1700158546", "2023-11-16T18:15:46Z"),
        ("1700158546.25", "2023-11-16T18:15:46.25Z"),
        ("1700158546250", "2023-11-16T18:15:46.25Z"),
        ("1700158546250001", "2023-11-16T18:15:46.250001Z"),
        ("1700158546250000000", "2023-11-16T18:15:46.25Z"),
    ],
)
def test_a_time_is_read_from_any_of_the_usual_forms(tmp_path, text, instant):
    log = _read(tmp_path / "log.csv", f"when,in,out\n{text},1,1\n")
    assert log.accepted["ts_start"].tolist() == [pd.Timestamp(instant)]


def test_a_time_without_a_zone_is_utc_on_a_machine_in_any_zone(tmp_path):
    (tmp_path / "log.csv").write_text("when,in,out\n2026-07-01 12:00:00,1,1\n")
    code = (
        "import sys; from llmstudy.requests.importers import read_log;"
        f"log = read_log(sys.argv[1], 'csv', {COLUMNS}, {CONSTANTS});"
        "print(log.accepted['ts_start'][0])"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, tmp_path / "log.csv"]
    environment = {**os.environ, "TZ": "Asia/Tokyo"}
    done = subprocess.run(
        command, env=environment, cwd=paths.ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "2026-07-01 12:00:00+00:00"


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("input_tokens", "12.7", "input_tokens is '12.7', not a whole number"),
        ("input_tokens", "", "input_tokens is missing"),
        ("input_tokens", "9000000000000000000", "a token count is above 10,000,000"),
        ("cached_input_tokens", "9000000000000000000", "a token count is above 10,000,000"),
        ("ts_start", "1970-01-01", "ts_start is before 2018"),
        ("ts_start", "2016-05-01", "ts_start is before 2018"),
        ("latency_s", "-1", "a duration is below zero"),
        ("latency_s", "fast", "latency_s is 'fast', not a number"),
        ("ok", "maybe", "ok is 'maybe', not an answer or a failure"),
        ("cached_input_tokens", "11", "cached and cache-write tokens exceed the input"),
        ("reasoning_tokens", "6", "reasoning tokens exceed the output"),
    ],
)
def test_the_reason_for_a_quarantine_names_the_column_and_what_was_expected(
    tmp_path, column, value, reason
):
    row = {"ts_start": TIME, "input_tokens": "10", "output_tokens": "5", "ok": "yes", column: value}
    constants = {name: text for name, text in CONSTANTS.items() if name not in row}
    text = ",".join(row) + "\n" + ",".join(row.values()) + "\n"
    log = _read(
        tmp_path / "log.csv", text, columns={name: name for name in row}, constants=constants
    )
    assert log.quarantined["reason"].str.startswith(reason).tolist() == [True]


def _attempts(tmp_path, rows):
    """A log of rows: id, seconds since TIME, whether it succeeded, input tokens, latency."""
    start = pd.Timestamp(TIME)
    lines = [
        f"{key},{(start + pd.Timedelta(seconds=at)).isoformat()},{ok},{n},1,{latency}"
        for key, at, ok, n, latency in rows
    ]
    columns = COLUMNS | {"request_id": "id", "ok": "ok", "latency_s": "s"}
    constants = {name: value for name, value in CONSTANTS.items() if name != "ok"}
    text = "\n".join(["id,when,ok,in,out,s", *lines])
    return _read(tmp_path / "log.csv", text, columns=columns, constants=constants)


def test_attempts_of_one_call_count_once_with_the_outcome_of_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr("llmstudy.requests.containers.BATCH_ROWS", 2)
    rows = [
        ("a", 0, "false", "", 0.1),
        ("b", 0, "false", "", 0.1),
        ("a", 0.5, "false", "", 0.1),
        ("b", 1, "false", "", 0.2),
        ("a", 2, "true", 700, 0.9),
    ]
    log = _attempts(tmp_path, rows)
    calls = log.accepted.set_index("request_id")
    assert calls["ok"].to_dict() == {"a": True, "b": False}
    assert calls["input_tokens"].to_dict() == {"a": 700, "b": 0}
    assert calls["failed_attempts"].to_dict() == {"a": 2, "b": 1}
    assert calls["attempts"].to_dict() == {"a": 3, "b": 2}
    assert (calls["ts_start"] == pd.Timestamp(TIME)).all()
    assert calls["latency_s"].to_dict() == pytest.approx({"a": 2.9, "b": 1.2})
    assert log.quarantined["row"].tolist() == [2, 3, 4]
    assert log.lost.empty


def test_a_call_that_another_model_answered_names_the_one_that_failed_first(tmp_path):
    start = pd.Timestamp(TIME)
    frame = pd.DataFrame(
        {
            "id": ["a", "b", "a", "a"],
            "when": start + pd.to_timedelta([0.0, 0.0, 0.5, 1.0], "s"),
            "ok": ["false", "true", "false", "true"],
            "model": ["new", "new", "spare", "old"],
            "s": 0.1,
        }
    )
    columns = {"request_id": "id", "ts_start": "when", "latency_s": "s", "model_served": "model"}
    constants = {"workload": "chat", "provider": "x", "input_tokens": "9", "output_tokens": "9"}
    log = read_log(frame, columns={**columns, "ok": "ok"}, constants=constants)
    calls = log.accepted.set_index("request_id")[["first_model", "model_served"]]
    assert calls.loc["a"].tolist() == ["new", "old"]
    assert pd.isna(calls.loc["b", "first_model"])
    with imported(frame, columns={**columns, "ok": "ok"}, constants=constants) as table:
        table.write(tmp_path / "table.parquet")  # has what the log had
    again = read_log(tmp_path / "table.parquet").accepted.set_index("request_id")
    assert again.loc["a", "first_model"] == "new"


def test_a_stream_that_begins_before_its_failed_attempt_is_one_call(tmp_path):
    # as LiteLLM 1.106.2 logs a failover: the answer's row starts with the client's request
    rows = [("a", 0.001, "false", "", 2.0), ("a", 0, "true", 700, 2.04)]
    log = _attempts(tmp_path, rows)
    [call] = log.accepted.to_dict("records")
    assert (call["ok"], call["attempts"], call["latency_s"]) == (True, 2, pytest.approx(2.04))
    assert log.lost.empty


def test_a_health_check_of_the_gateway_is_no_request(tmp_path):
    rows = (paths.ROOT / "tests/requests/samples/litellm.jsonl").read_text().splitlines()
    check = json.loads(rows[0])
    name = "litellm-internal-health-check"
    check["metadata"] |= {"user_api_key_alias": name, "user_api_key_hash": name}
    check |= {"litellm_call_id": "check", "id": "check", "request_tags": [name]}
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join([*rows, json.dumps(check)]))
    before = read_log(paths.ROOT / "tests/requests/samples/litellm.jsonl")
    after = read_log(log)
    assert len(after.accepted) == len(before.accepted)
    assert after.lost.equals(before.lost)


def test_a_log_that_shows_attempts_shows_which_requests_took_one(tmp_path):
    rows = [("a", 0, "false", "", 0.1), ("a", 1, "true", 700, 0.9), ("b", 0, "true", 10, 0.1)]
    calls = _attempts(tmp_path, rows).accepted.set_index("request_id")
    assert calls["attempts"].to_dict() == {"a": 2, "b": 1}
    alone = _attempts(tmp_path, rows[1:]).accepted
    assert alone["attempts"].isna().all()


def test_distinct_requests_that_share_an_id_are_all_counted(tmp_path):
    day = 86_400
    reused = [("a", k * day, "true", 100 + k, 1) for k in range(5)]
    answered_twice = [("b", 0, "true", 9, 1), ("b", 1, "true", 10, 1)]
    failed = [("c", 0, "false", 9, 1), ("c", 2 * day, "false", 10, 1)]
    log = _attempts(tmp_path, reused + answered_twice + failed)
    assert len(log.accepted) == 9
    assert log.accepted["request_id"].is_unique


@pytest.mark.parametrize("word", ["None", "null", "", "undefined", "-", "no-id-at-all"])
def test_a_word_in_place_of_an_id_makes_no_attempts(tmp_path, word):
    rows = [(word, k, "false", k, 1) for k in range(40)]
    log = _attempts(tmp_path, rows)
    assert (len(log.accepted), len(log.quarantined)) == (40, 0)
    assert log.accepted["request_id"].is_unique
    assert log.accepted["failed_attempts"].isna().all()


def test_a_line_delivered_twice_with_its_id_counts_once(tmp_path):
    rows = [("a", 0, "true", 7, 1), ("b", 1, "true", 7, 1), ("a", 0, "true", 7, 1)]
    log = _attempts(tmp_path, rows)
    assert log.quarantined[["row", "reason"]].to_numpy().tolist() == [
        [4, "delivered again: the same as an earlier row"]
    ]


def _busy(n, unit, seed=3):
    """Lines of n requests over five days, with lengths of their own and times cut to a unit."""
    rng = np.random.default_rng(seed)
    times = pd.Timestamp("2026-11-02", tz="UTC") + pd.to_timedelta(rng.random(n) * 5, unit="D")
    tokens = rng.integers(300, 1_500, n)
    return [
        f"{at.isoformat()},{size},{size // 7}"
        for at, size in zip(times.floor(unit), tokens, strict=True)
    ]


@pytest.mark.parametrize("unit", ["us", "ms", "s"])
@pytest.mark.parametrize("twice", [1.0, 0.2])
def test_lines_delivered_twice_without_an_id_count_once(tmp_path, unit, twice):
    lines = _busy(2_000, unit)
    log = _read(
        tmp_path / "log.csv", "\n".join(["when,in,out", *lines, *lines[: int(2e3 * twice)]])
    )
    assert len(log.accepted) == 2_000
    assert len(log.quarantined) == 2_000 * twice
    assert log.lost.empty


def test_short_requests_alike_by_chance_are_no_repeats(tmp_path):
    rng = np.random.default_rng(5)
    seconds = rng.integers(0, 3_600, 20_000)  # six a second, of three lengths
    start = pd.Timestamp(TIME)
    lines = [
        f"{(start + pd.Timedelta(seconds=int(at))).isoformat()},{10 + rng.integers(3)},1"
        for at in seconds
    ]
    log = _read(tmp_path / "log.csv", "\n".join(["when,in,out", *lines]))
    assert (len(log.accepted), len(log.quarantined)) == (20_000, 0)


def test_nested_fields_of_jsonl_are_reached_by_pointer(tmp_path):
    rows = [
        {"when": 1_793_610_000.5, "usage": {"in": 7, "out": 2}, "user.team": "acme"},
        {"when": 1_793_610_001, "usage": None, "user.team": "acme"},
    ]
    columns = {"ts_start": "when", "input_tokens": "/usage/in", "output_tokens": "/usage/out"}
    log = _read(
        tmp_path / "log.jsonl",
        "\n".join(map(json.dumps, rows)),
        "jsonl",
        {**columns, "tenant": "user.team"},
    )
    assert log.accepted[["input_tokens", "tenant"]].to_numpy().tolist() == [[7, "acme"]]
    assert log.quarantined["reason"].tolist() == [NO_USAGE]


def test_parquet_keeps_its_types_and_quarantines_by_row(tmp_path):
    path = tmp_path / "log.parquet"
    duckdb.sql(
        "SELECT * FROM (VALUES (TIMESTAMPTZ '2026-11-02 10:00:00+01', 10, 2.0, 'nan'::DOUBLE),"
        " (NULL, 11, 2.0, 0.5), (TIMESTAMPTZ '2026-11-02 10:00:01+01', 12, 2.5, 0.5))"
        ' AS log("when", "in", "out", latency)'
    ).write_parquet(str(path))
    log = read_log(path, "parquet", {**COLUMNS, "latency_s": "latency"}, CONSTANTS)
    assert log.accepted["ts_start"].tolist() == [pd.Timestamp(TIME)]
    assert log.accepted["latency_s"].isna().tolist() == [True]
    assert log.quarantined["row"].tolist() == [2, 3]
    assert json.loads(log.quarantined["raw"][1])["input_tokens"] == "12"


def test_a_parquet_file_that_is_damaged_within_is_named(tmp_path):
    path = tmp_path / "log.parquet"
    duckdb.sql(f"COPY (SELECT random() x FROM range(50000)) TO '{path}' (COMPRESSION gzip)")
    raw = bytearray(path.read_bytes())
    raw[1000:3000] = bytes(byte ^ 0xFF for byte in raw[1000:3000])
    path.write_bytes(raw)
    columns = dict.fromkeys(["ts_start", "input_tokens", "output_tokens"], "x")
    with pytest.raises(ValueError, match=r"log\.parquet: .*cannot be read as Parquet") as told:
        read_log(path, "parquet", columns, CONSTANTS)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'"' + b"x" * (1 << 25), ":1: the header cannot be read as CSV"),
        (b"ts,\xff", ":1: the header is not UTF-8 text"),
        (b"\x1f\x8b\x08\x00\xff", "cannot be read: export the log again"),
    ],
)
def test_a_header_that_cannot_be_read_is_named(tmp_path, raw, says):
    path = tmp_path / "log.csv"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=says):
        read_log(path, "csv", COLUMNS, CONSTANTS)


def _times(tmp_path, times):
    lines = ["when,in,out", *(f"{time},1,2" for time in times)]
    return _read(tmp_path / "log.csv", "\n".join(lines))


@pytest.mark.parametrize("stray", ["2018-01-01", "2026-02-11", "2027-04-01", "2040-01-01"])
@pytest.mark.parametrize("n", [10, 250])
def test_a_time_far_from_all_others_is_put_aside(tmp_path, stray, n):
    log = _times(tmp_path, [stray, *(f"2026-11-{1 + i % 28:02d}T09:00:00Z" for i in range(n - 1))])
    assert log.quarantined["row"].tolist() == [2]
    assert f"its time, {stray}, lies a month and more" in log.quarantined["reason"][0]
    assert log.lost["row"].tolist() == [2]


def test_a_log_of_two_seasons_years_apart_keeps_both(tmp_path):
    half = [f"20{year}-11-0{day}" for year in (21, 26) for day in range(1, 8)]
    assert _times(tmp_path, half).quarantined.empty


def test_a_request_a_month_for_a_year_keeps_them_all(tmp_path):
    assert _times(tmp_path, [f"2026-{month:02d}-03" for month in range(1, 13)]).quarantined.empty


def test_a_header_alone_is_an_empty_log(tmp_path):
    log = _read(tmp_path / "log.csv", "when,in,out\n")
    assert (log.rows_read, len(log.accepted), len(log.quarantined)) == (0, 0, 0)


GOOD = f"when,in,out\n{TIME},1,1\n"


@pytest.mark.parametrize(
    ("text", "format", "columns", "constants", "message"),
    [
        (GOOD, "xlsx", COLUMNS, CONSTANTS, "format 'xlsx' is unknown; use auto, csv"),
        (GOOD, "csv", {**COLUMNS, "prompt": "in"}, CONSTANTS, r"unknown columns \['prompt'\]"),
        (GOOD, "csv", {**COLUMNS, "tenant": "team"}, CONSTANTS, "tenant is mapped to 'team'.*when"),
        (GOOD, "csv", {"ts_start": "when"}, {}, "input_tokens and output_tokens required; map"),
        (
            GOOD,
            "csv",
            COLUMNS,
            {**CONSTANTS, "ok": "maybe"},
            "ok='maybe' is not an answer or a failure",
        ),
        (GOOD, "csv", COLUMNS, {**CONSTANTS, "ts_start": TIME}, "both mapped and constant"),
        ("when,in,in,out\n", "csv", COLUMNS, CONSTANTS, "'in', which the log has 2 times"),
        ("", "csv", COLUMNS, CONSTANTS, "ts_start is mapped to 'when'"),
        (
            '{"in": 1, "out": 2}',
            "jsonl",
            COLUMNS,
            CONSTANTS,
            "'when', which the log has 0 times",
        ),
        (GOOD, "parquet", COLUMNS, CONSTANTS, "cannot be read as Parquet"),
    ],
)
def test_a_wrong_call_is_an_error_that_names_the_file_and_the_fault(
    tmp_path, text, format, columns, constants, message
):
    with pytest.raises(ValueError, match=f"company.log: .*{message}"):
        _read(tmp_path / "company.log", text, format, columns, constants)


FRAME = pd.read_csv(io.StringIO(f"when,in,out\n{TIME},1,2\n2026-11-02 10:00,many,3\n{TIME},-4,5\n"))


def test_a_frame_is_read_as_its_file_would_be(tmp_path):
    path = tmp_path / "log.csv"
    FRAME.to_csv(path, index=False)
    of_file = read_log(path, columns=COLUMNS, constants=CONSTANTS)
    of_frame = read_log(FRAME, columns=COLUMNS, constants={**CONSTANTS, "ok": True})
    alike = ["ts_start", "workload", "input_tokens", "output_tokens", "ok"]
    pd.testing.assert_frame_equal(of_frame.accepted[alike], of_file.accepted[alike])
    assert of_frame.rows_read == of_file.rows_read == 3
    assert of_frame.quarantined["reason"].tolist() == of_file.quarantined["reason"].tolist()
    assert of_frame.quarantined["row"].tolist() == [2, 3]  # a file has its header in line 1
    assert json.loads(of_frame.quarantined["raw"][0])["input_tokens"] == "many"


def test_a_frame_with_canonical_columns_of_any_types_needs_no_mapping():
    times = pd.date_range("2026-11-02 09:00:00.123456", periods=4, freq="h", tz="Europe/Paris")
    frame = pd.DataFrame({"ts_start": times, "input_tokens": [1.0, 2.0, 3.0, None], "ok": True})
    frame = frame.assign(output_tokens=[1, 2, 3, 4], prompt="secret", workload="chat")
    log = read_log(frame.set_index(pd.Index([7, 7, 7, 7])), constants=_but(CONSTANTS, "ok"))
    assert log.accepted["ts_start"].tolist() == times[:3].tolist()
    assert log.accepted["input_tokens"].tolist() == [1, 2, 3]
    assert log.quarantined["reason"].tolist() == ["input_tokens is missing"]
    assert "secret" not in log.quarantined["raw"][0]
    again = read_log(log.accepted)
    pd.testing.assert_frame_equal(again.accepted, log.accepted)
    assert read_log(frame[:0], constants=_but(CONSTANTS, "ok")).rows_read == 0


def _but(mapping, name):
    return {key: value for key, value in mapping.items() if key != name}


def test_the_ending_of_a_file_tells_its_format(tmp_path):
    for ending, text in [("CSV", GOOD), ("ndjson", f'{{"when": "{TIME}", "in": 1, "out": 1}}')]:
        path = tmp_path / f"log.{ending}"
        path.write_text(text)
        assert len(read_log(str(path), columns=COLUMNS, constants=CONSTANTS).accepted) == 1


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ("log.txt", {}, "required; map a column to each .* the log has when, in, out"),
        (FRAME, {"format": "csv"}, "it has no format: leave out"),
        (FRAME, {}, "input_tokens and output_tokens required"),
        (FRAME, {"constants": CONSTANTS}, "input_tokens and output_tokens required"),
        (
            FRAME,
            {"columns": {**COLUMNS, "ok": "fine"}},
            "ok is mapped to 'fine', which the log has 0 times",
        ),
        (
            FRAME,
            {"columns": {**COLUMNS, "input_tokens": "i"}, "constants": CONSTANTS},
            "the log has 0 times",
        ),
        (FRAME, {"columns": ["when"]}, "columns and constants must be mappings"),
        ([1, 2], {}, "a list is not a log"),
    ],
)
def test_a_mistake_in_the_call_is_one_sentence(tmp_path, source, arguments, message):
    (tmp_path / "log.txt").write_text(GOOD)
    source = str(tmp_path / source) if isinstance(source, str) else source
    with pytest.raises(ValueError, match=message) as raised:
        read_log(source, **arguments)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.csv: there is no such file"):
        read_log(tmp_path / "absent.csv", "csv", COLUMNS, CONSTANTS)


@pytest.mark.shared
@pytest.mark.skipif(not AZURE.exists(), reason="the trace is not beside the checkout")
def test_the_azure_trace_reads_as_its_publisher_and_our_bundled_tables_say():
    constants = {"workload": "chat", "provider": "azure", "model_served": "undisclosed"}
    log = read_log(AZURE, "azure", constants=constants)
    tokens = log.accepted[["input_tokens", "output_tokens"]]
    assert (log.rows_read, len(log.quarantined)) == (19_366, 0)
    assert tokens.mean().round().tolist() == [1_155, 211]
    assert tokens["input_tokens"].quantile([0.5, 0.95]).tolist() == [1_020, 4_083]
    published = pd.read_csv(paths.data("azure_conversation_2023_arrivals.csv"))
    since = log.accepted["ts_start"] - log.accepted["ts_start"].min()
    counts = (since // pd.Timedelta(seconds=10)).value_counts().sort_index()
    assert counts.tolist() == published["requests"].tolist()


@pytest.mark.shared
@pytest.mark.skipif(not RAGPULSE.exists(), reason="the trace is not beside the checkout")
def test_ragpulse_with_its_origin_added_reads_as_our_bundled_tables_say(tmp_path):
    origin = 1_757_476_800  # any whole hour: the trace counts seconds from one that it hides
    rows = [json.loads(line) for line in RAGPULSE.read_text().splitlines() if line.strip()]
    text = "\n".join(json.dumps({**r, "timestamp": origin + int(r["timestamp"])}) for r in rows)
    columns = {
        "ts_start": "timestamp",
        "input_tokens": "input_length",
        "output_tokens": "output_length",
        "tenant": "session_id",
    }
    log = _read(tmp_path / "ragpulse.jsonl", text, "jsonl", columns)
    assert (log.rows_read, len(log.accepted)) == (7_106, 7_106)
    hours = (log.accepted["ts_start"] - pd.Timestamp(origin, unit="s", tz="UTC")) // pd.Timedelta(
        "1h"
    )
    hourly = pd.read_csv(paths.data("ragpulse_hourly.csv"))["requests"]
    counts = hours.value_counts().reindex(range(168), fill_value=0)
    assert counts.tolist() == hourly.tolist()
    quantiles = pd.read_csv(paths.data("ragpulse_tokens.csv")).set_index("quantile")
    for column in ("input_tokens", "output_tokens"):
        ours = log.accepted[column].quantile(quantiles.index.to_numpy())
        assert ours.to_numpy() == pytest.approx(quantiles[column].to_numpy(), abs=0.06)
