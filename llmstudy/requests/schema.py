"""The canonical table that every log is converted to, and the rules for its rows.

One row is one *logical* request, however many attempts a gateway made for it. Tokens are counted as
billed: `input_tokens` includes cached and cache-write tokens, `output_tokens` includes reasoning
tokens. Null means not logged, never zero.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import duckdb
import pandas as pd
from pandas.api.types import pandas_dtype, union_categoricals


class Column(NamedTuple):
    """A column of the canonical table. A required column holds no null."""

    name: str
    dtype: str
    required: bool
    meaning: str


COLUMNS = (
    Column("request_id", "string", True, "the logical request, unique in its log"),
    Column("ts_start", "datetime64[us, UTC]", True, "start of the first attempt"),
    Column("workload", "string", True, "named class of requests, the unit of decision"),
    Column("tenant", "string", False, "customer, team or key that the request belongs to"),
    Column("session_id", "string", False, "conversation or agent run that the request is part of"),
    Column("provider", "string", True, "who answered"),
    Column("model_requested", "string", False, "model or alias that the caller named"),
    Column("model_served", "string", True, "model that answered, which a fallback may change"),
    Column(
        "first_model", "string", False, "model that failed first, where another attempt followed"
    ),
    Column("operation", "string", False, "what was called, such as chat or embeddings"),
    Column(
        "service_tier", "string", False, "tier that the provider bills, such as batch or priority"
    ),
    Column("input_tokens", "int64", True, "tokens in, cached and cache-write tokens included"),
    Column("cached_input_tokens", "Int64", False, "part of the input read from the cache"),
    Column("cache_write_tokens", "Int64", False, "part of the input written to the cache"),
    Column("output_tokens", "int64", True, "tokens out, reasoning tokens included"),
    Column("reasoning_tokens", "Int64", False, "part of the output spent on reasoning"),
    Column("latency_s", "float64", False, "start to last token as the caller saw it, with retries"),
    Column("ttft_s", "float64", False, "start to first answer token; null unless streamed"),
    Column("tool_calls", "Int64", False, "calls of tools in the answer"),
    Column("ok", "bool", True, "whether the caller got an answer in the end"),
    Column("error", "string", False, "why there was no answer, in the log's own word"),
    Column("attempts", "Int64", False, "attempts that the gateway made"),
    Column("failed_attempts", "Int64", False, "attempts before the last that used tokens"),
    Column(
        "n_requests",
        "float64",
        False,
        "requests that the row stands for; null is one, and 0 a bucket that does not count its own",
    ),
    Column("logged_usd", "float64", False, "cost as the log has it, never used unreconciled"),
    Column("source", "string", True, "file or trace that the row comes from"),
)

INPUTS = (
    Column("ended", "datetime64[us, UTC]", False, "end of the request"),
    Column("first_token_at", "datetime64[us, UTC]", False, "time of the first token"),
    Column("failure", "string", False, "a field that is filled only where the request failed"),
    Column("streamed", "bool", False, "whether the answer was streamed"),
    Column("latency_ms", "float64", False, "latency_s in milliseconds"),
    Column("ttft_ms", "float64", False, "ttft_s in milliseconds"),
    Column("requests", "float64", False, "requests that a bucket sums up"),
    Column("failed_requests", "float64", False, "requests that a bucket counts beside, as failed"),
    Column("sampling_share", "float64", False, "share of the requests that the log samples"),
)
"""Fields of a log that columns are worked out from, beside those that are columns themselves."""

NAMES = [column.name for column in COLUMNS]
REQUIRED = [column.name for column in COLUMNS if column.required]


SQL_TYPES = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "Int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "datetime64[us, UTC]": "TIMESTAMPTZ",
}
"""Type of a column in SQL, by its dtype."""

UNKNOWN = "unknown"
"""Name of a workload, a provider or a model that the log does not tell."""


class Invariant(NamedTuple):
    """A rule for rows. holds: the condition in SQL (null passes); breach: the fault in words."""

    holds: str
    breach: str


MOST_TOKENS = 10_000_000
"""The longest context of any model: Llama 4 Scout, 2025."""

_TOKENS = ", ".join(name for name in NAMES if name.endswith("_tokens"))

INVARIANTS = (
    *(Invariant(f"{name} IS NOT NULL", f"{name} is missing") for name in REQUIRED),
    Invariant(
        "year(ts_start) BETWEEN 2018 AND 2199",
        "ts_start is before 2018, when no API served a language model, or after 2199",
    ),
    Invariant(f"least({_TOKENS}) >= 0", "a token count is below zero"),
    Invariant(
        f"greatest({_TOKENS}) <= {MOST_TOKENS} * coalesce(n_requests, 1)"
        " OR coalesce(n_requests, 1) = 0",
        f"a token count is above {MOST_TOKENS:,}, more than any model takes",
    ),
    Invariant(
        "coalesce(cached_input_tokens, 0)::HUGEINT + coalesce(cache_write_tokens, 0)"
        " <= input_tokens",
        "cached and cache-write tokens exceed the input tokens they are part of",
    ),
    Invariant(
        "reasoning_tokens <= output_tokens",
        "reasoning tokens exceed the output tokens they are part of",
    ),
    Invariant("least(latency_s, ttft_s) >= 0", "a duration is below zero"),
    Invariant("n_requests >= 0", "it stands for less than no request"),
    Invariant("failed_attempts >= 0", "a count of attempts is below zero"),
    Invariant("ttft_s <= latency_s", "the first token comes after the last: ttft_s > latency_s"),
)

BREACH_SQL = f"""CASE {
    " ".join(f"WHEN NOT ({rule.holds}) THEN '{rule.breach}'" for rule in INVARIANTS)
} END"""
"""SQL over the canonical columns: the first rule that a row breaks, in words, or null."""


def weights(requests: pd.DataFrame) -> "pd.Series[Any]":
    """Requests that each row of a canonical table stands for: 1 unless `n_requests` says more.

    It is 0 for a bucket that does not count its requests: its tokens are known, their number not.
    """
    if "n_requests" not in requests:
        return pd.Series(1.0, index=requests.index)
    return requests["n_requests"].astype(float).fillna(1.0)


def stacked(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Frames of requests below each other, their categories joined.

    >>> chat, search = ({"workload": pd.Categorical([name])} for name in ("chat", "search"))
    >>> stacked([pd.DataFrame(chat), pd.DataFrame(search)])["workload"].tolist()
    ['chat', 'search']
    """
    frames = [part for part in parts if len(part)]
    if len(frames) < 2:
        return frames[0] if frames else empty()
    names = {name for part in frames for name in part.select_dtypes("category")}
    joined = {
        name: union_categoricals([_categories(part[name]) for part in frames])
        for name in map(str, frames[0])
        if name in names
    }
    others = [part.drop(columns=list(joined)) for part in frames]
    table = pd.concat(others, ignore_index=True).assign(**joined)
    return table[list(frames[0])]


