"""List prices of API models on a date, and their dated changes.

Prices come from `genai-prices`, pinned and offline, behind a strict wrapper: where the package
silently falls back (for an unknown tier, a date before the tier's rows, a loose model match), this
module raises `PriceError`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NamedTuple

import genai_prices.data
import numpy as np
import pandas as pd
from genai_prices.types import (
    ClauseAnd,
    ClauseEquals,
    ClauseOr,
    ClauseStartsWith,
    ConditionalPrice,
    MatchLogic,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from llmstudy import paths
from llmstudy.figure import FloatArray
from llmstudy.prices.model_names import same_weights

# Read from the package's data module, not from its snapshot, which `UpdatePrices` can replace.
_PROVIDERS = {provider.id: provider for provider in genai_prices.data.providers}

_TIER_KEYS = {"processing", "service_tier", "speed"}
"""The request-context keys of genai-prices for a service tier; others are routes or tools."""

TOKEN_PRICES = ("input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok")

_BEYOND_TOKENS = ("requests_kcount", "output_reasoning_mtok", "output_citation_mtok")
"""Charges that do not follow from the counts of input and output tokens."""

# What may follow a model's name and still name that model: the rest of a date, then versions.
_VERSION = re.compile(r"(\d{4})?([-@](\d{2,}|v\d+(:\d+)?|preview|exp))*")

Severity = Literal["info", "warning", "stale"]


class PriceError(ValueError):
    """A price that could only be guessed."""


@dataclass(frozen=True)
class Finding:
    """A change, a doubt or a retirement that affects a price.

    severity: stale, the price must no longer be used; warning, it will change or looks wrong; info,
    it has changed or varies. effective: the day of the change, where there is one.
    """

    severity: Severity
    subject: str
    sentence: str
    effective: date | None = None


@dataclass(frozen=True)
class ApiRate:
    """A model's rate on a day: USD per million tokens, at midnight UTC, in the lowest context tier.

    Cached tokens are billed as input by a model without a cached rate. expires: the day of the next
    dated change. data_sha256: hash of the price data.
    """

    provider: str
    model: str
    matched_id: str
    tier: str
    on: date
    input_usd_per_mtok: float
    cached_input_usd_per_mtok: float
    output_usd_per_mtok: float
    has_context_tiers: bool
    has_time_of_day: bool
    deprecated: bool
    expires: date | None
    package_version: str
    data_sha256: str


def prices_of_day(
    provider: str, model: str, on: date, tier: str = "standard"
) -> list[tuple[timedelta, ModelPrice]]:
    """The prices of a day in order, each with its start as time since midnight UTC.

    Raises: PriceError for an unknown provider, model or tier, with the nearest names; a tier
    without rows at `on`; a model that bills more than tokens.
    """
    entry = _find_model(provider, model)
    windows, dates = _windows(entry), _start_days(entry)
    if windows and dates and on < dates[-1]:
        raise PriceError(
            f"{entry.id} has peak-hour rates from {dates[-1]} on, but none on {on}: "
            "choose a later date"
        )
    # Every window in the pinned data is given in UTC.
    edges = {edge for window in windows for edge in (window.start_time, window.end_time)}
    midnight = _midnight(on)
    moments = sorted({midnight, *(datetime.combine(on, edge, UTC) for edge in edges)})
    return [(moment - midnight, _price_at(entry, moment, tier)) for moment in moments]


def days_of_change(provider: str, model: str) -> list[date]:
    """The days on which a rate of a model begins, of any tier, in order.

    Raises: PriceError for an unknown provider or model.

    >>> [day.isoformat() for day in days_of_change("google", "gemini-3.8-flash")][-1]
    '2027-01-01'
    """
    return _start_days(_find_model(provider, model))


def check_listed(provider: str, model: str, on: date, tier: str = "standard") -> None:
    """Checks that requests to a model can be priced on a day. Returns nothing.

    Raises: PriceError as `prices_of_day`.
    """
    prices_of_day(provider, model, on, tier)


def rate(provider: str, model: str, on: date, tier: str = "standard") -> ApiRate:
    """The rate of a model on a day, with its provenance and the day on which it expires.

    Raises: PriceError as `prices_of_day`.

    >>> argon = rate("google", "gemini-4-argon", date(2026, 11, 20))
    >>> argon.input_usd_per_mtok, argon.output_usd_per_mtok, argon.expires.isoformat()
    (2.0, 10.0, '2026-12-01')
    """
    entry = _find_model(provider, model)
    price = _price_at(entry, _midnight(on), tier)
    changes = scheduled_changes(provider, model, after=on, until=date.max, tier=tier)
    data_file = Path(genai_prices.data.__file__)
    return ApiRate(
        provider=provider,
        model=model,
        matched_id=entry.id,
        tier=tier,
        on=on,
        input_usd_per_mtok=_base_usd(price, "input_mtok"),
        cached_input_usd_per_mtok=_base_usd(price, "cache_read_mtok"),
        output_usd_per_mtok=_base_usd(price, "output_mtok"),
        has_context_tiers=len(context_sizes(price)) > 1,
        has_time_of_day=bool(_windows(entry)),
        deprecated=bool(entry.deprecated),
        expires=None if changes.empty else changes["effective"].iloc[0],
        package_version=version("genai-prices"),
        data_sha256=sha256(data_file.read_bytes()).hexdigest(),
    )


def embedding_usd_per_mtok(provider: str, model: str, on: date) -> float:
    """What a model of embeddings charges for its input on a day. Unit: USD per million tokens.

    Raises: PriceError for an unknown provider or model, with the nearest names, or for a model
    whose input has no one price.

    >>> embedding_usd_per_mtok("openai", "text-embedding-3-small", date(2026, 11, 20))
    0.02
    """
    entry = _find_model(provider, model)
    rates = entry.get_prices(_midnight(on), {}).input_mtok
    if not isinstance(rates, Decimal) or rates <= 0:
        raise PriceError(f"{entry.id} has no one price per input token on {on}")
    return float(rates)


def scheduled_changes(
    provider: str, model: str, after: date, until: date, tier: str = "standard"
) -> pd.DataFrame:
    """The dated changes of a model's rate after the day `after`, up to and including `until`.

    Returns one row per change, in order: effective (date), input_before, input_after,
    output_before, output_after (USD per million tokens, lowest context tier, midnight UTC),
    change_share (relative change of the token rate that changes most, cached rates included) and
    reason. A tier whose rates are listed from some day on has only the changes after that day.
    Raises: PriceError as `prices_of_day`.

    >>> scheduled_changes("google", "gemini-3.8-flash", date(2026, 11, 20), date(2027, 6, 30))[
    ...     ["effective", "input_before", "input_after", "change_share", "reason"]
    ... ].values.tolist()
    [[datetime.date(2027, 1, 1), 0.75, 1.5, 1.0, 'introductory rate ends']]
    """
    entry = _find_model(provider, model)
    rows = []
    first_day = _first_day(_of_tier(entry, tier))
    for day in _start_days(entry):
        if not max(after, first_day) < day <= until:
            continue
        before = _price_at(entry, _midnight(day - timedelta(days=1)), tier)
        now = _price_at(entry, _midnight(day), tier)
        change_share = _largest_change(before, now)
        if change_share:
            inputs = _base_usd(before, "input_mtok"), _base_usd(now, "input_mtok")
            outputs = _base_usd(before, "output_mtok"), _base_usd(now, "output_mtok")
            reason = _reason(entry, change_share, inputs, outputs)
            rows.append((day, *inputs, *outputs, change_share, reason))
    return pd.DataFrame(
        rows,
        columns=[
            "effective",
            "input_before",
            "input_after",
            "output_before",
            "output_after",
            "change_share",
            "reason",
        ],
    )


def price_findings(provider: str, model: str, on: date, until: date) -> list[Finding]:
    """Findings on a model's standard price on the day `on`, for a plan that ends on `until`.

    Changes between the two days and retirements are warnings (stale if already retired); changes in
    the 365 days up to `on` are information.

    Source: genai-prices' dated rows and deprecated flags; data/model_retirements.csv.

    >>> [f] = price_findings("google", "gemini-4-argon", date(2026, 11, 20), date(2027, 6, 30))
    >>> f.severity, f.effective.isoformat()
    ('warning', '2026-12-01')
    """
    entry = _find_model(provider, model)
    subject = f"{provider}/{entry.id}"
    coming = scheduled_changes(provider, model, after=on, until=until)
    past = scheduled_changes(provider, model, after=on - timedelta(days=365), until=on)
    deprecated = Finding("warning", subject, f"{subject} is marked as deprecated.")
    return [
        *_retirement_findings(entry, provider, on, until),
        *([deprecated] if entry.deprecated else []),
        *_change_findings("warning", subject, coming),
        *_change_findings("info", subject, past),
    ]


def _reason(
    model: ModelInfo, change_share: float, inputs: tuple[float, float], outputs: tuple[float, float]
) -> str:
    if inputs[0] == inputs[1] and outputs[0] == outputs[1]:
        return "cached or long-context rate changes"
    if change_share < 0:
        return "list price falls"
    introductory = "introductory" in (model.price_comments or "").lower()
    return "introductory rate ends" if introductory else "list price rises"


def _change_findings(severity: Severity, subject: str, changes: pd.DataFrame) -> list[Finding]:
    return [
        Finding(
            severity,
            subject,
            f"{subject}: {row['reason']} on {row['effective']}: per million tokens "
            f"input USD {row['input_before']:g} to {row['input_after']:g}, "
            f"output USD {row['output_before']:g} to {row['output_after']:g}.",
            row["effective"],
        )
        for row in changes.to_dict("records")
    ]


def retirement(provider: str, model: str) -> date | None:
    """The day on which a model retires; None if no day is listed.

    Raises: PriceError for an unknown provider or model.

    >>> retirement("anthropic", "claude-sonnet-4-5")
    datetime.date(2026, 11, 30)
    """
    days = [row["retires"] for row in _retirement_rows(_find_model(provider, model), provider)]
    return min((date.fromisoformat(day) for day in days if day), default=None)


def _retirement_rows(model: ModelInfo, provider: str) -> list[dict[str, str]]:
    """The rows of data/model_retirements.csv for a model."""
    table = pd.read_csv(paths.data("model_retirements.csv"), dtype=str, keep_default_na=False)
    rows = [{str(k): str(v) for k, v in row.items()} for row in table.to_dict("records")]
    of_provider = [row for row in rows if row["provider"] == provider]
    return [row for row in of_provider if _find_model(provider, row["model"]) is model]


def _retirement_findings(model: ModelInfo, provider: str, on: date, until: date) -> list[Finding]:
    findings = []
    for row in _retirement_rows(model, provider):
        subject = " on ".join(filter(None, [f"{provider}/{row['model']}", row["place"]]))
        source = f"({row['source']} {row['source_version']})"
        if not row["retires"]:
            sentence = f"{subject} is {row['note']} {source}: check that it is still served."
            findings.append(Finding("warning", subject, sentence))
            continue
        retires = date.fromisoformat(row["retires"])
        if retires <= on:
            sentence = f"{subject} was retired on {retires} {source}: compare with a current model."
            findings.append(Finding("stale", subject, sentence, retires))
        elif retires <= until:
            sentence = f"{subject} retires on {retires} {source}: plan the move to a successor."
            findings.append(Finding("warning", subject, sentence, retires))
    return findings


_RESELLERS = ("openrouter", "huggingface_", "github-copilot", "cursor", "quicksilverpro")
"""Resellers: they pass requests on to hosts that have listings of their own."""


class Listing(NamedTuple):
    """A model's name at one provider. context_tokens: longest context, None where not listed."""

    provider: str
    model: str
    context_tokens: int | None


