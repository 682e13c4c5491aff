"""Why does the log's cost, or the provider's invoice, differ from what the tokens should have cost?

Every request is priced again from its tokens (`repricing`). What its logged cost differs by is put
down to the first cause that gives that very cost: a gateway that bills a batch at the standard
rate, cached input in full, the model that was asked for in place of the one that answered, and so
on. What no cause gives is unknown. An invoice has no requests: of each month, what is left beside
the days that the log does not cover is held against the same causes, for all requests together.
"""

from calendar import monthrange
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pandas as pd
from duckdb import DuckDBPyConnection as Connection

from llmstudy.measures.repricing import Source, opened, pricing, usd_sql
from llmstudy.prices.served import Prices
from llmstudy.requests.containers import literal
from llmstudy.text import count, listed, share, usd
from llmstudy.units import DAY_US

AGREES_SHARE = 0.005
"""Logged and re-priced cost agree within this share: gateways round."""

INVOICE_SHARE = 0.01
"""An invoice agrees within this share of it."""

_HALF_A_DIGIT_USD = 5e-7  # logs have six decimals

_COLUMNS = [
    *("against", "kind", "requests", "billed_usd", "repriced_usd", "difference_usd", "sentence"),
]


class Cause(NamedTuple):
    """A price that a log may have in place of the right one.

    table: `rates` of the served model, or `asked` of the requested one. variant, cache: as
    `usd_sql`. applies: SQL over a request. says: how such a price comes about.
    """

    kind: str
    table: str
    variant: str
    cache: str
    applies: str
    says: str


_TIER = "service_tier IS NOT NULL"
_BATCH = "lower(service_tier) = 'batch'"
_CACHE = "(cached_input_tokens > 0 OR cache_write_tokens > 0)"
_OTHER = "model_requested IS DISTINCT FROM model_served"

CAUSES = (
    Cause("batch", "rates", "standard", "billed", _BATCH, "at the standard rate, not the batch's"),
    Cause("service tier", "rates", "standard", "billed", _TIER, "at the standard tier's rate"),
    Cause("cache", "rates", "own", "in full", _CACHE, "with cached input charged in full"),
    Cause("cache reads", "rates", "own", "reads free", _CACHE, "with cached input charged nothing"),
    Cause("cache writes", "rates", "own", "writes as input", _CACHE, "with cache writes as input"),
    Cause("fallback", "asked", "own", "billed", _OTHER, "at the requested model's price"),
    Cause("negotiated", "rates", "list", "billed", "rates.negotiated", "at the list price"),
    Cause("long prompt", "rates", "short", "billed", "true", "at the rate of short prompts"),
    Cause("batch and cache", "rates", "standard", "in full", f"{_BATCH} AND {_CACHE}",
          "at the standard rate, with cached input charged in full"),
    Cause("negotiated and cache", "rates", "list", "in full", f"rates.negotiated AND {_CACHE}",
          "at the list price, with cached input charged in full"),
    Cause("fallback and cache", "asked", "own", "in full", f"{_OTHER} AND {_CACHE}",
          "at the requested model's price, with cached input charged in full"),
)  # fmt: skip
"""In the order in which they are tried; the first that gives the logged cost is the cause."""

_SAYS = {
    "agrees": "logged at what the tokens cost, to 0.5 %",
    "self-hosted": "on machines of your own, which no list bills by the token",
    "unpriced": "without a price to compare with",
    "not logged": "without a cost in the log",
    "logged at 0": "logged as free although a list prices them, so the gateway lacks a price",
    "failed": "failed, and logged at another amount than their tokens cost",
    **{each.kind: f"logged {each.says}" for each in CAUSES},
    "unknown": "differing for a reason that is none of these",
}
"""What the requests of each kind have in common, in the order of the rows."""


