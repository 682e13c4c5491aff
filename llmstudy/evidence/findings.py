"""Findings on the prices and probes of a study, and the ledger of its figures."""

import pandas as pd

from llmstudy import prices
from llmstudy.evidence.probes import probe_findings
from llmstudy.figure import Figure
from llmstudy.study import ApiRoute, SelfHostedRoute, Study
from llmstudy.units import month_start


def findings_of(study: Study) -> list[prices.Finding]:
    """Findings on the prices and probes used: price changes, retirements, old quotes, old probes.

    Raises: ValueError as `probes.probes_of`.
    """
    until = month_start(study.as_of, study.months)
    findings: list[prices.Finding] = []
    for route in study.routes.values():
        if isinstance(route, ApiRoute) and route.price is None:
            findings += prices.price_findings(route.provider, route.model, study.as_of, until)
    table, quotes_used = prices.gpu_prices(), _quotes_used(study)
    offers = zip(table["gpu"], table["provider"], table["commitment"], strict=True)
    is_paid = [offer in quotes_used for offer in offers]
    # the spread is that of the whole market; other findings only for prices that are paid
    rented = {
        r.gpu for r in study.routes.values() if isinstance(r, SelfHostedRoute) and r.rented_from
    }
    market = prices.gpu_price_findings(table[table["gpu"].isin(rented)], study.as_of)
    hosts = prices.gpu_price_findings(table[is_paid], study.as_of)
    findings += [f for f in market if f.severity == "info"]
    findings += [f for f in hosts if f.severity != "info"]
    findings += probe_findings(study)
    return list(dict.fromkeys(findings))


def _quotes_used(study: Study) -> set[tuple[str, str, str]]:
    """GPU, host and commitment of the listed quotes that routes are priced by.

    A reservation is priced as a share of the on-demand quote.
    """
    quotes = set()
    for route in study.routes.values():
        if not isinstance(route, SelfHostedRoute) or route.rented_from is None:
            continue
        assert route.commitment is not None
        spot = route.commitment.spot.value
        if route.on_demand_quote is None and spot < 1:
            quotes.add((route.gpu, route.rented_from, "on_demand"))
        if spot:
            quotes.add((route.gpu, route.rented_from, "spot"))
    return quotes


def ledger(figures: dict[str, Figure]) -> pd.DataFrame:
    """The figures as a table: name, value, low, high, unit, grade, source, as_of, expires."""
    rows = [{**figure.row(), "name": name} for name, figure in figures.items()]
    columns = ["name", "value", "low", "high", "unit", "grade", "source", "as_of", "expires"]
    return pd.DataFrame(rows, columns=columns)


def rate_figures(study: Study) -> dict[str, Figure]:
    """List prices of the API routes by path, as figures that expire with the next dated change."""
    figures: dict[str, Figure] = {}
    for name, route in study.routes.items():
        if not isinstance(route, ApiRoute) or route.price is not None:
            continue
        rate = prices.rate(route.provider, route.model, study.as_of, route.tier)
        source = f"genai-prices {rate.package_version}, data {rate.data_sha256[:12]}"
        for part in ("input", "cached_input", "output"):
            value = getattr(rate, f"{part}_usd_per_mtok")
            figures[f"routes.{name}.price.{part}"] = Figure(
                "",
                value,
                "USD/Mtok",
                grade="published",
                source=f"{source}, {rate.matched_id}",
                as_of=rate.on,
                expires=rate.expires,
            )
    return figures
