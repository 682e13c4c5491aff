"""From which volume, quality margin or month does another route pay off, and how probably?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from llmstudy.charts.drawing import (
    beside,
    blank,
    even_ticks,
    finish,
    log_ticks,
    name_rows,
    right_label,
    spread,
    top_label,
    wrap,
)
from llmstudy.charts.style import ACCENT, GREY, INK, LINES, PALE, Chart
from llmstudy.charts.tables import (
    by_workload,
    look_of,
    need,
    numbered,
    of_rows,
    once,
)
from llmstudy.tables import Rows, with_percentiles
from llmstudy.text import count, never_or, share, span, usd


@of_rows
def cost_against_volume(
    curves: pd.DataFrame, crossovers: Rows, today: str, volume_now: float, months: int, note: str
) -> Chart | None:
    """The monthly cost of each route by volume, and the volume from which it beats today's.

    curves, for one workload and the routes to draw: workload, arm, route, requests_per_month,
    p10_usd, p50_usd, p90_usd (a mean month over `months` at this constant volume). crossovers, of
    those routes: route, requests_per_month (spread; null: never), p_never (share). today: today's
    route. volume_now: requests a month, within the curves.
    None if a route is free: a logarithmic axis has no zero.
    Raises: ValueError if a table lacks columns, or the curves do not reach volume_now.
    """
    need("curves", curves, "workload arm route requests_per_month p10_usd p50_usd p90_usd")
    amounts = curves[["requests_per_month", "p10_usd", "p50_usd", "p90_usd"]]
    if (amounts <= 0).any(axis=None):
        return None
    workload = str(curves["workload"].iloc[0])
    low, high = curves["requests_per_month"].min(), curves["requests_per_month"].max()
    if not low <= volume_now <= high:
        raise ValueError(
            f"{workload}: curves run from {count(low)} to {count(high)} requests a month and miss "
            f"today's {count(volume_now)}: compute them over a wider range."
        )
    crossings = _crossings(crossovers)
    curves = curves.sort_values("requests_per_month", kind="stable")
    routes = {str(name): rows for name, rows in curves.groupby("route", sort=False)}
    costs = sorted(
        (float(_at(rows, "p50_usd", volume_now)), route) for route, rows in routes.items()
    )
    title = (
        f"{workload}: at today's {count(volume_now)} requests a month {_costs(costs, today)} "
        f"(forecast: mean month of the next {months}, upkeep included)"
    )
    words = {today: "today"} | {route: _from(row) for route, row in crossings.items()}
    names = {
        route: wrap(f"{route}, {words.get(route, look_of(rows['arm'].iloc[0]).name)}", 2.3)
        for route, rows in routes.items()
    }
    never = "; never: in % of simulated futures" if "never" in "".join(words.values()) else ""
    legend = f"thick: 80 % range{never} · "
    lines = sum(name.count("\n") + 1 for name in names.values())
    figure = blank(title, f"{legend if crossings else ''}{note}", 1.05 + 0.16 * max(lines, 4))
    ax = figure.subplots()
    ax.set(xscale="log", yscale="log", xlabel="requests a month", ylabel="USD a month")
    near = [volume_now, *(x for row in crossings.values() for x in (row.p10, row.p50, row.p90))]
    low, high = max(low, np.nanmin(near) / 4), min(high, np.nanmax(near) * 4)
    ax.set_xlim(low, high)
    labels, facts, arms = [], [], set[str]()
    for route, rows in routes.items():
        arm = str(rows["arm"].iloc[0])
        look, x = look_of(arm), np.geomspace(low, high, 60)
        style = ":" if arm in arms else look.linestyle
        arms.add(arm)
        p10, p50, p90 = (_at(rows, f"{p}_usd", x) for p in ("p10", "p50", "p90"))
        ax.fill_between(x, p10, p90, color=look.color, alpha=0.1, lw=0)
        ax.plot(x, p50, color=look.color, linestyle=style, lw=1.1)
        if route in crossings:
            _crossover(ax, rows, crossings[route])
            facts.append(f"{route} is {_range(crossings[route])}")
        labels.append(right_label(ax, p50[-1], names[route], look.color, leader=True))
    log_ticks(ax.yaxis)
    log_ticks(ax.xaxis)
    ax.axvline(volume_now, color=INK, lw=0.8, linestyle=":")
    top_label(ax, volume_now, f"today: {count(volume_now)}")
    spread(figure, ax, labels)
    readings = "; ".join(f"{route} {usd(cost)}" for cost, route in costs)
    return finish(figure, f"{title}. Median cost of that month: {readings}. {'. '.join(facts)}.")


def _crossings(crossovers: Rows) -> dict[str, Any]:
    """The crossovers by route, with their percentiles."""
    if not len(crossovers):
        return {}
    table = with_percentiles(crossovers, "requests_per_month")
    need("crossovers", table, "route p10 p50 p90 p_never")
    return {str(row.route): row for _, row in numbered(table)}


def _costs(costs: list[tuple[float, str]], today: str) -> str:
    """The cost of today's route, and the range of the others."""
    now = [f"{route} costs {usd(cost)}" for cost, route in costs if route == today]
    others = [cost for cost, route in costs if route != today]
    if others:
        now.append(f"the {'others' if now else 'routes'} {span(others[0], others[-1], usd)}")
    return ", ".join(now)


