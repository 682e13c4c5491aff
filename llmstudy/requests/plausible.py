"""Finds rows of a log that would mislead although each is valid by itself.

A row that is invalid by itself breaks a rule of `schema`. Here rows are judged beside each other: a
time far from all others, a line delivered twice, several attempts of one call, a gap in the log. No
row is changed silently: one that is set aside has a reason, and a doubtful one gives a sentence.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from duckdb import DuckDBPyConnection as Connection

from llmstudy.requests.containers import literal
from llmstudy.requests.schema import NAMES, by_workload
from llmstudy.text import count, listed, share

FEWEST_FOR_A_STRAY = 10
"""Least number of rows from which a single distant time is an error and a long silence a gap."""

STRAY_GAP = pd.Timedelta(days=30)
"""Least distance of a stray time; it also exceeds the time that the other rows span."""

SHORTEST_HOLE = pd.Timedelta(hours=72)
"""A silence up to this length may be a weekend or a holiday."""

HOLE_TO_MEAN_GAP, HOLE_TO_THIRD_GAP = 20, 1.5
"""A hole exceeds the mean silence and the third longest one by these factors."""

SHORTEST_STRETCH = pd.Timedelta(hours=24)
"""Least length of covered time between holes: requests in shorter bursts pause anyway."""

LONGEST_CALL = pd.Timedelta(hours=1)
"""Attempts of one call start within it: six time-outs of 10 minutes, the clients' usual limit."""

MOST_ATTEMPTS = 20
"""An id that more rows of one call share is a placeholder, not an id."""

FEWEST_TOKENS_MEAN = 3
"""A lower mean input cannot be prompts: numbers were misread, such as 1.267 for 1,267."""

BUCKET_TOKENS_MEAN = 20_000
"""Mean tokens from which rows whose times are whole hours are sums over many requests."""

FASTEST_TOKENS_PER_S = 10_000
"""No server writes faster: such an answer comes from a gateway's cache."""

LONGEST_MEDIAN_LATENCY_S = 600
"""A higher median latency must be in another unit."""

DOUBTFUL_SHARE = 0.01
"""Share of a workload's requests from which an oddity is reported."""

NO_CHAT = "no chat or completion, by its model or operation"
CACHE_HIT = "answered from the gateway's own cache: no provider was asked"
OTHER_CALL = "a span or a call of another kind than a chat or completion"
REPEAT = "delivered again: the same as an earlier row"
ATTEMPT = "an attempt of a call of which another row holds the outcome"

EMPTY = "a bucket without requests"
UNTRACED = "a failed attempt without tokens: no id tells whether another row holds the answer"
NO_USAGE = "answered, but its tokens are not in the log"

NOTHING_LOST = (NO_CHAT, CACHE_HIT, OTHER_CALL, REPEAT, ATTEMPT, EMPTY, UNTRACED)
"""Reasons against rows that hold no request, or one that is in another row."""

_OTHER_MODELS = r"embed|rerank|moderation|whisper|tts|dall-?e|transcri"
_OTHER_OPERATIONS = r"embed|rerank|moderat|health|image|speech|audio|transcri|cache"

_DAY = pd.Timedelta(days=1)
_HOUR = pd.Timedelta(hours=1)
_US = pd.Timedelta(microseconds=1)


# --- rows that are set aside -----------------------------------------------------------------