@cache
def listings(model: str, on: date) -> tuple[Listing, ...]:
    """The providers that sell a model's weights by the token on a day.

    Resellers are left out, and so are prices that genai-prices copied from one.

    >>> [each.provider for each in listings("gpt-oss-120b", date(2026, 11, 23))][:3]
    ['aws', 'baseten', 'cerebras']
    """
    places = []
    for provider, catalogue in _PROVIDERS.items():
        if provider.startswith(_RESELLERS):
            continue
        for each in catalogue.models:
            copied = "Imported from OpenRouter" in (each.price_comments or "")
            if each.deprecated or copied or not same_weights(each.id, model):
                continue
            try:
                check_listed(provider, each.id, on)
            except PriceError:
                continue
            places.append(Listing(provider, each.id, each.context_window))
    return tuple(places)


# --- the strict wrapper around genai-prices -------------------------------------------------------


def _find_model(provider: str, model: str) -> ModelInfo:
    """The model that genai-prices matches, if by name and not by resemblance.

    Raises: PriceError with the nearest names.
    """
    if provider not in _PROVIDERS:
        raise PriceError(f"genai-prices has no provider {provider!r}{_close(provider, _PROVIDERS)}")
    catalogue = _PROVIDERS[provider]
    reference = model.lower()
    if reference.endswith("latest"):
        raise PriceError(
            f"{provider}/{model} is an alias that changes: name the model that it stands for now"
        )
    match = next((each for each in catalogue.models if each.is_match(reference)), None)
    if match is not None and any(
        reference.startswith(name) and _VERSION.fullmatch(reference[len(name) :])
        for name in _names(match)
    ):
        return match
    names = [
        name for each in catalogue.models for name in _names(each) if not name.endswith("latest")
    ]
    elsewhere = match is None and catalogue.find_model(
        reference, all_providers=[*_PROVIDERS.values()]
    )
    owner = "; another provider lists it: name that one if you pay its rates" if elsewhere else ""
    raise PriceError(f"{provider} lists no model {model!r}{_close(model, names)}{owner}")