def _range(row: Any) -> str:
    """A crossover and its range, in words."""
    never = f"never cheaper than today's route in {share(row.p_never)} of simulated futures"
    if np.isnan(row.p50):
        return never
    reach = f"80 % range {span(row.p10, row.p90, count)}"
    text = f"cheaper than today's route from {count(row.p50)} requests a month ({reach})"
    return f"{text}, {never}" if row.p_never >= 0.005 else text


def _from(row: Any) -> str:
    """A crossover in a few words, without a line break in the last ones."""
    never = f"never in {share(row.p_never)}".replace(" ", "\xa0")
    if np.isnan(row.p50):
        return never
    return f"from {count(row.p50)}{f', {never}' if row.p_never >= 0.005 else ''}"


def _crossover(ax: Axes, curve: pd.DataFrame, row: Any) -> None:
    """Draws a crossover on its route's curve, as a thick line from P10 to P90."""
    look, ends = look_of(curve["arm"].iloc[0]), ax.get_xlim()
    left, right = np.clip(np.nan_to_num([row.p10, row.p90], nan=np.inf), *ends)
    if left < right:
        x = np.geomspace(left, right, 20)
        usd_month = _at(curve, "p50_usd", x)
        ax.plot(x, usd_month, color=look.color, lw=3.5, solid_capstyle="butt")
    if ends[0] <= row.p50 <= ends[1]:
        usd_month = _at(curve, "p50_usd", row.p50)
        ax.plot(row.p50, usd_month, look.marker, color=look.color, mec="white", ms=6, zorder=3)


def _at(curve: pd.DataFrame, column: str, requests: Any) -> Any:
    """A column of a curve at one volume or several, by log-log interpolation."""
    x, y = np.log(curve["requests_per_month"]), np.log(curve[column])
    return np.exp(np.interp(np.log(requests), x, y))


@of_rows
def p_never(crossover: pd.DataFrame) -> Chart:
    """The probability that a move never pays off, by workload and pair of arms.

    crossover: workload, from_arm, to_arm, p_never (share), requests_per_month (spread; null:
    never).
    """
    crossover = with_percentiles(crossover, "requests_per_month")
    need("crossover", crossover, "workload from_arm to_arm p_never p50")
    table = by_workload(crossover)
    note = "volumes, prices and serving as graded in the ledger"
    moves = [f"{look_of(r.from_arm).name} → {look_of(r.to_arm).name}" for _, r in numbered(table)]
    facts = [f"{share(r.p_never)}, median {never_or(r.p50, count)}" for _, r in numbered(table)]
    most = int(table["p_never"].argmax())
    title = (
        "No crossover in at least half of the simulated futures for "
        f"{(table['p_never'] >= 0.5).sum()} of {len(table)} moves; "
        f"most often for {table['workload'][most]}, {moves[most]}: {share(table['p_never'][most])}"
    )
    figure = blank(title, note, 1.1 + 0.29 * len(table))
    ax = figure.subplots()
    for y, row in numbered(table):
        look, x = look_of(row.to_arm), 100 * row.p_never
        ax.hlines(y, 0, 100, color=PALE, lw=0.6)
        ax.hlines(y, 0, x, color=look.color, linestyle=look.linestyle)
        ax.plot(x, y, look.marker, color=look.color, ms=5, clip_on=False)
        beside(ax, x, y, facts[y], left=x > 50)
        right_label(ax, y, moves[y], look.color)
    name_rows(ax, list(table["workload"]))
    ax.set_xlim(0, 100)
    ax.set_xlabel(
        "% of simulated futures in which the move never pays off (median: requests a month)"
    )
    readings = zip(table["workload"], moves, facts, strict=True)
    return finish(figure, f"{title}. {'; '.join(f'{w}, {m}: {f}' for w, m, f in readings)}.")