def set_aside(connection: Connection, longest_tokens: int) -> None:
    """Parts the rows of `judged` into `accepted`, one per request and in order, and `marks`.

    judged: the canonical columns, n (its place), file, row, reason, tokens, has_id (whether the log
    gives the row its id). marks: n and reason of those set aside. A line delivered
    twice counts once, and so do the attempts of a call, whose outcome is that of the last; those
    before it that used tokens are counted in `failed_attempts`. longest_tokens: input and output of
    the longest request that can have been answered.
    """
    alike = [name for name in NAMES if name not in ("source", "request_id", "ts_start")]
    of_id = "CASE WHEN has_id THEN request_id END"
    key = ", ".join(["ts_start", of_id, *alike])
    # a reason of its own, and then one that the other rows give
    connection.execute("CREATE TABLE marks AS SELECT n, reason FROM judged WHERE reason NOTNULL")
    connection.execute(
        "CREATE VIEW sound AS SELECT * FROM judged WHERE n NOT IN (SELECT n FROM marks)"
    )
    steps = (
        f"INSERT INTO marks SELECT n, CASE {_strays_sql(connection)}"
        f" WHEN tokens > {longest_tokens} * coalesce(n_requests, 1) AND coalesce(n_requests, 1) > 0"
        f" THEN {literal(too_long(longest_tokens))}"
        f" WHEN regexp_matches(lower(model_served), {literal(_OTHER_MODELS)})"
        f" OR regexp_matches(lower(operation), {literal(_OTHER_OPERATIONS)})"
        f" THEN {literal(NO_CHAT)} END AS mark FROM sound WHERE mark NOTNULL",
        # a row with an id of its own is neither a repeat nor an attempt; hashes tell which few
        # rows to compare
        "CREATE TABLE ids AS SELECT hash(request_id) AS id FROM sound WHERE has_id"
        " GROUP BY ALL HAVING count(*) > 1",
        "CREATE VIEW alike AS SELECT * FROM sound"
        " WHERE NOT has_id OR hash(request_id) IN (SELECT id FROM ids)",
        f"CREATE TABLE hashes AS SELECT n, hash({key}) AS hash FROM alike",
        f"CREATE TABLE repeats AS SELECT n, has_id FROM alike WHERE n IN (SELECT n FROM hashes"
        " WHERE hash IN (SELECT hash FROM hashes GROUP BY hash HAVING count(*) > 1))"
        f" QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY n) > 1",
    )
    for step in steps:
        connection.execute(step)
    named_only = "" if _repeats_unnamed(alike, connection) else "WHERE has_id"
    connection.execute(f"INSERT INTO marks SELECT n, {literal(REPEAT)} FROM repeats {named_only}")
    [(shared,)] = connection.execute("SELECT count(*) FROM ids").fetchall()
    limit = "" if shared else "LIMIT 0"
    connection.execute(f"CREATE TABLE attempts AS {_ATTEMPTS_SQL} {limit}")
    columns = f"n, {', '.join(NAMES)}"
    accepted = f"SELECT {columns} FROM sound"
    [(calls,)] = connection.execute("SELECT count(*) FROM attempts").fetchall()
    if calls:
        [(shown,)] = connection.execute("SELECT bool_or(NOT is_outcome) FROM attempts").fetchall()
        # a log that shows attempts shows that the other requests took one
        first = "coalesce(attempts, 1)" if shown else "attempts"
        accepted = (
            f"SELECT * REPLACE ({first} AS attempts) FROM ({accepted}"
            " WHERE n NOT IN (SELECT n FROM attempts)"
            f" UNION ALL SELECT {columns} FROM ({_CALLS_SQL}))"
        )
    connection.execute(
        f"INSERT INTO marks SELECT n, {literal(ATTEMPT)} FROM attempts WHERE NOT is_outcome"
    )
    kind, order = ("TABLE", " ORDER BY n") if calls else ("VIEW", "")
    connection.execute(f"CREATE {kind} accepted AS {accepted}{order}")


def left_out(field: str) -> str:
    """The reason against a row that a mapping's `only` or `without` leaves out by a field.

    >>> left_out("cache_hit"), left_out("operation")
    ("answered from the gateway's own cache: no provider was asked", \
'a span or a call of another kind than a chat or completion')
    """
    return CACHE_HIT if "cache" in field else OTHER_CALL


