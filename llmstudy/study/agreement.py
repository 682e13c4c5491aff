"""Does a study agree with the calendar, and with the tables that price and score what it names?

Checked when a file is loaded, not when a run's saved study is read: a later price list may have
dropped a model, and a mixture of two studies may hold a figure that is newer than its day, or no
workload.
"""

from collections.abc import Iterator

from llmstudy.study.schema import ApiRoute, Keys, Study


def disagreements(study: Study) -> Iterator[tuple[Keys, str]]:
    """Each fault as a sentence, with the keys of the file under which it stands."""
    if not study.workloads:
        yield ("workloads",), "workloads names none: a study needs at least one."
    yield from _untimely(study)
    yield from _unpriced(study)
    yield from _unscored(study)


def _untimely(study: Study) -> Iterator[tuple[Keys, str]]:
    """Days that lie on the wrong side of the study's own."""
    day = study.as_of
    if study.status == "draft" and study.decide_by < day:
        yield (
            ("decide_by",),
            f"decide_by is {study.decide_by}, but the study is as of {day}: name a later day.",
        )
    dated = [(keys, f.as_of) for keys, f in study.figures_by_keys().items() if not f.name]
    dated += [
        (("workloads", name, "quality", "evidence", route, "as_of"), evidence.as_of)
        for name, workload in study.workloads.items()
        for route, evidence in workload.quality.evidence.items()
    ]
    for keys, as_of in dated:
        if as_of is not None and as_of > day:
            yield (
                keys,
                f"{'.'.join(keys)} is as of {as_of}, but the study is as of {day}: correct one of "
                "the two.",
            )


def _unpriced(study: Study) -> Iterator[tuple[Keys, str]]:
    """Models of routes in use that no price list has, and that bring no price of their own."""
    from llmstudy.prices import PriceError, check_listed  # loads the price lists, which takes long

    for name in dict.fromkeys(n for w in study.workloads.values() for n in w.routes):
        route = study.routes[name]
        if not isinstance(route, ApiRoute) or route.price is not None:
            continue
        try:
            check_listed(route.provider, route.model, study.as_of, route.tier)
        except PriceError as error:
            yield (
                ("routes", name, "model"),
                f"routes.{name}: {str(error).rstrip('.')}. Correct it, or give its `price`.",
            )


def _unscored(study: Study) -> Iterator[tuple[Keys, str]]:
    """Pairs of models that no bundled table has, and that bring no counts of their own."""
    from llmstudy.measures.quality import paired_counts

    for name, workload in study.workloads.items():
        for route, evidence in workload.quality.evidence.items():
            if evidence.counts is not None:
                continue
            try:
                paired_counts(
                    evidence.benchmark,
                    evidence.subject,
                    evidence.model_proprietary,
                    evidence.model_open,
                )
            except ValueError as error:
                keys = ("workloads", name, "quality", "evidence", route)
                yield (
                    keys,
                    f"{'.'.join(keys)}: {str(error).rstrip('.')}. Correct it, or give your own "
                    "`counts`.",
                )