def reconcile(
    requests: Source,
    invoice: float | Mapping[str, float] | None = None,
    usd_per_unit: float = 1.0,
    currency: str = "USD",
    provider: str | None = None,
    prices: Prices | None = None,
    where: str = "true",
) -> pd.DataFrame:
    """Names what the logged cost, and an invoice, differ by from the tokens' own price.

    requests: as `reprice`, with logged_usd and, where there are any, model_requested and ok; a
    frame or Parquet files. invoice: its amount for all months that the log touches, or month
    ("2026-11") -> amount, of which other months are left out; in the currency, at usd_per_unit.
    provider: whose requests are compared, as the log names it; None is all, and an invoice is then
    also held against what each of several providers bills alone. prices: as `reprice`, such as
    negotiated ones. where: as `summary_by`.
    Returns: one row per cause: against ("log", or "invoice" and its month), kind, requests,
    billed_usd (logged or invoiced), repriced_usd, difference_usd (billed less re-priced) and a
    sentence. The differences against the log add up to logged less re-priced, those against each
    invoice to it less the re-priced requests of its month.
    Raises: ValueError if a month is no "2026-11", an amount or rate is not above 0, the provider
    has no request, or as `reprice`.

    >>> log = pd.DataFrame({"ts_start": pd.to_datetime(["2026-11-20T09:00Z"] * 3),
    ...     "provider": ["openai", "openai", "vllm"], "logged_usd": [0.0035, 0.0035, 0.0],
    ...     "model_served": ["gpt-4o", "gpt-4o", "llama"], "input_tokens": 1_000,
    ...     "cached_input_tokens": [0, 400, 0], "output_tokens": 100})
    >>> rows = reconcile(log)
    >>> rows[["kind", "requests", "difference_usd"]].round(6).to_numpy().tolist()
    [['agrees', 1.0, 0.0], ['self-hosted', 1.0, 0.0], ['cache', 1.0, 0.0005]]
    >>> rows["sentence"].iloc[-1]
    '1 request: logged with cached input charged in full; the log has USD 0.00050 more.'
    """
    periods, providers = None, []
    with opened(requests, where) as connection:
        reasons = _judge(connection, provider, prices)
        rows = _against_log(connection, reasons)
        if invoice is not None:
            providers = _providers(connection)
            months = connection.sql(_months_sql(_totals(providers))).df()
            periods = _periods(invoice, usd_per_unit, months)
    for period in periods or ():
        rows += _against_invoice(period, providers, usd_per_unit, currency)
    return pd.DataFrame(rows, columns=_COLUMNS)


def lines(rows: pd.DataFrame) -> list[str]:
    """The rows of `reconcile` as text: what is compared with its totals, then a line for each.

    >>> lines(pd.DataFrame({"against": ["log"], "kind": "cache", "requests": 1.0,
    ...     "billed_usd": 0.0035, "repriced_usd": 0.0030, "difference_usd": 0.0005,
    ...     "sentence": "1 request: logged with cached input charged in full."}))
    ['log: USD 0.0035, re-priced USD 0.0030', \
'  cache: 1 request: logged with cached input charged in full.']
    """
    text = []
    for against, part in rows.groupby("against", sort=False):
        billed, repriced = part["billed_usd"].sum(), part["repriced_usd"].sum()
        text.append(f"{against}: {usd(billed)}, re-priced {usd(repriced)}")
        text += [f"  {row.kind}: {row.sentence}" for row in part.itertuples()]
    return text


def _judge(connection: Connection, provider: str | None, prices: Prices | None) -> dict[int, str]:
    """Makes the view `judged`: each request with its prices by cause, and its kind.

    Returns: why a name has no price, by its place in the rates.
    """
    served = pricing(connection, prices)
    asked = pricing(connection, prices, model="model_requested", rates="asked")
    amounts = {f"cause_{i}": _at(cause) for i, cause in enumerate(CAUSES)}
    candidates = " ".join(
        f"WHEN {_near(name)} THEN {literal(cause.kind)}"
        for name, cause in zip(amounts, CAUSES, strict=True)
    )
    kind = (
        "CASE WHEN self_hosted THEN 'self-hosted' WHEN usd IS NULL THEN 'unpriced'"
        f" WHEN logged_usd IS NULL THEN 'not logged' WHEN {_near('usd')} THEN 'agrees'"
        f" WHEN NOT ok THEN 'failed' WHEN logged_usd = 0 THEN 'logged at 0' {candidates}"
        " ELSE 'unknown' END"
    )
    selected = ", ".join(f"{sql} AS {name}" for name, sql in amounts.items())
    of_provider = f"provider = {literal(provider)}" if provider is not None else "true"
    connection.execute(
        f"CREATE VIEW judged AS SELECT *, {kind} AS kind FROM (SELECT log.*, rates.name,"
        f" rates.self_hosted, {usd_sql()} AS usd, {selected}"
        f" FROM log JOIN rates ON rates.key = {served.key}"
        f" LEFT JOIN asked ON asked.key = {asked.key} WHERE {of_provider})"
    )
    if not connection.execute("SELECT 1 FROM judged LIMIT 1").fetchall():
        places = served.table.providers
        raise ValueError(
            f"provider {provider!r} has no request in the log, which has {listed(places)}"
        )
    return dict(enumerate(served.table.names["reason"].astype(str)))