def _strays_sql(connection: Connection) -> str:
    """SQL cases against times that are an error of a clock or of an empty field.

    At either end at most one row in a hundred (of 10 to 99 rows at most one) is a stray: farther
    from the others than `STRAY_GAP` and than the time that these span.
    """
    [(n,)] = connection.sql("SELECT count(*) FROM sound").fetchall()
    few = n // 100 if n >= 100 else int(n >= FEWEST_FOR_A_STRAY)
    day = "epoch_us(ts_start) // 86_400_000_000"
    days = connection.execute(f"SELECT DISTINCT {day} FROM sound ORDER BY 1").fetchall()
    if not few or all(after - before < STRAY_GAP / _DAY for [before], [after] in pairwise(days)):
        return ""
    ends = [
        connection.sql(f"SELECT ts_start FROM sound ORDER BY ts_start {order} LIMIT {few + 1}").df()
        for order in ("ASC", "DESC")
    ]
    first, last = (end["ts_start"] for end in ends)
    limit = max(STRAY_GAP, last.iloc[-1] - first.iloc[-1])
    early = [after for before, after in pairwise(first) if after - before > limit]
    late = [after for after, before in pairwise(last) if after - before > limit]
    day = "strftime(ts_start, '%Y-%m-%d')"
    reason = f"THEN 'its time, ' || {day} || ', lies a month and more from the other rows'"
    cases = [f"WHEN ts_start < TIMESTAMPTZ '{early[-1].isoformat()}' {reason}"] if early else []
    if late:
        cases.append(f"WHEN ts_start >= TIMESTAMPTZ '{late[-1].isoformat()}' {reason}")
    return " ".join(cases)


def too_long(longest_tokens: int) -> str:
    """The reason against a request longer than any model in question accepts."""
    return (
        f"its tokens exceed the longest context of any route, {longest_tokens:,}: a sum of many "
        "requests, another unit, or a context to correct"
    )


_ENDED_US = "epoch_us(ts_start) + 1e6 * coalesce(latency_s, 0)"
"""Attempts are in order by their ends: a gateway may have a stream begin with the request, before
the attempt that failed."""

_ATTEMPTS_SQL = f"""
WITH shared AS (
  SELECT n, request_id, ts_start, {_ENDED_US} AS ended,
    lag(ok) OVER call AS ok_before, lag(ts_start) OVER call AS before
  FROM alike WHERE has_id AND request_id IN (
    SELECT request_id FROM alike WHERE has_id GROUP BY request_id HAVING count(*) > 1)
  WINDOW call AS (PARTITION BY request_id ORDER BY {_ENDED_US}, n)),
counted AS (
  SELECT n, request_id, sum((before IS NULL OR ok_before
    OR epoch(ts_start - before) > {LONGEST_CALL.total_seconds():.0f})::INT) OVER (
    PARTITION BY request_id ORDER BY ended, n ROWS UNBOUNDED PRECEDING) AS call_n,
  row_number() OVER (PARTITION BY request_id ORDER BY ended, n) AS place
  FROM shared),
sized AS (
  SELECT request_id, call_n, count(*) AS size, max(place) AS last
  FROM counted GROUP BY request_id, call_n)
SELECT alike.*, CASE WHEN size > {MOST_ATTEMPTS} THEN -n - 1 ELSE call_n END AS call_n,
  size > {MOST_ATTEMPTS} OR place = last AS is_outcome
FROM counted JOIN sized USING (request_id, call_n) JOIN alike USING (n)"""
"""Rows that share an id, in calls: those up to an answer or up to `LONGEST_CALL` later are one;
later ones are another call with the same id."""

_CALLS_SQL = f"""
WITH calls AS (
  SELECT request_id, call_n, min(ts_start) AS begin_, count(*) AS attempts_,
    count(*) FILTER (NOT is_outcome AND tokens > 0) AS failed_, sum(logged_usd) AS usd_,
    arg_min(model_requested, ({_ENDED_US}, n)) AS asked_,
    arg_min(model_served, ({_ENDED_US}, n)) AS first_
  FROM attempts GROUP BY ALL)
SELECT a.* REPLACE (
    begin_ AS ts_start, latency_s + epoch(ts_start - begin_) AS latency_s,
    ttft_s + epoch(ts_start - begin_) AS ttft_s, usd_ AS logged_usd,
    coalesce(asked_, model_requested) AS model_requested,
    CASE WHEN attempts_ > 1 THEN first_ ELSE first_model END AS first_model,
    CASE WHEN attempts_ > 1 THEN failed_ ELSE failed_attempts END AS failed_attempts,
    CASE WHEN attempts_ > 1 THEN attempts_ ELSE attempts END AS attempts,
    CASE WHEN row_number() OVER (PARTITION BY request_id ORDER BY ts_start, n) > 1
      THEN request_id || ':' || row ELSE request_id END AS request_id)
FROM attempts a JOIN calls USING (request_id, call_n) WHERE is_outcome"""
"""One row per call: it begins with the first attempt, and its outcome is that of the last."""


