"""What must a reader know of the figures used? Ends of prices, retirements, age, and the ledger."""

import pandas as pd

from llmstudy import prices
from llmstudy.evidence.probes import probe_findings
from llmstudy.figure import Figure
from llmstudy.study import ApiRoute, SelfHostedRoute, Study
from llmstudy.units import month_start


def findings_of(study: Study) -> list[prices.Finding]:
    """What a reader must know of the prices used: ends of introductory rates, retirements, age; and
    the age of probe runs.

    Raises: ValueError as `probes.probes_of`.
    """
    until = month_start(study.as_of, study.months)
    findings: list[prices.Finding] = []
    for route in study.routes.values():
        if isinstance(route, ApiRoute) and route.price is None:
            findings += prices.price_findings(route.provider, route.model, study.as_of, until)
    table, listed = prices.gpu_prices(), _listed_rents(study)
    offers = zip(table["gpu"], table["provider"], table["commitment"], strict=True)
    is_paid = [offer in listed for offer in offers]
    # the spread is of the whole market; age and doubt concern only prices that are paid
    rented = {
        r.gpu for r in study.routes.values() if isinstance(r, SelfHostedRoute) and r.rented_from
    }
    market = prices.gpu_price_findings(table[table["gpu"].isin(rented)], study.as_of)
    hosts = prices.gpu_price_findings(table[is_paid], study.as_of)
    findings += [f for f in market if f.severity == "info"]
    findings += [f for f in hosts if f.severity != "info"]
    findings += probe_findings(study)
    return list(dict.fromkeys(findings))


def _listed_rents(study: Study) -> set[tuple[str, str, str]]:
    """GPU, host and commitment of each hour that a route pays by the list, not by its own quote.

    What a reservation costs is a share of the same hour on demand.
    """
    rents = set()
    for route in study.routes.values():
        if not isinstance(route, SelfHostedRoute) or route.rented_from is None:
            continue
        assert route.commitment is not None
        spot = route.commitment.spot.value
        if route.on_demand_quote is None and spot < 1:
            rents.add((route.gpu, route.rented_from, "on_demand"))
        if spot:
            rents.add((route.gpu, route.rented_from, "spot"))
    return rents


def ledger(figures: dict[str, Figure]) -> pd.DataFrame:
    """The table of figures: name, value, low, high, unit, grade, source, as_of, expires."""
    rows = [{**figure.row(), "name": name} for name, figure in figures.items()]
    columns = ["name", "value", "low", "high", "unit", "grade", "source", "as_of", "expires"]
    return pd.DataFrame(rows, columns=columns)


def rate_figures(study: Study) -> dict[str, Figure]:
    """The list prices of every API route, as figures that expire with the next dated change."""
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
