"""Finds rows of a log that would mislead although each is valid by itself.

A row that is invalid by itself breaks a rule of `schema`. Here rows are judged beside each other: a
time far from all others, a line delivered twice, several attempts of one call, a gap in the log. No
row is changed silently: one that is set aside has a reason, and a doubtful one gives a sentence.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

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
REPEAT = "delivered again: the same as an earlier row"
ATTEMPT = "an attempt of a call of which another row holds the outcome"

NOTHING_LOST = (NO_CHAT, REPEAT, ATTEMPT)
"""Reasons that lose no request: the row is not one, or another row holds it."""

_OTHER_MODELS = r"embed|rerank|moderation|whisper|tts|dall-?e|transcri"
_OTHER_OPERATIONS = r"embed|rerank|moderat|health|image|speech|audio|transcri|cache"

_DAY = pd.Timedelta(days=1)
_HOUR = pd.Timedelta(hours=1)
_US = pd.Timedelta(microseconds=1)


# --- rows that are set aside -----------------------------------------------------------------


def strays(times: "pd.Series[Any]") -> "pd.Series[str]":
    """Reasons against times that come from a wrong clock or an empty field, by index.

    At either end at most one row in a hundred (of 10 to 99 rows at most one) is a stray: farther
    from the others than `STRAY_GAP` and than the time that these span.
    """
    ordered = times.sort_values(kind="stable")
    few = len(times) // 100 if len(times) >= 100 else int(len(times) >= FEWEST_FOR_A_STRAY)
    far = pd.Series(False, index=times.index)
    if not few:
        return pd.Series(dtype="string")
    inner = ordered.iloc[few:-few]
    limit = max(STRAY_GAP, inner.iloc[-1] - inner.iloc[0])
    gaps = ordered.diff() > limit
    first, last = (part[part].index for part in (gaps[: few + 1], gaps[-few:]))
    if len(first):
        far |= times < times[first[-1]]
    if len(last):
        far |= times >= times[last[0]]
    days = times[far].dt.strftime("%Y-%m-%d").astype("string")
    reasons: pd.Series[str] = "its time, " + days + ", lies a month and more from the other rows"
    return reasons


def too_long(longest_tokens: int) -> str:
    """The reason against a request longer than any model in question accepts."""
    return (
        f"its tokens exceed the longest context of any route, {longest_tokens:,}: a sum of many "
        "requests, another unit, or a context to correct"
    )


def no_chats(requests: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows are not chats: embeddings and the like, health checks, hits of a cache."""
    patterns = {"model_served": _OTHER_MODELS, "operation": _OTHER_OPERATIONS}
    other = [
        requests[name].str.contains(pattern, case=False).fillna(False).astype(bool)
        for name, pattern in patterns.items()
    ]
    return other[0] | other[1]


class Calls(NamedTuple):
    """requests: one row per call. reasons: against each of the other rows, by index."""

    requests: pd.DataFrame
    reasons: "pd.Series[str]"


def calls(requests: pd.DataFrame, has_id: "pd.Series[bool]") -> Calls:
    """Merges the rows of each call into one.

    A line delivered twice counts once. Of several attempts the last gives the outcome; earlier ones
    that used tokens are counted in `failed_attempts`.

    requests: a canonical table, except that several rows may share an id. has_id: whether the id is
    from the log, by row. Rows that share an id are one call up to an answer, or up to
    `LONGEST_CALL` after the row before; later ones are another call, whose id is made unique.
    """
    reasons = pd.Series(None, index=requests.index, dtype="string")
    again = _repeats(requests, has_id)
    reasons[again] = REPEAT
    shared = requests[~again & requests["request_id"].duplicated(keep=False)]
    rows = shared.sort_values(["request_id", "ts_start"], kind="stable")
    begins = (
        ~rows["request_id"].duplicated()
        | rows["ok"].shift(fill_value=True)
        | (rows["ts_start"].diff() > LONGEST_CALL)
    )
    size = begins.groupby(begins.cumsum()).transform("size")
    begins |= size > MOST_ATTEMPTS
    call = begins.cumsum()
    outcome = ~call.duplicated(keep="last")
    reasons[rows.index[~outcome]] = ATTEMPT
    single = requests[reasons.isna()].copy()
    last = rows[outcome]
    start = rows["ts_start"].groupby(call).transform("first")[outcome]
    waited_s = (last["ts_start"] - start).dt.total_seconds()
    single.loc[last.index, "ts_start"] = start
    for name in ("latency_s", "ttft_s"):
        single.loc[last.index, name] = last[name] + waited_s
    used_tokens = rows["input_tokens"] + rows["output_tokens"] > 0
    failed = (used_tokens & ~outcome).groupby(call).transform("sum")
    retried = outcome & call.duplicated()
    single.loc[rows.index[retried], "failed_attempts"] = failed[retried].astype("Int64")
    later = last.index[last["request_id"].duplicated()]
    single.loc[later, "request_id"] += ":" + pd.Series(
        later.astype(str), index=later, dtype="string"
    )
    return Calls(single, reasons[reasons.notna()])


