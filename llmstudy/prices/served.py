"""What does a log's own name of a provider and a model cost? Rates of all that a log names.

A gateway writes `azure.ai.openai` or `hosted_vllm/llama-3.1-70b`; a price list has names of its
own. Rates are worked out once for each name, tier, day of a change, hour of a change and size of
prompt, so that a log of any length is priced by looking up a number.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import genai_prices.data
import numpy as np
import pandas as pd
from genai_prices.types import ModelPrice

from llmstudy import paths
from llmstudy.figure import FloatArray
from llmstudy.prices.api import (
    TOKEN_PRICES,
    PriceError,
    check_listed,
    context_sizes,
    days_of_change,
    token_rate,
)
from llmstudy.prices.billing import PricedModel
from llmstudy.prices.model_names import same_model

SELF_HOSTED = "self-hosted"

_STANDARD = ("", "standard", "default", "auto", "on_demand", "on-demand", "standard_only")
"""What logs call the tier that is billed where none is chosen."""

_REGION = re.compile(r"^(us|eu|apac|jp|au|us-gov)\.")
"""The region that Amazon Bedrock writes before a model; the price list has one for all of them."""

PARTS = ("input", "cached", "written", "output")
"""What is billed by the token, in the order of `TOKEN_PRICES`."""

VARIANTS = ("own", "standard", "list", "short")
"""The rates of a request: its own; those of the standard tier; those of the list, where its own are
negotiated; and those of a short prompt."""

_NAMES = ["provider", "model", "tier"]

Prices = Mapping[str, str | PricedModel]
"""Provider and model as the log has them, "azure/our-gpt" -> what is billed for them."""


@cache
def _places() -> dict[str, list[str]]:
    """Providers in the price list by each other name of theirs, in the order to try them."""
    table = pd.read_csv(paths.data("provider_names.csv"))
    return {
        name: str(each).split()
        for name, each in zip(table["name"], table["providers"], strict=True)
    }


@cache
def served_model(provider: str, model: str, on: date) -> PricedModel | None:
    """The model of the price list that a log means; None for one that is self-hosted.

    provider, model: as the log has them. A log that knows no provider means the one that made the
    model, where the list knows it by its name.
    Raises: PriceError if no list, or no one list, has the model.

    >>> day = date(2026, 11, 20)
    >>> served_model("gcp.vertex_ai", "gemini-2.5-pro", day)
    PricedModel(provider='google', model='gemini-2.5-pro', tier='standard', usd_per_mtok=None, \
factor=1.0)
    >>> served_model("unknown", "openai/gpt-4o", day).provider, served_model("vllm", "qwen3", day)
    ('openai', None)
    """
    name, bare = provider.strip().lower(), model.strip().lower()
    prefix, slash, rest = bare.partition("/")
    listed = {each.id for each in genai_prices.data.providers}
    if name in ("", "unknown"):
        named = slash and (prefix in listed or prefix in _places())
        makers = [each.id for each in genai_prices.data.providers if _made_by(each, bare)]
        tried = _places().get(prefix, [prefix]) if named else makers
    else:
        tried = _places().get(name, [name])
    if SELF_HOSTED in tried:
        return None
    if not tried:
        raise PriceError(f"the log names no provider of {model!r}, and no one list is known for it")
    names = dict.fromkeys([bare, _REGION.sub("", bare), rest if slash else bare])
    faults = []
    for place, each in product(tried, names):
        try:
            check_listed(place, each, on)
        except PriceError as fault:
            faults.append(fault)
        else:
            return PricedModel(place, each)
    raise faults[0]


def _made_by(provider: Any, model: str) -> bool:
    return provider.model_match is not None and bool(provider.model_match.is_match(model))


@dataclass(frozen=True)
class RateTable:
    """The rates of all that a log names, each under one whole number, its key.

    providers, models, tiers: as the log has them. days: on which a rate changes; times: of the day
    (UTC) at which one does; sizes: input tokens above which a model bills more. rates: one row per
    key (index), and for each of `VARIANTS` `<variant>_input`, `_cached`, `_written` and `_output`
    in USD per million tokens, NaN where there is none. names: one row per provider, model and tier:
    provider, model, tier, priced_as ("openai/gpt-4o"; null without a price), self_hosted,
    negotiated, reason (why there is no price; null where there is one).

    A key counts places in the lists: of the provider, the model and the tier (from 1; 0 is none),
    and how many of the days, times and sizes are reached or passed.
    """

    providers: list[str]
    models: list[str]
    tiers: list[str]
    days: list[date]
    times: list[timedelta]
    sizes: list[int]
    rates: pd.DataFrame
    names: pd.DataFrame

    @property
    def places(self) -> tuple[int, ...]:
        """How many values each digit of a key takes, the leading one first."""
        names = (len(self.providers) + 1, len(self.models) + 1, len(self.tiers) + 1)
        return *names, len(self.days) + 1, len(self.times) + 1, len(self.sizes) + 1


def rate_table(
    names: pd.DataFrame,
    first: date,
    last: date,
    prices: Prices | None = None,
    by_maker: bool = False,
) -> RateTable:
    """Works out the rates of all names of a log, for its first day to its last.

    names: provider, model, tier (null: the standard one), one row for each that occurs. prices: by
    provider and model as the log has them ("azure/our-gpt"), the model of the list that is billed,
    or a `PricedModel` with a negotiated price, which stands for its own tier only; a name without a
    date is that of every snapshot. by_maker: a model that its provider lacks has its maker's price.
    Raises: PriceError if a key of prices is no "provider/model". A name that no list has is no
    error: it has a reason.

    >>> names = pd.DataFrame({"provider": ["openai"], "model": "gpt-4o", "tier": None})
    >>> day = date(2026, 11, 20)
    >>> rate_table(names, day, day).rates[["own_input", "own_output"]].to_numpy().tolist()
    [[2.5, 10.0]]
    """
    names = names.astype(object).where(names.notna(), None).reset_index(drop=True)
    rows: list[tuple[str, str, str | None]] = [*zip(*(names[x] for x in _NAMES), strict=True)]
    billed = [_billing(*row, last, prices or {}, by_maker) for row in rows]
    days = sorted({day for each in billed for day in _days(each) if first < day <= last})
    by_day = [[_prices(each, day) for day in (first, *days)] for each in billed]
    lists = [x for each in by_day for prices_ in each for x in prices_.by_variant.values()]
    listed = [timed for each in lists for timed in each]
    times = sorted({since for since, _ in listed if since})
    sizes = sorted({size - 1 for _, price in listed for size in context_sizes(price) if size})
    columns = [names[each].dropna().unique().tolist() for each in _NAMES]
    providers, models, tiers = columns
    table = RateTable(providers, models, tiers, days, times, sizes, pd.DataFrame(), names)
    keys, rates = [], []
    for row, each, of_days in zip(rows, billed, by_day, strict=True):
        named = zip(columns, row, strict=True)
        place = [0 if name is None else values.index(name) + 1 for values, name in named]
        for d, t in product(range(len(of_days)), range(len(times) + 1)):
            since = times[t - 1] if t else timedelta(0)
            key = np.ravel_multi_index((*place, d, t, 0), table.places)
            keys.append(key + np.arange(len(sizes) + 1))
            rates.append(_rates_by_size(each, of_days[d], since, sizes))
    header = [f"{variant}_{part}" for variant in VARIANTS for part in PARTS]
    reasons = [
        each.reason or next((x.reason for x in of_days if x.reason), None)
        for each, of_days in zip(billed, by_day, strict=True)
    ]
    return replace(
        table,
        rates=pd.DataFrame(
            np.concatenate(rates) if rates else None,
            np.concatenate(keys) if keys else None,
            header,
            dtype=float,
        ),
        names=names.assign(
            priced_as=pd.Series([each.label for each in billed], dtype=object),
            self_hosted=[each.self_hosted for each in billed],
            negotiated=[each.negotiated for each in billed],
            reason=pd.Series(reasons, dtype=object),
        ),
    )


@dataclass(frozen=True)
class _Billing:
    """What a name is billed as at its own tier, at the standard one and by the list; or why not."""

    models: Mapping[str, PricedModel]
    self_hosted: bool = False
    reason: str | None = None

    @property
    def negotiated(self) -> bool:
        return bool(self.models) and self.models["own"] != self.models["list"]

    @property
    def label(self) -> str | None:
        own = self.models.get("own")
        return f"{own.provider}/{own.model}" if own else None


class _DayPrices(NamedTuple):
    """The prices of a day by variant, and why the own one is missing."""

    by_variant: dict[str, list[tuple[timedelta, ModelPrice]]]
    reason: str | None


def _billing(
    provider: str, model: str, tier: str | None, on: date, prices: Prices, by_maker: bool
) -> _Billing:
    given = _given(provider, model, prices)
    try:
        billed = given or served_model(provider, model, on)
    except PriceError as fault:
        if by_maker:
            return _billing("unknown", model, tier, on, prices, False)
        return _Billing({}, reason=str(fault))
    if billed is None:
        return _Billing({}, self_hosted=True)
    text = (tier or "").strip().lower()
    name = "standard" if text in _STANDARD else text
    listed = replace(billed, tier=name, usd_per_mtok=None)
    own = billed if name == billed.tier else listed
    standard = billed if billed.tier == "standard" else replace(listed, tier="standard")
    return _Billing({"own": own, "standard": standard, "list": listed})


def _given(provider: str, model: str, prices: Prices) -> PricedModel | None:
    """The price that the caller gives for a name, where there is one."""
    named: dict[str, str | PricedModel] = {}
    for key, price in prices.items():
        place, _, name = key.partition("/")
        if not name:
            raise PriceError(f'prices: "{key}" is no "provider/model" as the log has them')
        if place.lower() == provider.strip().lower() and same_model(name, model):
            named[name.lower()] = price
    billed = named.get(model.strip().lower(), next(iter(named.values()), None))
    if not isinstance(billed, str):
        return billed
    place, _, name = billed.partition("/")
    return PricedModel(place, name)


def _days(billing: _Billing) -> set[date]:
    """The days on which a rate of the list changes."""
    models = {(each.provider, each.model): each for each in billing.models.values()}
    days: set[date] = set()
    for place, model in models:
        with suppress(PriceError):  # a negotiated price of a model that no list has
            days |= set(days_of_change(place, model))
    return days


def _prices(billing: _Billing, on: date) -> _DayPrices:
    by_variant, reason = {}, None
    for variant, model in billing.models.items():
        try:
            by_variant[variant] = model.prices_of_day(on)
        except PriceError as fault:
            reason = str(fault) if variant == "own" else reason
    return _DayPrices(by_variant, reason)


def _rates_by_size(
    billing: _Billing, prices: _DayPrices, since: timedelta, sizes: list[int]
) -> FloatArray:
    """Rates at a time of day, of a prompt that reaches none of the sizes to one above all.

    Returns: (sizes + 1, variants * parts) USD per million tokens.
    """
    prompts = np.array([0, *(size + 1 for size in sizes)], dtype=float)
    blocks = []
    for variant in VARIANTS:
        of = "own" if variant == "short" else variant
        timed = [price for start, price in prices.by_variant.get(of, ()) if start <= since]
        at = np.zeros_like(prompts) if variant == "short" else prompts
        block = np.full((len(prompts), len(PARTS)), np.nan)
        if timed:
            block = np.column_stack([token_rate(timed[-1], key, at) for key in TOKEN_PRICES])
            block *= billing.models[of].factor
        blocks.append(block)
    return np.hstack(blocks)