@of_rows
def crossover_claims(bands: pd.DataFrame, claims: Rows, subject: str, note: str) -> Chart | None:
    """Published claims of the volume from which a move pays off, above our own ranges.

    bands: from_route, to_route, tokens_per_month (spread; null: never), p_never.
    claims: who, claim, low, high (tokens a month, equal for a single figure; low null: it gives no
    volume; high null: no upper end), unit_note (how it was converted).
    """
    if not len(claims):
        return None
    bands, claims = with_percentiles(bands, "tokens_per_month"), pd.DataFrame(claims)
    need("bands", bands, "from_route to_route p10 p50 p90 p_never")
    need("claims", claims, "who claim low high unit_note")
    bands = bands.assign(workload="from " + bands["from_route"])
    claims = claims.astype({"low": float, "high": float})
    n_met = sum(_meets(claim, bands) for _, claim in numbered(claims))
    title = (
        f"{subject}: {n_met} of {len(claims)} claims of where it pays "
        f"{'meets' if n_met == 1 else 'meet'} our 80 % ranges; {_earliest(bands)}"
    )
    n = len(claims) + len(bands)
    figure = blank(title, note, 0.9 + 0.38 * n)
    ax = figure.subplots()
    volumes = np.concatenate([claims[["low", "high"]], bands[["p10", "p90"]]], axis=None)
    volumes = volumes[~np.isnan(volumes)]
    ends = (volumes.min() / 3, volumes.max() * 3) if volumes.size else (1e6, 1e12)
    ax.set(xscale="log", xlim=ends, xlabel="tokens a month (◇ claim, ● our median, — 80 % range)")
    log_ticks(ax.xaxis)
    facts = [_claim(ax, y, n, row, ends[1]) for y, row in numbered(claims)]
    facts += [_band(ax, len(claims) + y, row, ends[1]) for y, row in numbered(bands)]
    ax.axhline(len(claims) - 0.5, color=GREY, lw=0.6)
    routes = [f"→ {route}" for route in bands["to_route"]]
    name_rows(ax, [*claims["who"], *bands["workload"]], [*claims["claim"], *routes])
    who = [f"{row.who}, {row.claim} ({row.unit_note})" for _, row in numbered(claims)]
    who += [f"{row.from_route} → {row.to_route}" for _, row in numbered(bands)]
    readings = "; ".join(f"{w}: {fact}" for w, fact in zip(who, facts, strict=True))
    return finish(figure, f"{title}. {readings}.")


def _meets(claim: Any, bands: pd.DataFrame) -> bool:
    """Whether a claim overlaps one of the bands."""
    high = np.inf if np.isnan(claim.high) else claim.high
    return bool(((bands["p10"] <= high) & (claim.low <= bands["p90"].fillna(np.inf))).any())


def _earliest(bands: pd.DataFrame) -> str:
    """The lowest median crossover, for the second half of a title."""
    paying = bands.dropna(subset="p50").sort_values("p50", kind="stable")
    if paying.empty:
        return "ours are reached in less than half of the simulated futures"
    row = paying.iloc[0]
    return f"our earliest is {count(row.p50)} tokens a month, {row.workload} → {row.to_route}"


def _claim(ax: Axes, y: int, n: int, row: Any, far: float) -> str:
    """Draws a claim, shaded down to row n across the bands below it. Returns: it in words."""
    if np.isnan(row.low):
        fact = "no volume follows"
    else:
        high = far if np.isnan(row.high) else row.high
        ax.fill_betweenx([y, n], row.low, high, color=PALE, alpha=0.4, lw=0)
        ax.vlines([row.low, high], y, n, color=GREY, lw=0.5, linestyle=":")
        ax.plot([row.low, high], [y, y], color=GREY)
        ax.plot([row.low, row.high], [y, y], "D", color=GREY, mfc="white", ms=5)
        if np.isnan(row.high):
            ax.plot(far, y, ">", color=GREY, ms=5, clip_on=False)
            fact = f"{count(row.low)} or more"
        else:
            fact = span(row.low, row.high, count)
    right_label(ax, y, f"{fact}\n{wrap(row.unit_note, 1.6, lines=1)}", GREY)
    return fact