def _at(cause: Cause) -> str:
    """SQL for a request's bill at the price of a cause; null where it does not apply."""
    bill = usd_sql(cause.variant, cause.cache, cause.table)
    return f"CASE WHEN {cause.applies} THEN {bill} END"


def _near(name: str) -> str:
    tolerance = f"greatest({_HALF_A_DIGIT_USD!r}, {AGREES_SHARE} * {name})"
    return f"abs(logged_usd - {name}) <= {tolerance}"


def _against_log(connection: Connection, reasons: Mapping[int, str]) -> list[tuple[Any, ...]]:
    kinds = connection.sql(
        "SELECT kind, sum(n)::DOUBLE AS requests, coalesce(sum(logged_usd), 0) AS billed,"
        " coalesce(sum(usd), 0) AS repriced FROM judged GROUP BY kind"
    ).df()
    unpriced = connection.sql(
        "SELECT name FROM judged WHERE kind = 'unpriced' GROUP BY name ORDER BY sum(n) DESC LIMIT 2"
    ).fetchall()
    why = "; ".join(reasons[name] for (name,) in unpriced)
    rows = []
    for kind, says in _SAYS.items():
        for each in kinds[kinds["kind"] == kind].itertuples():
            difference = each.billed - each.repriced
            sentence = f"{_requests(each.requests)}: {says}"
            sentence += f" ({why})" if kind == "unpriced" else ""
            sentence += "." if kind == "agrees" else f"; {_difference(difference)}."
            row = (each.requests, each.billed, each.repriced, difference, sentence)
            rows.append(("log", kind, *row))
    return rows


def _requests(n: float) -> str:
    return f"{count(n)} request{'' if n == 1 else 's'}" if n else "Requests that no one counted"


def _difference(amount: float) -> str:
    if not amount:
        return "the log has the same"
    return f"the log has {usd(abs(amount))} {'more' if amount > 0 else 'less'}"


# --- invoices ------------------------------------------------------------------------------------

_RETRIES = "usd * (1 + coalesce(failed_attempts, 0))"

_TOTALS = {
    "retries": (f"sum({_RETRIES})", "with the tokens of failed attempts"),
    "failed": ("sum(usd) FILTER (ok)", "without the requests that failed"),
    **{
        f"cause_{i}": (f"sum(coalesce(cause_{i}, usd))", cause.says)
        for i, cause in enumerate(CAUSES)
    },
}
"""What all requests of a month come to at the price of a cause, in SQL and in words."""


def _providers(connection: Connection) -> list[str]:
    """Who bills the requests, the largest bill first; empty unless several do."""
    billed = connection.sql(
        "SELECT provider FROM judged WHERE usd > 0 GROUP BY 1 ORDER BY sum(usd) DESC, 1"
    ).fetchall()
    return [str(name) for (name,) in billed] if len(billed) > 1 else []


def _totals(providers: Sequence[str]) -> dict[str, tuple[str, str]]:
    """`_TOTALS`, and what each of several providers bills alone."""
    return _TOTALS | {
        f"provider_{i}": (f"sum(usd) FILTER (provider = {literal(name)})", f"at {name} alone")
        for i, name in enumerate(providers)
    }


def _months_sql(totals: Mapping[str, tuple[str, str]]) -> str:
    sums = ", ".join(f"coalesce({sql}, 0) AS {name}" for name, (sql, _) in totals.items())
    return f"""SELECT strftime(make_timestamp(us), '%Y-%m') AS month, sum(n)::DOUBLE AS requests,
        count(*) AS rows, min(us) AS first, max(us) AS last, count(DISTINCT us // {DAY_US}) AS days,
        coalesce(sum(usd), 0) AS usd, sum(n) FILTER (kind = 'unpriced')::DOUBLE AS unpriced,
        coalesce(sum(logged_usd) FILTER (kind = 'unpriced'), 0) AS unpriced_usd,
        {sums} FROM judged GROUP BY 1 ORDER BY 1"""


class _Period(NamedTuple):
    """One invoice, the sums over the requests of its time, and the days of that and of the log."""

    name: str
    amount: float
    sums: "pd.Series[Any]"
    days: float
    covered_days: float


