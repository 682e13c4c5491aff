"""The levers: the study that a setting of them makes, and how it is saved as a study file.

A lever changes figures of the study and nothing else, so that a slider and a run of the changed
study file give the same answer.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from llmstudy import paths, prices
from llmstudy.figure import Figure
from llmstudy.study import SelfHostedRoute, Study, StudyError, Workload, load


@dataclass(frozen=True)
class Changes:
    """The levers, each at the base case by default.

    volume: factor on the requests of every workload. growth: added to the growth of every workload,
    share per month. slo: factor on the TTFT and TPOT targets of every workload. gpu_price: factor
    on the on-demand rent of GPUs, or on their purchase price. reserved: share of rented hours that
    is reserved for a term; the rest that is not on spot is on demand. api_route: the only candidate
    of its arm for every workload that names it. margin: added to the quality margin of every
    workload, share. team: factor on the engineers that fleets take.
    """

    volume: float = 1.0
    growth: float = 0.0
    slo: float = 1.0
    gpu_price: float = 1.0
    reserved: float | None = None
    api_route: str | None = None
    margin: float = 0.0
    team: float = 1.0


BASE = Changes()


def with_quotes(study: Study) -> Study:
    """The study with the list price of each rented GPU as a quote, which a factor can apply to.

    Raises: PriceError if the list has no price.
    """
    routes = {name: _quoted(route, study) for name, route in study.routes.items()}
    return study.model_copy(update={"routes": routes})


def _quoted(route: Any, study: Study) -> Any:
    if not isinstance(route, SelfHostedRoute) or route.rented_from is None:
        return route
    if route.on_demand_quote is not None:
        return route
    listed = prices.gpu_price(route.gpu, route.rented_from, "on_demand")
    quote = Figure(
        "",
        listed.value,
        listed.unit,
        grade=listed.grade,
        source=listed.source,
        as_of=listed.as_of or study.as_of,
    )
    return route.model_copy(update={"on_demand_quote": quote})


def changed(study: Study, changes: Changes) -> Study:
    """The study at a setting of the levers.

    study: as from `with_quotes`. A figure that a lever changes becomes an assumption; it keeps its
    name, and so its draws.

    >>> from llmstudy import paths
    >>> from llmstudy.study import load
    >>> study = with_quotes(load(paths.params("default.yaml")))
    >>> twice = changed(study, Changes(volume=2.0)).workloads["classification"].intake.requests
    >>> twice.value, twice.low, twice.high, twice.grade
    (18000000.0, 14000000.0, 24000000.0, 'assumed')
    """
    hosting = study.self_hosting
    team = _times(changes.team, study)
    return study.model_copy(
        update={
            "workloads": {n: _workload(w, study, changes) for n, w in study.workloads.items()},
            "routes": {n: _route(r, study, changes) for n, r in study.routes.items()},
            "self_hosting": hosting.model_copy(update={"fte": team(hosting.fte)}),
        }
    )


def _workload(workload: Workload, study: Study, changes: Changes) -> Workload:
    volume, slo = _times(changes.volume, study), _times(changes.slo, study)
    growth, margin = _plus(changes.growth, study), _plus(changes.margin, study)
    intake, target, quality = workload.intake, workload.slo, workload.quality
    ttft, tpot = slo(target.ttft_p95), slo(target.tpot_p95)
    candidates = _candidates(workload, study, changes.api_route)
    evidence = {route: e for route, e in quality.evidence.items() if route in candidates}
    return workload.model_copy(
        update={
            "candidates": candidates,
            "intake": intake.model_copy(update={"requests": volume(intake.requests)}),
            "growth": growth(workload.growth),
            "slo": target.model_copy(update={"ttft_p95": ttft, "tpot_p95": tpot}),
            "quality": quality.model_copy(
                update={"margin": margin(quality.margin), "evidence": evidence}
            ),
        }
    )


def _candidates(workload: Workload, study: Study, only: str | None) -> tuple[str, ...]:
    if only not in workload.candidates:
        return workload.candidates
    arm = study.routes[only].arm
    return tuple(r for r in workload.candidates if r == only or study.routes[r].arm != arm)


def _route(route: Any, study: Study, changes: Changes) -> Any:
    if not isinstance(route, SelfHostedRoute):
        return route
    price = _times(changes.gpu_price, study)
    if route.owned is not None:
        owned = route.owned.model_copy(update={"price": price(route.owned.price)})
        return route.model_copy(update={"owned": owned})
    assert route.on_demand_quote is not None
    assert route.commitment is not None
    update: dict[str, Any] = {"on_demand_quote": price(route.on_demand_quote)}
    mix = route.commitment
    if changes.reserved is not None:
        reserved = min(changes.reserved, 1 - mix.spot.value)
        parts = {"reserved": reserved, "on_demand": 1 - mix.spot.value - reserved}
        update["commitment"] = mix.model_copy(
            update={key: _set(getattr(mix, key), share, study) for key, share in parts.items()}
        )
    return route.model_copy(update=update)


# --- one figure ---------------------------------------------------------------------------------


def _times(factor: float, study: Study) -> Callable[[Figure], Figure]:
    return lambda figure: _changed(figure, lambda x: x * factor, f"times {factor:g}", study)


def _plus(step: float, study: Study) -> Callable[[Figure], Figure]:
    return lambda figure: _changed(figure, lambda x: x + step, f"{100 * step:+g} points", study)


def _set(figure: Figure, value: float, study: Study) -> Figure:
    return _changed(
        replace(figure, low=None, high=None, distribution="fixed"),
        lambda _: value,
        "set",
        study,
    )


def _changed(figure: Figure, change: Callable[[float], float], words: str, study: Study) -> Figure:
    """A figure with the same change to value and range; the figure itself if nothing changes.

    words: the change, for the source of the figure.
    """
    ends = (figure.value, figure.low, figure.high)
    value, low, high = (None if x is None else change(x) for x in ends)
    if value == figure.value or value is None:
        return figure
    return replace(
        figure,
        value=value,
        low=low,
        high=high,
        grade="assumed",
        source=f"{figure.source}; what if: {words}",
        as_of=figure.as_of or study.as_of,
    )


# --- as a study file ----------------------------------------------------------------------------


def save(study_file: str | Path, changes: Changes, file: str | Path) -> Path:
    """Writes the study at a setting of the levers to a file, unless it would be invalid.

    study_file: the study that the levers were moved on; its comments and order are preserved. file:
    where to write, replacing what is there. Returns: file.
    Raises: ValueError if a value leaves its range, or the volume is changed but comes from a log.
    """
    source, file = paths.resolve(study_file), Path(file)
    study = load(source)
    if study.requests is not None and changes.volume != BASE.volume:
        raise ValueError(
            f"{source.name} takes its volume from the log {study.requests.path.name}, so a study "
            "file cannot state another volume. Reset the volume to save the other levers."
        )
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 100
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(source.read_text(encoding="utf-8"))
    _write(document, with_quotes(study), changes)
    _relocate(document, study, file.parent)
    document["study"], document["status"] = "my-case", "draft"
    draft = file.with_suffix(".unchecked")
    try:
        with draft.open("w", encoding="utf-8") as out:
            yaml.dump(document, out)
        load(draft)
        os.replace(draft, file)
    except StudyError as error:
        raise ValueError(f"not saved: {str(error).replace(str(draft), str(file))}") from None
    finally:
        draft.unlink(missing_ok=True)
    return file


def _write(document: Any, base: Study, changes: Changes) -> None:
    study = changed(base, changes)
    before = base.figures_by_keys()
    for keys, figure in study.figures_by_keys().items():
        if figure != before.get(keys):
            node = document
            for key in keys[:-1]:
                node = node[key]
            node[keys[-1]] = _written(figure)
    for name, workload in study.workloads.items():
        if workload.candidates != base.workloads[name].candidates:
            node = document["workloads"][name]
            node["candidates"] = list(workload.candidates)
            quality = node["quality"]
            quality["evidence"] = {
                route: answers
                for route, answers in quality.get("evidence", {}).items()
                if route in workload.candidates
            }


def _written(figure: Figure) -> dict[str, Any]:
    """A figure as a study file writes it, to ten digits."""
    fields: dict[str, Any] = {"value": _digits(figure.value), "unit": figure.unit}
    if figure.low is not None and figure.high is not None:
        fields["range"] = [_digits(figure.low), _digits(figure.high)]
        fields["distribution"] = figure.distribution
    fields |= {"source": figure.source, "as_of": figure.as_of, "grade": figure.grade}
    return fields if figure.expires is None else {**fields, "expires": figure.expires}


def _digits(x: float) -> float:
    return float(f"{x:.10g}")


def _relocate(document: Any, study: Study, folder: Path) -> None:
    """Rewrites the paths in a study file relative to its new folder."""

    def relative(path: Path) -> str:
        return os.path.relpath(path.resolve(), folder.resolve())

    if study.requests is not None:
        document["requests"]["path"] = relative(study.requests.path)
    routes: Mapping[str, Any] = study.routes
    for name, route in routes.items():
        if route.probe:
            document["routes"][name]["probe"] = [relative(run) for run in route.probe]