def _band(ax: Axes, y: int, row: Any, far: float) -> str:
    """Draws one of our crossovers. Returns: it in words."""
    never = f"never in {share(row.p_never)}"
    if np.isnan(row.p10):
        right_label(ax, y, f"{never} of futures")
        return f"{never} of simulated futures"
    high = far if np.isnan(row.p90) else row.p90
    ax.plot([row.p10, high], [y, y], color=INK)
    ax.plot(row.p10, y, "|", color=INK, ms=7)
    ax.plot(high, y, ">" if np.isnan(row.p90) else "|", color=INK, ms=6, clip_on=False)
    ax.plot(row.p50, y, "o", color=INK, ms=5)
    median, reach = never_or(row.p50, count), span(row.p10, row.p90, count)
    right_label(ax, y, f"{median} ({reach})\n{never} of futures")
    return f"{median} (80 % range {reach}), {never} of simulated futures"


@of_rows
def p_cheaper_heat(
    table: pd.DataFrame, subject: str, now: float, line_share: float, note: str
) -> Chart:
    """The probability that a move is cheaper, by volume and quality margin.

    table: one row per pair: requests_per_month (above zero), quality_margin (share), p_cheaper
    (share; null: unknown). now: today's requests a month. line_share: the study's threshold of the
    probability.
    Raises: ValueError if the table lacks columns or rows, has a pair twice or does not reach now.
    """
    need("table", table, "requests_per_month quality_margin p_cheaper")
    once("table", table, "requests_per_month quality_margin")
    grid = table.astype({"p_cheaper": float}).pivot_table(
        "p_cheaper", "quality_margin", "requests_per_month", dropna=False
    )
    p, volumes = grid.to_numpy(), grid.columns.to_numpy(dtype=float)
    if not 0 < volumes[0] <= now <= volumes[-1]:
        raise ValueError(
            f"{subject}: table runs from {count(volumes[0])} to {count(volumes[-1])} requests a "
            f"month: give volumes above zero that include today's {count(now)}."
        )
    at = float(np.interp(np.log(now), np.log(volumes), np.arange(len(volumes)) + 0.5))
    today = p[:, int(at)]
    title = (
        f"{subject}: near today's {count(now)} requests a month the move is cheaper in "
        f"{_extent(today)} of simulated futures; {_reached(grid, line_share)}"
    )
    figure = blank(title, note, 1.25 + 0.24 * len(p))
    ax = figure.subplots()
    ax.pcolormesh(
        p, cmap="Greys", vmin=0, vmax=2.2, edgecolor="white", lw=0.5
    )  # words stay legible
    for (y, x), value in np.ndenumerate(p):
        label = "?" if np.isnan(value) else share(value).removesuffix(" %")
        weight = "bold" if value >= line_share else "normal"
        ax.text(x + 0.5, y + 0.5, label, ha="center", va="center", weight=weight)
    _outline(ax, p >= line_share)
    step = 1 + len(volumes) // 10
    ax.set_xticks(np.arange(len(volumes))[::step] + 0.5, labels=map(count, volumes[::step]))
    ax.set_yticks(np.arange(len(p)) + 0.5, labels=[f"{100 * m:.3g}" for m in grid.index])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.plot(at, len(p), marker=3, color=INK, ms=4, mew=1.5)
    ax.plot(at, 0, marker=2, color=INK, ms=4, mew=1.5)
    top_label(ax, at, f"today: {count(now)}")
    ax.set_xlabel(
        f"requests a month (cells: % of simulated futures; framed, bold: {share(line_share)})"
    )
    ax.set_ylabel("quality margin,\npoints")
    cells = "; ".join(
        f"margin {100 * m:.3g} points: {_extent(row)}" for m, row in zip(grid.index, p, strict=True)
    )
    return finish(figure, f"{title}. Over all volumes, {cells}.")


def _extent(p: Any) -> str:
    """The range of some shares, in words."""
    return "an unknown share" if np.isnan(p).all() else span(np.nanmin(p), np.nanmax(p), share)


