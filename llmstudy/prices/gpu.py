"""What does a GPU hour cost, and which quotes are to be doubted?

Quotes come from `data/gpu_prices.csv`; their age is judged at the date that the caller gives.
"""

from datetime import date

import pandas as pd

from llmstudy import paths
from llmstudy.figure import Figure
from llmstudy.prices.api import Finding, PriceError

_OFFER = ["gpu", "provider", "region", "commitment"]

_REGIONAL_RATIO = 1.6
"""Suspect rows of the SkyPilot catalogue of GCP differ by 1.7 and 2.3 times between regions."""

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
    """Rents of GPUs, one quote per row: data/gpu_prices.csv.

    Returns gpu, provider, region, usd_per_gpu_hour, commitment (on_demand, spot, reserved_1y),
    as_of (timestamp; a month counts from its first day, an unknown date is missing), as_of_note,
    grade, source, licence. The provider `market` is a mean or index over providers.

    >>> gpu_prices().query("gpu == 'l4'")["usd_per_gpu_hour"].tolist()
    [0.805]
    """
    prices = pd.read_csv(paths.data("gpu_prices.csv"), keep_default_na=False)
    return prices.assign(as_of=pd.to_datetime(prices["as_of"], format="ISO8601"))


def gpu_price(gpu: str, provider: str, commitment: str, region: str | None = None) -> Figure:
    """The rent of one GPU, USD per hour, ranged by what all providers ask for it.

    The range is that of the same GPU and commitment over all providers. Of several quotes for
    one offer the newest counts and, at equal dates (one GPU or a node of eight), the cheapest;
    `source` names the quote.

    Raises: PriceError when no quote matches, or quotes from several regions do.

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
    wanted = f"{gpu} {provider} {commitment}" + (f" {region}" if region else "")
    if quotes.empty:
        raise PriceError(f"no GPU price for {wanted}; there is: {_listing(prices, of_gpu)}")
    regions = sorted(set(quotes["region"]))
    if len(regions) > 1:
        raise PriceError(f"{wanted} is priced in several regions, name one: {', '.join(regions)}")
    quote = quotes.sort_values("usd_per_gpu_hour", kind="stable").iloc[0]
    return Figure(
        name=f"gpu_price {wanted}",
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
    """What looks wrong, old or unsettled in a table of GPU prices, judged on `on`.

    A spot price above its on-demand price and a provider whose regions differ by more than 1.6
    times are warnings; quotes older than `max_age_days` are stale and undated ones a warning; the
    spread of on-demand prices over providers is information. Quotes that a newer one of the same
    offer replaces are not judged.

    Parameters: prices with the columns of `gpu_prices`.

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
    """The quotes that no newer quote of the same offer replaces."""
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