def _repeats(requests: pd.DataFrame, has_id: "pd.Series[bool]") -> "pd.Series[bool]":
    """Rows that equal an earlier one in every column, and not by chance.

    With ids there is no doubt. Without, equal requests arise by chance as often as their times fall
    within one tick of the clock; rows count as repeats if 20 times as many are equal, or if every
    row comes equally often.
    """
    rows = requests.drop(columns="source")
    rows["request_id"] = rows["request_id"].where(has_id)
    again = rows.duplicated()
    unnamed = rows[~has_id]
    if not again[~has_id].any():
        return again
    copies = unnamed.groupby(unnamed.columns.tolist(), dropna=False).size().to_numpy()
    alike = [name for name in unnamed if name != "ts_start"]
    alike_sizes = unnamed.groupby(alike, dropna=False).size().to_numpy()
    span = unnamed["ts_start"].max() - unnamed["ts_start"].min()
    by_chance = _pairs(alike_sizes) * min(grain(unnamed["ts_start"]) / max(span, _US), 1)
    doubled = np.gcd.reduce(copies) > 1 and len(copies) >= FEWEST_FOR_A_STRAY
    if not doubled and _pairs(copies) <= 20 * by_chance:
        again &= has_id
    return again


def _pairs(sizes: Any) -> float:
    n = sizes.astype(float)
    return float((n * (n - 1) / 2).sum())


# --- the time that a log covers ----------------------------------------------------------------


def grain(times: "pd.Series[Any]") -> pd.Timedelta:
    """The longest unit of which all times are whole multiples: at least 1 us, 0 for no times."""
    since_epoch = (times - pd.Timestamp(0, tz="UTC")) // _US
    return int(np.gcd.reduce(since_epoch.to_numpy(dtype=np.int64))) * _US


def stretches(times: "pd.Series[Any]") -> pd.DataFrame:
    """The periods that a workload's log covers, in order: start and end.

    Between them are holes: silences longer than `SHORTEST_HOLE` and much longer than any others in
    the log. A log whose requests come in bursts is one period.
    """
    ordered = times.sort_values(kind="stable").reset_index(drop=True)
    gaps = ordered.diff().fillna(pd.Timedelta(0))
    whole = pd.DataFrame({"start": ordered.iloc[:1], "end": ordered.iloc[-1:].to_numpy()})
    if len(ordered) < FEWEST_FOR_A_STRAY:
        return whole
    limit = max(
        SHORTEST_HOLE,
        HOLE_TO_MEAN_GAP * gaps.mean(),
        HOLE_TO_THIRD_GAP * gaps.nlargest(3).iloc[-1],
    )
    part = (gaps > limit).cumsum()
    parts = ordered.groupby(part).agg(["min", "max", "size"])
    steady = parts["max"] - parts["min"] >= SHORTEST_STRETCH
    if not (steady | (parts["size"] <= len(ordered) / 100)).all():
        return whole
    return pd.DataFrame({"start": parts["min"], "end": parts["max"]}).reset_index(drop=True)


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
        for name, rows in requests.groupby("workload")
        for sentence in (*_silences(str(name), rows["ts_start"]), *_oddities(str(name), rows))
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
    answered = requests[requests["ok"]]
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
