"""The cost of a GPU hour, rented or owned, and findings on doubtful quotes.

Quotes come from `data/gpu_prices.csv`; their age is counted at the date that the caller gives.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from llmstudy import paths
from llmstudy.figure import Figure, Number
from llmstudy.prices.api import Finding, PriceError
from llmstudy.units import HOURS_PER_MONTH

_OFFER = ["gpu", "provider", "region", "commitment"]

_REGIONAL_RATIO = 1.6
"""Between regions. Suspect rows of SkyPilot's catalogue of GCP differ by factors of 1.7 and 2.3."""

RESERVED_PRICE_SHARE = Figure(
    "reserved_price_share",
    value=0.675,
    unit="share of the on-demand price",
    low=0.55,
    high=0.80,
    distribution="uniform",
    grade="assumed",
    source=(
        "AWS Savings Plans FAQ (up to 72 % off, not GPU-specific) and secondary pages (35-40 % off "
        "for one year); no open list of reserved GPU prices was found"
    ),
    as_of=date(2026, 11, 23),
)
"""A reserved GPU hour as a share of the same hour on demand; the value is the range's midpoint."""


def gpu_prices() -> pd.DataFrame:
    """Quotes for rented GPUs, one per row of data/gpu_prices.csv.

    Columns: gpu, provider, region, usd_per_gpu_hour, commitment (on_demand, spot, reserved_1y),
    as_of (timestamp; a month is its first day, an unknown date is missing), as_of_note,
    grade, source, licence. The provider `market` is a mean or index over providers.

    >>> gpu_prices().query("gpu == 'l4'")["usd_per_gpu_hour"].tolist()
    [0.805]
    """
    prices = pd.read_csv(paths.data("gpu_prices.csv"), keep_default_na=False)
    return prices.assign(as_of=pd.to_datetime(prices["as_of"], format="ISO8601"))


def gpu_price(gpu: str, provider: str, commitment: str, region: str | None = None) -> Figure:
    """The rent of one GPU, USD per hour, with its range over all providers.

    The range covers all quotes for that GPU and commitment. Of several quotes for one offer the
    newest is taken and, at equal dates (one GPU or a node of eight), the cheapest.
    Raises: PriceError if no quote matches, or if quotes from several regions do.

    >>> h100 = gpu_price("h100_sxm", "verda", "on_demand")
    >>> h100.value, h100.low, h100.high
    (2.29, 2.29, 10.98)
    """
    prices = _current(gpu_prices())
    of_gpu = prices[prices["gpu"] == gpu]
    alike = of_gpu[of_gpu["commitment"] == commitment]
    quotes = alike[alike["provider"] == provider]
    if region is not None:
        quotes = quotes[quotes["region"] == region]
    offer = f"{gpu} {provider} {commitment}" + (f" {region}" if region else "")
    if quotes.empty:
        raise PriceError(f"no GPU price for {offer}; available: {_listing(prices, of_gpu)}")
    regions = sorted(set(quotes["region"]))
    if len(regions) > 1:
        raise PriceError(f"{offer} has prices in several regions: name one of {', '.join(regions)}")
    quote = quotes.sort_values("usd_per_gpu_hour", kind="stable").iloc[0]
    return Figure(
        name=f"gpu_price {offer}",
        value=float(quote["usd_per_gpu_hour"]),
        unit="USD/h",
        low=float(alike["usd_per_gpu_hour"].min()),
        high=float(alike["usd_per_gpu_hour"].max()),
        distribution="loguniform",
        grade=quote["grade"],
        source=quote["source"],
        as_of=None if pd.isna(quote["as_of"]) else quote["as_of"].date(),
    )


def gpu_price_findings(prices: pd.DataFrame, on: date, max_age_days: int = 180) -> list[Finding]:
    """Findings on GPU prices on the day `on`.

    Warnings: a spot price above its on-demand price, a provider whose regions differ by a factor
    above 1.6, quotes without a date. Stale: quotes older than `max_age_days`. Information: the
    spread of on-demand prices over providers. Quotes replaced by a newer one of the same offer are
    left out.

    prices: columns as `gpu_prices`.

    >>> [f.sentence for f in gpu_price_findings(gpu_prices().query("gpu == 'l40s'"),
    ...                                         date(2026, 11, 23)) if f.severity == "info"]
    ['l40s costs USD 0.91 (verda) to 1.861 (aws) per hour on demand, a factor of 2.0.']
    """
    current = _current(prices)
    return [
        *_spot_above_on_demand(current),
        *_far_regions(current),
        *_old_quotes(current, on, max_age_days),
        *_spreads(current),
    ]