def _repeats_unnamed(alike: Sequence[str], connection: Connection) -> bool:
    """Whether rows without an id that are in every column alike are the same row again.

    Requests alike are so by chance as often as their times fall into one grain of the clock;
    repeats are 20 times as many, or each row comes equally often.
    """
    unnamed = "FROM sound WHERE NOT has_id"

    def sizes(columns: Sequence[str]) -> Any:
        of_each = f"SELECT count(*) AS size {unnamed} GROUP BY {', '.join(columns)}"
        return connection.sql(f"SELECT size, count(*) AS n FROM ({of_each}) GROUP BY size").df()

    if not connection.execute("SELECT count(*) FROM repeats WHERE NOT has_id").fetchall()[0][0]:
        return False
    copies = sizes(["ts_start", *alike])
    times = connection.sql(f"SELECT epoch_us(ts_start) AS us {unnamed}").fetchnumpy()["us"]
    span = int(times.max() - times.min())
    by_chance = _pairs(sizes(alike)) * min(int(np.gcd.reduce(times)) / max(span, 1), 1)
    doubled = np.gcd.reduce(copies["size"]) > 1 and copies["n"].sum() >= FEWEST_FOR_A_STRAY
    return bool(doubled or _pairs(copies) > 20 * by_chance)


def _pairs(sizes: pd.DataFrame) -> float:
    size = sizes["size"].astype(float)
    return float((sizes["n"] * size * (size - 1) / 2).sum())


# --- the time that a log covers ----------------------------------------------------------------


def grain(times: "pd.Series[Any]") -> pd.Timedelta:
    """The longest unit of which all times are whole multiples: at least 1 us, 0 for no times."""
    return int(np.gcd.reduce(microseconds(times))) * _US


def microseconds(times: "pd.Series[Any]") -> Any:
    """Times with a zone as whole microseconds since 1970, (n,). No copy: not to be written to."""
    index = pd.DatetimeIndex(times)
    return (index if index.unit == "us" else index.as_unit("us")).asi8