def _categories(column: "pd.Series[Any]") -> "pd.Series[Any]":
    column = column.astype("category")
    return column.cat.set_categories(column.cat.categories.astype(object))


def empty() -> pd.DataFrame:
    """A canonical table without rows."""
    return pd.DataFrame({column.name: pd.Series(dtype=column.dtype) for column in COLUMNS})


def by_workload(requests: pd.DataFrame) -> "Iterator[tuple[str, pd.DataFrame]]":
    """The requests of each workload in order of name, without a copy where they lie together.

    >>> log = pd.DataFrame({"workload": ["chat", "chat", "search"], "output_tokens": [10, 20, 30]})
    >>> [(name, rows["output_tokens"].tolist()) for name, rows in by_workload(log)]
    [('chat', [10, 20]), ('search', [30])]
    """
    for name in sorted(requests["workload"].unique(), key=str):
        yield str(name), of_workload(requests, name)


def of_workload(requests: pd.DataFrame, name: str) -> pd.DataFrame:
    """The requests of one workload, without a copy where they lie together."""
    own = (requests["workload"] == name).to_numpy()
    if not own.any():
        return requests.iloc[:0]
    rows = slice(int(own.argmax()), len(own) - int(own[::-1].argmax()))
    return requests.iloc[rows] if own[rows].all() else requests[own]


def conform(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as a canonical table: all columns, in order and typed, with every rule checked.

    frame: the required columns and any of the others; a column that is absent becomes null.
    Returns: a copy with the columns of `COLUMNS` and the index 0, 1, 2...
    Raises: ValueError if a column is unknown or missing, a value is not of its type (a token count
    with a fraction, a time without a zone), or a row breaks a rule.

    >>> conform(pd.DataFrame({
    ...     "request_id": ["a"], "ts_start": pd.to_datetime(["2026-11-02T09:00:00Z"]),
    ...     "workload": ["chat"], "provider": ["openai"], "model_served": ["gpt-4o"],
    ...     "input_tokens": [374], "output_tokens": [44], "ok": [True], "source": ["example"],
    ... }))[["workload", "input_tokens", "latency_s"]].to_dict("records")
    [{'workload': 'chat', 'input_tokens': 374, 'latency_s': nan}]
    """
    if unknown := [name for name in frame.columns if name not in NAMES]:
        raise ValueError(f"requests: unknown columns {unknown}; the table has {', '.join(NAMES)}")
    if absent := [name for name in REQUIRED if name not in frame.columns]:
        raise ValueError(f"requests: columns {absent} are missing: add them, they are required")
    typed = pd.DataFrame({column.name: _typed(frame, column) for column in COLUMNS})
    with duckdb.connect() as connection:
        breaches = connection.sql(f"SELECT {BREACH_SQL} AS breach FROM typed").df()["breach"]
    if breaches.notna().any():
        row = int(breaches.notna().to_numpy().argmax())
        raise ValueError(
            f"requests: row {row} of {len(typed)}: {breaches[row]}: correct it in the log"
        )
    return typed.astype({column.name: column.dtype for column in COLUMNS})


# nullable types: the rules must see nulls, and a cast must not round
_NULLABLE = {"int64": "Int64", "bool": "boolean"}


def _typed(frame: pd.DataFrame, column: Column) -> "pd.Series[Any]":
    dtype = pandas_dtype(_NULLABLE.get(column.dtype, column.dtype))
    if column.name not in frame.columns:
        return pd.Series(None, index=range(len(frame)), dtype=dtype)
    try:
        return frame[column.name].reset_index(drop=True).astype(dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"requests: {column.name} must be {column.dtype}: {error}") from error