def _names(model: ModelInfo) -> list[str]:
    """A model's id, and the names and prefixes (not patterns) of its match logic."""
    clauses = list(_clauses(model.match))
    equals = [each.equals for each in clauses if isinstance(each, ClauseEquals)]
    prefixes = [each.starts_with for each in clauses if isinstance(each, ClauseStartsWith)]
    return [name.lower() for name in (model.id, *equals, *prefixes)]


def _clauses(match: MatchLogic) -> Iterator[MatchLogic]:
    if isinstance(match, ClauseOr | ClauseAnd):
        for clause in match.or_ if isinstance(match, ClauseOr) else match.and_:
            yield from _clauses(clause)
    else:
        yield match


def _close(name: str, names: Iterable[str]) -> str:
    close = get_close_matches(name.lower(), dict.fromkeys(names), n=4)
    return f"; close to it: {', '.join(close)}" if close else ""


def _price_at(model: ModelInfo, moment: datetime, tier: str) -> ModelPrice:
    """The prices at a moment in UTC.

    Raises: PriceError if tokens have no price, or requests are billed for more than tokens.
    """
    price = model.get_prices(moment, _context(model, moment, tier))
    if price.input_mtok is None or price.output_mtok is None:
        raise PriceError(f"{model.id} has no price per input and output token on {moment:%Y-%m-%d}")
    beyond = [key for key in _BEYOND_TOKENS if getattr(price, key) is not None]
    if beyond:
        raise PriceError(
            f"{model.id} bills more than token counts show ({', '.join(beyond)}): "
            "give its cost per request as a figure of the study"
        )
    return price