def stretches(times: "pd.Series[Any]") -> pd.DataFrame:
    """The periods that a workload's log covers, in order: start and end.

    Between them are holes: silences longer than `SHORTEST_HOLE` and much longer than any others in
    the log. A log whose requests come in bursts is one period.
    """
    us = microseconds(times)
    if not times.is_monotonic_increasing:
        us = np.sort(us)
    whole = _periods(us[:1], us[-1:], times.dtype)
    if len(us) < FEWEST_FOR_A_STRAY:
        return whole
    limit = max(SHORTEST_HOLE // _US, HOLE_TO_MEAN_GAP * (us[-1] - us[0]) / len(us))
    gaps = np.diff(us)
    if not (gaps > limit).any():
        return whole
    ends = np.flatnonzero(gaps > max(limit, HOLE_TO_THIRD_GAP * np.partition(gaps, -3)[-3]))
    first, last = np.append(0, ends + 1), np.append(ends, len(us) - 1)
    steady = us[last] - us[first] >= SHORTEST_STRETCH // _US
    if not (steady | (last - first < len(us) / 100)).all():
        return whole
    return _periods(us[first], us[last], times.dtype)


def _periods(start_us: Any, end_us: Any, dtype: Any) -> pd.DataFrame:
    ends = {"start": start_us, "end": end_us}
    return pd.DataFrame(
        {
            name: pd.DatetimeIndex(us.view("M8[us]"), tz="UTC").astype(dtype)
            for name, us in ends.items()
        }
    )


# --- what is doubtful ------------------------------------------------------------------------


def bucket(requests: pd.DataFrame) -> str | None:
    """Why rows look like sums over an hour or a day; None if they are single requests.

    requests: a canonical table.
    """
    times = requests["ts_start"]
    unit = grain(times)
    labels = ["ts_start", "workload", "tenant", "provider", "model_served"]
    if len(requests) < 3 or unit % _HOUR or not unit or requests.duplicated(labels).any():
        return None
    tokens = (requests["input_tokens"] + requests["output_tokens"]).mean()
    if unit % _DAY and tokens < BUCKET_TOKENS_MEAN:
        return None
    every = "day" if unit % _DAY == pd.Timedelta(0) else "hour"
    return (
        f"each row stands for a whole {every} (all times are on the {every}, and its "
        f"{count(tokens)} tokens are those of many requests): give a log with a row for each "
        "request, or state the volume and the tokens a request and leave `requests` out."
    )


def doubts(requests: pd.DataFrame) -> list[str]:
    """Sentences on what looks wrong in a log, one per workload and oddity.

    requests: a canonical table.
    """
    return [
        sentence
        for name, rows in by_workload(requests)
        for sentence in (*_silences(name, rows["ts_start"]), *_oddities(name, rows))
    ]


def _silences(name: str, times: "pd.Series[Any]") -> list[str]:
    covered = stretches(times)
    starts, ends = covered["start"].iloc[1:], covered["end"].iloc[:-1]
    holes = [
        f"{end:%Y-%m-%d %H:%M} to {start:%Y-%m-%d %H:%M}"
        for start, end in zip(starts, ends, strict=True)
    ]
    sentences = []
    if holes:
        sentences.append(
            f"The log of {name} has a gap of {listed(holes)} UTC: its volume is that of the time "
            "covered, and lower if nobody asked in the gap; export the log again to close it."
        )
    if grain(times) % _HOUR == pd.Timedelta(0) and times.min() < times.max():
        sentences.append(
            f"All times of {name} are on the hour: if each row sums up many requests, give one row "
            "a request; if the clock was cut, its peaks are not seen."
        )
    return sentences


def _oddities(name: str, requests: pd.DataFrame) -> list[str]:
    names = ["input_tokens", "cached_input_tokens", "output_tokens", "latency_s"]
    answered = requests.loc[requests["ok"], names]
    n, input_tokens = len(answered), answered["input_tokens"]
    if not n:
        return []
    output_tokens, latency_s = answered["output_tokens"], answered["latency_s"]
    sentences = []
    if input_tokens.mean() < FEWEST_TOKENS_MEAN:
        sentences.append(
            f"The mean input of {name} is {input_tokens.mean():.1f} tokens, less than any prompt "
            "holds: check the unit, and whether 1.000 stands for a thousand."
        )
    if latency_s.median() > LONGEST_MEDIAN_LATENCY_S:
        sentences.append(
            f"The median latency of {name} is {count(latency_s.median())} s: check whether the log "
            "gives milliseconds; the column wants seconds."
        )
    cached = answered["cached_input_tokens"]
    if (
        cached.isna().mean() >= DOUBTFUL_SHARE
        and bool((cached.dropna() > 0).all())
        and cached.any()
    ):
        sentences.append(
            f"The log of {name} gives a cached part of the input only where there is one: if the "
            "other rows have none, write 0, or the cached share is too high."
        )
    by_operation = "or map the column that tells them apart to `operation`"
    oddities = (
        (
            output_tokens == 0,
            "were answered without a token, as embeddings are",
            f"leave out what is no chat or completion, {by_operation}",
        ),
        (
            (input_tokens <= 16) & output_tokens.between(1, 2),
            "are of at most 16 tokens with an answer of one or two, as health checks are",
            f"leave those out, {by_operation}",
        ),
        (
            (latency_s * FASTEST_TOKENS_PER_S < output_tokens),
            "were answered faster than any server writes, as a gateway's cache does",
            f"leave out what no provider was paid for, {by_operation}",
        ),
    )
    for odd, looks, cure in oddities:
        part = float(odd.mean())
        if part >= DOUBTFUL_SHARE:
            sentences.append(
                f"Of the {count(n)} answered requests of {name} {share(part)} {looks}: {cure}, or "
                "the volume is too high."
            )
    return sentences