def _current(prices: pd.DataFrame) -> pd.DataFrame:
    """The newest quotes of each offer."""
    newest = prices.groupby(_OFFER)["as_of"].transform("max")
    return prices[newest.isna() | (prices["as_of"] == newest)]


def _listing(prices: pd.DataFrame, of_gpu: pd.DataFrame) -> str:
    if of_gpu.empty:
        return ", ".join(sorted(prices["gpu"].unique()))
    return "; ".join(" ".join(offer) for offer in of_gpu[_OFFER].drop_duplicates().to_numpy())


def _spot_above_on_demand(prices: pd.DataFrame) -> list[Finding]:
    place = ["gpu", "provider", "region"]
    spot = prices[prices["commitment"] == "spot"]
    on_demand = prices[prices["commitment"] == "on_demand"]
    pairs = spot.merge(on_demand, on=place, suffixes=("_spot", "_on_demand"))
    wrong = pairs[pairs["usd_per_gpu_hour_spot"] > pairs["usd_per_gpu_hour_on_demand"]]
    return [
        Finding(
            "warning",
            f"{row.gpu} {row.provider} {row.region}",
            f"{row.gpu} at {row.provider} in {row.region}: spot costs "
            f"USD {row.usd_per_gpu_hour_spot:g} per hour, more than "
            f"{row.usd_per_gpu_hour_on_demand:g} on demand; one of the two is wrong.",
        )
        for row in wrong.itertuples()
    ]


def _far_regions(prices: pd.DataFrame) -> list[Finding]:
    findings = []
    for (gpu, provider, commitment), offers in prices.groupby(["gpu", "provider", "commitment"]):
        by_region = offers.groupby("region")["usd_per_gpu_hour"].min()
        ratio = by_region.max() / by_region.min()
        if ratio > _REGIONAL_RATIO:
            sentence = (
                f"{gpu} at {provider} ({commitment}) costs {ratio:.1f} times as much in "
                f"{by_region.idxmax()} as in {by_region.idxmin()}; check both quotes."
            )
            findings.append(Finding("warning", f"{gpu} {provider}", sentence))
    return findings


def _old_quotes(prices: pd.DataFrame, on: date, max_age_days: int) -> list[Finding]:
    limit = pd.Timestamp(on) - pd.Timedelta(days=max_age_days)
    findings = [
        Finding(
            "stale",
            f"{row.gpu} {row.provider} {row.region}",
            f"{row.gpu} at {row.provider} ({row.commitment}) was quoted in {row.as_of:%Y-%m}, "
            f"more than {max_age_days} days before {on}: ask for a new quote.",
        )
        for row in prices[prices["as_of"] < limit].itertuples()
    ]
    undated = prices["as_of"].isna().groupby(prices["gpu"]).agg(["sum", "size"])
    findings += [
        Finding("warning", str(gpu), f"{gpu}: {row['sum']} of {row['size']} prices carry no date.")
        for gpu, row in undated[undated["sum"] > 0].iterrows()
    ]
    return findings


def _spreads(prices: pd.DataFrame) -> list[Finding]:
    findings = []
    for gpu, offers in prices[prices["commitment"] == "on_demand"].groupby("gpu"):
        usd = offers.set_index("provider")["usd_per_gpu_hour"]
        sentence = (
            f"{gpu} costs USD {usd.min():g} ({usd.idxmin()}) to {usd.max():g} ({usd.idxmax()}) "
            f"per hour on demand, a factor of {usd.max() / usd.min():.1f}."
            if len(set(usd.index)) > 1
            else f"{gpu} has the on-demand price of one provider only ({usd.index[0]}): no range."
        )
        findings.append(Finding("info", str(gpu), sentence))
    return findings


def committed_usd_per_gpu_hour(
    on_demand_usd: Number,
    reserved_price_share: Number,
    spot_usd: Number,
    on_demand_share: float,
    reserved_share: float,
    spot_share: float,
) -> Number:
    """Mean rent of a fleet paid for by a mix of commitments. Unit: usd per GPU-hour.

    reserved_price_share: price of a reservation as a share of the on-demand price.

    >>> committed_usd_per_gpu_hour(3.5, 0.7, 1.45, 0.4, 0.6, 0.0)
    2.87
    """
    return (
        on_demand_share * on_demand_usd
        + reserved_share * reserved_price_share * on_demand_usd
        + spot_share * spot_usd
    )