def _reached(grid: pd.DataFrame, line_share: float) -> str:
    """The lowest volume that reaches the threshold, and the smallest margin there."""
    passing = grid >= line_share
    if not passing.any(axis=None):
        return f"{share(line_share)} is reached nowhere"
    x = int(passing.any().argmax())
    volume = count(float(grid.columns[x]))
    margin = f"{100 * grid.index[int(passing.iloc[:, x].argmax())]:.3g}"
    return f"{share(line_share)} is reached from {volume} at a margin of {margin} points"


def _outline(ax: Axes, inside: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    """Draws the border around the cells that are inside."""
    y, x = np.nonzero(inside[:, 1:] != inside[:, :-1])
    ax.vlines(x + 1, y, y + 1, color=INK, lw=1.8)
    y, x = np.nonzero(inside[1:] != inside[:-1])
    ax.hlines(y + 1, x, x + 1, color=INK, lw=1.8)


@of_rows
def p_cheaper_by_month(table: pd.DataFrame, line_share: float, note: str) -> Chart:
    """The probability that each route is cheaper than today's, by month.

    table: workload, route, month (from now), p_cheaper (share). line_share: the study's threshold
    of the probability, from which a move is worth it.
    """
    need("table", table, "workload route month p_cheaper")
    once("table", table, "workload route month")
    table = table.sort_values("month", kind="stable")
    routes = list(table.groupby(["workload", "route"], sort=False))
    firsts = [_first_month(rows, line_share) for _, rows in routes]
    line = share(line_share)
    title = _soonest(table, [pair for pair, _ in routes], firsts, line)
    figure = blank(title, note, max(2.4, 0.9 + 0.3 * len(routes)))
    ax = figure.subplots()
    ax.axhline(100 * line_share, color=ACCENT, linestyle="--", lw=1.2)
    labels = [right_label(ax, 100 * line_share, f"line: {line}", ACCENT, leader=True)]
    facts = []
    for i, ((pair, rows), first) in enumerate(zip(routes, firsts, strict=True)):
        color, style, marker = LINES[i % len(LINES)]
        p, end = 100 * rows["p_cheaper"], share(rows["p_cheaper"].iloc[-1])
        ax.plot(rows["month"], p, color=color, linestyle=style, marker="." if len(p) == 1 else "")
        if first is not None:
            at = p[rows["month"] == first].iloc[0]
            ax.plot(first, at, marker, color=color, mfc="white", ms=6, clip_on=False, zorder=3)
        workload, route = (str(name) for name in pair)
        name = f"{wrap(workload, 1.6, lines=1)}\n{wrap(route, 1.3, lines=1)}, {end}"
        labels.append(right_label(ax, p.iloc[-1], name, leader=True))
        when = f"{line} not reached" if first is None else f"{line} from month {count(first)}"
        facts.append(f"{workload}, {route}: {when}, {end} at the end")
    start, stop = table["month"].iloc[0], table["month"].iloc[-1]
    ax.set(ylim=(-2, 102), xlim=(start, stop) if start < stop else (start - 1, start + 1))
    even_ticks(ax.xaxis)
    ax.set_xlabel(f"months from now (a mark: the first month at {line})")
    ax.set_ylabel("% of futures in\nwhich it is cheaper")
    spread(figure, ax, labels)
    return finish(figure, f"{title}. {'; '.join(facts)}.")


def _soonest(table: pd.DataFrame, pairs: Sequence[Any], firsts: Sequence[Any], line: str) -> str:
    """A title: how many routes reach the threshold, and which one first."""
    months = [np.inf if first is None else first for first in firsts]
    n = int(np.isfinite(months).sum())
    title = (
        f"{n} of {len(pairs)} routes {'is' if n == 1 else 'are'} cheaper with {line} probability "
        f"by month {count(table['month'].max())}"
    )
    if n == 0:
        return title
    soonest = int(np.argmin(months))
    workload, route = pairs[soonest]
    return f"{title}; first {workload} on {route}, from month {count(months[soonest])}"


def _first_month(rows: pd.DataFrame, line_share: float) -> float | None:
    """The first month at or above the threshold; rows in order of time."""
    reached = rows.loc[rows["p_cheaper"] >= line_share, "month"]
    return None if reached.empty else float(reached.iloc[0])