def _context(model: ModelInfo, moment: datetime, tier: str) -> dict[str, str]:
    """The request context that selects a tier.

    Raises: PriceError where genai-prices would fall back to the standard rate.
    """
    if tier == "standard":
        return {}
    rows = _of_tier(model, tier)
    if not rows:
        offered = ", ".join(dict.fromkeys(["standard", *(value for value, _ in _tiers(model))]))
        raise PriceError(f"{model.id} has no {tier!r} rate; it has: {offered}")
    if not any(row.constraint is None or row.constraint.active(moment) for row in rows):
        raise PriceError(
            f"the {tier} rate of {model.id} is listed from {_first_day(rows)} on, not on "
            f"{moment:%Y-%m-%d}: choose a later date"
        )
    return rows[0].when


def _tiers(model: ModelInfo) -> list[tuple[str, PriceVariant]]:
    """The service tiers of a model other than the standard one, each with one of its rates."""
    return [
        (value, row)
        for row in model.price_variants or []
        for key, value in row.when.items()
        if key in _TIER_KEYS and value != "default"
    ]


def _of_tier(model: ModelInfo, tier: str) -> list[PriceVariant]:
    return [row for value, row in _tiers(model) if value == tier]


def _first_day(rows: list[PriceVariant]) -> date:
    """The first day of a tier's rates; `date.min` where they have no start."""
    always = any(row.constraint is None for row in rows)
    return date.min if always else min(_start_dates(rows), default=date.min)