@dataclass(frozen=True)
class OwnedGpu:
    """A GPU that is bought, with its part of the server. Numbers, or arrays that broadcast.

    price_usd: of the card. server_share: server over card. spares_share: spare cards over cards in
    use. residual_share, maintenance_share_per_year: of the whole purchase. power_w: rated;
    load_share: mean power over rated.
    """

    price_usd: Number
    server_share: Number
    spares_share: Number
    life_months: Number
    residual_share: Number
    capital_share_per_year: Number
    maintenance_share_per_year: Number
    power_w: Number
    load_share: Number
    pue: Number
    usd_per_kwh: Number
    colocation_usd_per_kw_month: Number

    @property
    def purchase_usd(self) -> Number:
        """Price of a card in use with its part of the server and of the spares, usd."""
        return self.price_usd * (1 + self.server_share) * (1 + self.spares_share)


def capital_month_usd(
    purchase_usd: Number, residual_usd: Number, months: Number, share_per_year: Number
) -> Number:
    """Monthly cost of a purchase over its life, cost of capital included. Unit: usd a month.

    The payment of an annuity whose present value is the price less that of the residual; without a
    cost of capital it is straight-line depreciation. Payments are due at the end of each month, and
    the yearly rate is (1 + i)^12 - 1 for the monthly rate i.
    Source: capital recovery with salvage, Park, Contemporary Engineering Economics, ch. 6:
    (P - S) * i / (1 - (1 + i)^-n) + S * i.

    >>> round(capital_month_usd(48_000, 0.0, 48, 0.0), 2), round(
    ...     capital_month_usd(48_000, 0.0, 48, 0.08), 2)
    (1000.0, 1165.54)
    """
    log_growth = np.log1p(share_per_year) / 12
    monthly = np.expm1(log_growth)
    # i / (1 - (1 + i)^-n) is 1 / n where capital costs nothing
    safe = np.where(monthly > 0, monthly, 1.0)
    discount = -np.expm1(-log_growth * months)
    recovery = np.where(
        monthly > 0, safe / np.where(discount > 0, discount, 1.0), 1 / np.asarray(months)
    )
    month_usd = (purchase_usd - residual_usd) * recovery + residual_usd * monthly
    return month_usd if np.ndim(month_usd) else float(month_usd)


def owned_gpu_hour_parts(gpu: OwnedGpu) -> dict[str, Number]:
    """The parts of an owned GPU's cost per hour: part -> usd per GPU-hour.

    The cost is spread over all hours of its life, in use or not. Source: Barroso, Hoelzle and
    Ranganathan, The Datacenter as a Computer, 3rd ed., ch. 6: depreciation with interest,
    maintenance, energy times PUE, and space by the kilowatt.
    """
    purchase = gpu.purchase_usd
    residual = gpu.residual_share * purchase
    depreciation = (purchase - residual) / gpu.life_months
    capital = capital_month_usd(purchase, residual, gpu.life_months, gpu.capital_share_per_year)
    kilowatt = gpu.power_w / 1000
    return {
        "depreciation": depreciation / HOURS_PER_MONTH,
        "cost of capital": (capital - depreciation) / HOURS_PER_MONTH,
        "maintenance": gpu.maintenance_share_per_year * purchase / 12 / HOURS_PER_MONTH,
        "electricity and cooling": kilowatt * gpu.load_share * gpu.pue * gpu.usd_per_kwh,
        "colocation": kilowatt * gpu.colocation_usd_per_kw_month / HOURS_PER_MONTH,
    }


def owned_usd_per_gpu_hour(gpu: OwnedGpu) -> Number:
    """Cost of an hour of an owned GPU, averaged over its life, in use or not. Unit: usd.

    >>> card = OwnedGpu(30_000, 0.4, 0.0, 48, 0.1, 0.08, 0.05, 1260, 0.7, 1.4, 0.09, 184)
    >>> round(owned_usd_per_gpu_hour(card), 2)
    1.96
    """
    return sum(owned_gpu_hour_parts(gpu).values())