def _periods(
    invoice: float | Mapping[str, float], usd_per_unit: float, months: pd.DataFrame
) -> list[_Period]:
    start, end = months["first"].min(), months["last"].max()
    gap = (end - start) / max(months["rows"].sum() - 1, 1)
    logged = months["month"].tolist()
    by_name = (
        {month: ([month], amount) for month, amount in invoice.items()}
        if isinstance(invoice, Mapping)
        else {" to ".join(dict.fromkeys([logged[0], logged[-1]])): (logged, invoice)}
    )
    periods = []
    for name, (of_period, amount) in by_name.items():
        if not (amount > 0 and usd_per_unit > 0):
            raise ValueError(f"invoice {name}: {amount} at {usd_per_unit} USD: give both above 0")
        first, after = _edge_us(of_period[0], 0), _edge_us(of_period[-1], 1)
        covered = (min(end + gap, after) - max(start, first)) / DAY_US
        sums = months[months["month"].isin(of_period)].drop(columns="month").sum()
        periods.append(_Period(name, amount, sums, (after - first) / DAY_US, max(covered, 0.0)))
    return periods


def _edge_us(month: str, after: int) -> float:
    """The microsecond at which a month begins, or the one after it."""
    try:
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f'invoice: "{month}" is no month: write it as "2026-11"') from None
    days = monthrange(first.year, first.month)[1] * after
    return (first + timedelta(days=days)).timestamp() * 1e6


def _against_invoice(
    period: _Period, providers: Sequence[str], usd_per_unit: float, currency: str
) -> list[tuple[Any, ...]]:
    totals = _totals(providers)
    sums, amount = period.sums, period.amount * usd_per_unit
    stated = usd(amount)
    if currency != "USD" or usd_per_unit != 1:
        stated += f" ({period.amount:,.2f} {currency} at {usd_per_unit:g})"
    whole = period.days - period.covered_days < 0.5
    scale = period.days / period.covered_days if period.covered_days and not whole else 1.0
    rows = []

    def add(kind: str, requests: float, billed: float, repriced: float, sentence: str) -> None:
        row = (kind, requests, billed, repriced, billed - repriced, sentence)
        rows.append((f"invoice {period.name}", *row))

    logged = sums["usd"] + sums["unpriced_usd"]
    if not whole:
        beyond = logged * (scale - 1)
        days = f"{period.covered_days:.1f} of the {period.days:.0f} days of {period.name}"
        sentence = f"The log covers {days}, {sums['days']:.0f} of them with requests"
        sentence += f": its {usd(logged)} is scaled to {usd(logged * scale)}." if logged else "."
        add("days not logged", sums["requests"] * (scale - 1), beyond, 0.0, sentence)
    if sums["unpriced"]:
        sentence = f"{_requests(sums['unpriced'])}: without a price, and counted as logged."
        add("unpriced", sums["unpriced"], sums["unpriced_usd"], 0.0, sentence)
    left = amount - logged * scale
    gaps = {name: scale * (sums[name] - sums["usd"]) for name in totals}
    name = min(gaps, key=lambda name: abs(left - gaps[name]))
    if abs(left) > INVOICE_SHARE * amount and abs(left - gaps[name]) <= INVOICE_SHARE * amount:
        kind = CAUSES[int(name[6:])].kind if name.startswith("cause_") else name
        kind = "other providers" if name.startswith("provider_") else kind
        sentence = (
            f"The invoice of {stated} is within 1 % of what the requests cost {totals[name][1]}: "
            f"{usd(abs(gaps[name]))} {'more' if gaps[name] > 0 else 'less'}."
        )
        add(kind, sums["requests"], gaps[name], 0.0, sentence)
        left -= gaps[name]
    beside = amount - sum(row[3] for row in rows)
    if abs(left) <= INVOICE_SHARE * amount:
        sentence = f"The rest of the invoice of {stated} agrees with what the tokens cost, to 1 %."
        add("agrees", sums["requests"], beside, sums["usd"], sentence)
    else:
        more = left > 0
        look = (
            "usage outside this log, fees of tools and storage, and taxes"
            if more
            else "credits, discounts, and a price of your own"
        )
        if not more and providers:
            look += f", or name its `provider`: {' or '.join(providers)}"
        sentence = (
            f"The invoice of {stated} is {usd(abs(left))} ({share(abs(left) / amount)} of it) "
            f"{'more' if more else 'less'} than the tokens cost, for a reason that is none of "
            f"these: look for {look}."
        )
        add("unknown", sums["requests"], beside, sums["usd"], sentence)
    return rows