def _conditional_prices(model: ModelInfo) -> list[ConditionalPrice]:
    return [] if isinstance(model.prices, ModelPrice) else model.prices


def _windows(model: ModelInfo) -> list[TimeOfDateConstraint]:
    constraints = [row.constraint for row in _conditional_prices(model)]
    return [each for each in constraints if isinstance(each, TimeOfDateConstraint)]


def _start_days(model: ModelInfo) -> list[date]:
    """The start days of all rates of a model, in order."""
    return sorted(
        {*_start_dates(_conditional_prices(model)), *_start_dates(model.price_variants or [])}
    )


def _start_dates(rows: Iterable[ConditionalPrice | PriceVariant]) -> list[date]:
    constraints = [row.constraint for row in rows]
    return [each.start_date for each in constraints if isinstance(each, StartDateConstraint)]


def _midnight(on: date) -> datetime:
    return datetime.combine(on, time.min, UTC)


# --- arithmetic on prices -------------------------------------------------------------------------


def token_rate(price: ModelPrice, key: str, input_tokens: FloatArray) -> FloatArray:
    """USD per million tokens for prompts of these sizes, any shape.

    Beyond a threshold the higher rate applies to all tokens of the prompt, not only to those above.
    """
    rates = _token_price(price, key)
    if isinstance(rates, Decimal):
        return np.full(input_tokens.shape, float(rates))
    ladder = np.array([rates.base, *(tier.price for tier in rates.tiers)], dtype=float)
    return np.asarray(ladder[np.searchsorted([tier.start for tier in rates.tiers], input_tokens)])


def _token_price(price: ModelPrice, key: str) -> Decimal | TieredPrices:
    """The price under a key, the input price where cached tokens have none of their own."""
    price_of_key: Decimal | TieredPrices | None = getattr(price, key)
    billed_as = price.input_mtok if price_of_key is None else price_of_key
    assert billed_as is not None  # _price_at has refused a price without input or output
    return billed_as


def _base_usd(price: ModelPrice, key: str) -> float:
    return float(token_rate(price, key, np.zeros(1))[0])


def context_sizes(*prices: ModelPrice) -> list[int]:
    """The smallest prompt in each context tier, in tokens."""
    rates = [_token_price(price, key) for price in prices for key in TOKEN_PRICES]
    tiers = [tier for each in rates if isinstance(each, TieredPrices) for tier in each.tiers]
    return sorted({0, *(tier.start + 1 for tier in tiers)})


def _largest_change(before: ModelPrice, now: ModelPrice) -> float:
    """The relative change of the token rate that changes most, in any context tier."""
    sizes = np.array(context_sizes(before, now), dtype=float)
    earlier = np.concatenate([token_rate(before, key, sizes) for key in TOKEN_PRICES])
    later = np.concatenate([token_rate(now, key, sizes) for key in TOKEN_PRICES])
    changes = later[earlier > 0] / earlier[earlier > 0] - 1
    return float(max(changes, key=abs, default=0.0))
