"""The whole study: its blocks, the rules between them, and a copy of it on other assumptions.

A rule between blocks gives the keys of the file at which it is broken. `disagreements` checks a
study against the calendar, the price lists and the tables of paired counts: when a file is loaded
or an assumption is set, but not when a run's saved study is read, since a later price list may have
dropped a model, and a mixture of two studies may have a figure that is newer than its day.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from llmstudy.figure import Figure
from llmstudy.study.faults import BETWEEN_BLOCKS, StudyError, sentence
from llmstudy.study.fields import NAME_LENGTH, Day, Name, NearDay, Text, WorkloadName
from llmstudy.study.figures import quantity, with_figures
from llmstudy.study.log import Log
from llmstudy.study.schema import (
    Answer,
    ApiRoute,
    ApiUse,
    ArmName,
    Gateway,
    Invoice,
    Keys,
    Moving,
    PriceDrift,
    PricePaths,
    Route,
    SelfHosting,
    Strict,
    Team,
    Thresholds,
    Workload,
    bundled,
    slug,
)
from llmstudy.text import excerpt


class Override(Strict):
    """A value that was set for a run, and the one that it replaces, both as text."""

    value: str
    instead_of: str


SET = "set for this run"
"""Source of a figure that was set for a run without naming one."""


class Study(Strict):
    """A question, its assumptions and its evidence."""

    study: Annotated[str, Field(max_length=NAME_LENGTH), AfterValidator(slug)]
    question: Text
    company: Text
    owner: Text
    decider: Text
    version: int = Field(
        default=1, strict=True, ge=1, le=9999, description="of the memo, counted up by its owner"
    )
    status: Literal["draft", "decided", "superseded"]
    as_of: NearDay
    decide_by: NearDay
    decided_on: Day | None = Field(default=None, description="the day the decider signed")
    superseded_by: Text | None = Field(default=None, description="the memo that replaced this one")
    seed: int = Field(strict=True, ge=0, lt=2**53)
    horizon: Annotated[Figure, quantity("months", 1, 60)]
    discount_rate: Annotated[Figure, quantity("share/year", 0, 1)] = bundled(
        "horizon.discount_rate"
    )
    volume_cap: Annotated[Figure, quantity("requests/month", 1e3, 1e13)]
    prompting_and_retrieval_insufficient: Answer
    requests: Log | None = None
    invoices: tuple[Invoice, ...] = ()
    team: Team
    price_drift: PriceDrift
    price_paths: PricePaths = PricePaths()
    self_hosting: SelfHosting
    api_use: ApiUse = ApiUse()
    gateway: Gateway = Gateway()
    moving: dict[ArmName, Moving]
    usd_per_golden_item: Annotated[Figure, quantity("USD/item")]
    thresholds: Thresholds
    routes: dict[Name, Route]
    workloads: dict[WorkloadName, Workload]
    overrides: dict[str, Override] = Field(
        default={}, description="by path: values set for this run in place of the study file's"
    )

    @property
    def months(self) -> int:
        """The horizon in whole months."""
        return round(self.horizon.value)

    @model_validator(mode="after")
    def _blocks_agree(self) -> "Study":
        if faults := [*_misnamed(self), *_expired(self), *_unsigned(self), *_misbilled(self)]:
            raise _located(faults)
        return self

    def with_(self, overrides: Mapping[str, Any]) -> "Study":
        """A copy on other assumptions, checked as a study file is.

        overrides: path in the study file -> the value as the file would have it: `"6 %/month"`, a
        mapping with value, unit, range and source, an answer, a list of candidates. A quantity
        given by its value alone has no range. It takes precedence over what a log measured.
        Raises: StudyError with a sentence per fault.

        >>> from llmstudy import paths
        >>> from llmstudy.study import load
        >>> study = load(paths.params("default.yaml"))
        >>> faster = study.with_({"workloads.extraction.growth": "6 %/month"})
        >>> faster.workloads["extraction"].growth.value, faster.overrides
        (0.06, {'workloads.extraction.growth': Override(value='6 %/month', \
instead_of='4 %/month')})
        """
        tree = with_figures(self.model_dump(exclude={"overrides"}))
        places, records = {}, dict(self.overrides)
        for path, value in overrides.items():
            node, key, keys = _locate(tree, path)
            before = None if isinstance(node, dict) and key not in node else node[key]
            first = records[path].instead_of if path in records else _as_text(before)
            records[path] = Override(value=_as_text(value), instead_of=first)
            places[keys] = node[key] = value
        tree["overrides"] = {path: record.model_dump() for path, record in records.items()}
        try:
            study = Study.model_validate(tree)
        except ValidationError as error:
            faults = [sentence(fault)[1] for fault in error.errors()]
        else:
            faults = [text for _, text in disagreements(study)]
        if faults:
            raise StudyError("\n".join(dict.fromkeys(faults)))
        for keys, figure in study.figures_by_keys().items():
            if figure.source == "study file" and any(
                keys[: len(place)] == place for place in places
            ):
                node, key, _ = _locate(tree, ".".join(keys))
                node[key] = replace(figure, source=SET)
        return Study.model_validate(tree)

    def is_set(self, path: str) -> bool:
        """Whether an assumption, or a block that contains it, was set for this run."""
        return any(path == each or path.startswith(f"{each}.") for each in self.overrides)

    def figures(self) -> dict[str, Figure]:
        """Every assumption by its path in the file."""
        return {".".join(keys): figure for keys, figure in self.figures_by_keys().items()}

    def figures_by_keys(self) -> dict[Keys, Figure]:
        """Every assumption by the keys of the file that lead to it."""
        return dict(_figures(self))

    def unknown(self) -> list[str]:
        """Paths of the intake questions answered `unknown`."""
        unknown = [p for p, figure in self.figures().items() if figure.name.startswith("unknown.")]
        for name, workload in self.workloads.items():
            intake = workload.intake
            for question in ("data_class", "gpu_platform"):
                if getattr(intake, question) == "unknown":
                    unknown.append(f"workloads.{name}.intake.{question}")
        if self.prompting_and_retrieval_insufficient == "unknown":
            unknown.append("prompting_and_retrieval_insufficient")
        return unknown


def _locate(tree: Any, path: str) -> tuple[Any, Any, Keys]:
    """The mapping or list that a path leads to, its last key in it, and all its keys.

    A name such as gemini-1.5 may contain a dot.
    Raises: StudyError if the study has no such path, with the names that it has.
    """
    node, rest = tree, path
    keys: list[str] = []
    while True:
        there = ".".join(keys) or "a study"
        if isinstance(node, Mapping):
            fitting = [name for name in node if f"{rest}.".startswith(f"{name}.")]
            key = max(fitting, key=len, default=rest)
            if not fitting and (not keys or keys in (["routes"], ["workloads"])):
                names = ", ".join(name for name in node if name != "overrides")
                raise StudyError(
                    f"{path}: {there} has no {excerpt(rest.partition('.')[0])}: use one of {names}."
                )
        elif isinstance(node, list):
            key = rest.partition(".")[0]
            if not (key.isdigit() and int(key) < len(node)):
                raise StudyError(f"{path}: {there} is a list of {len(node)}, counted from 0.")
        else:
            raise StudyError(f"{path}: {there} is {_as_text(node)}: set {there} as a whole.")
        rest = rest[len(key) + 1 :]
        keys.append(key)
        at = int(key) if isinstance(node, list) else key
        if not rest:
            return node, at, tuple(keys)
        node = node[at]


def _as_text(value: Any) -> str:
    """A value as text, with its unit."""
    if isinstance(value, Figure):
        if value.unit.startswith("share"):
            return f"{100 * value.value:g} %{value.unit.removeprefix('share')}"
        return f"{value.value:g} {value.unit}"
    if isinstance(value, Mapping) and {"value", "unit"} <= set(value):
        return f"{value['value']} {value['unit']}"
    return "nothing" if value is None else str(value)


def _figures(node: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Figure]]:
    if isinstance(node, Figure):
        yield keys, node
    elif isinstance(node, BaseModel):
        for field in type(node).model_fields:
            yield from _figures(getattr(node, field), (*keys, field))
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _figures(value, (*keys, key))


# --- rules between blocks -------------------------------------------------------------------


def _misnamed(study: Study) -> Iterator[tuple[Keys, str]]:
    """Names that are not defined in the block that they refer to, with their keys."""
    for arm in get_args(ArmName):
        if arm not in study.moving:
            yield ("moving",), f"moving.{arm} is missing: what would moving there cost?"
    for name, workload in study.workloads.items():
        for route in workload.routes:
            if route not in study.routes:
                yield (
                    ("workloads", name),
                    f'workloads.{name} names the route "{route}", which is not under routes: '
                    f"{', '.join(study.routes)}.",
                )
        for route in workload.quality.evidence:
            if route not in workload.candidates:
                yield (
                    ("workloads", name),
                    f'workloads.{name}.quality.evidence speaks for "{route}", which is not '
                    "one of the workload's candidates.",
                )
    for name in study.gateway.models:
        if name in study.workloads:
            yield (
                ("workloads", name),
                f"workloads.{name} has the name that gateway.{name} serves its model under: "
                "choose another.",
            )
    log = study.requests
    if log and log.workload and log.workload not in study.workloads:
        yield (
            ("requests", "workload"),
            f'requests.workload is "{log.workload}", which is not under workloads: '
            f"{', '.join(study.workloads)}.",
        )


def _misbilled(study: Study) -> Iterator[tuple[Keys, str]]:
    """Invoices of an unknown workload, of a month that is not over, or given twice."""
    billed: set[tuple[str, str | None]] = set()
    for i, invoice in enumerate(study.invoices):
        name, at = invoice.workload, f"invoices.{i}"
        if name is not None and name not in study.workloads:
            names = ", ".join(study.workloads)
            yield (
                ("invoices",),
                f'{at}.workload is "{name}", which is not under workloads: {names}.',
            )
        if invoice.ends > study.as_of:
            yield (
                ("invoices",),
                f"{at} is of {invoice.month}, which is not over on {study.as_of}: leave it out.",
            )
        if (invoice.month, name) in billed:
            yield ("invoices",), f"{at} bills {invoice.month} again: give the sum of its invoices."
        billed.add((invoice.month, name))


def _unsigned(study: Study) -> Iterator[tuple[Keys, str]]:
    """Fields that the status needs or rules out: the day of the decision, the memo's successor."""
    if study.status == "decided" and study.decided_on is None:
        yield ("status",), "status is decided, but decided_on is missing: add the day."
    if study.status == "draft" and study.decided_on is not None:
        yield ("status",), "status is draft, but decided_on has a day: write status: decided."
    if study.status == "superseded" and not study.superseded_by:
        yield (
            ("status",),
            "status is superseded, but superseded_by is missing: name the memo that replaced it.",
        )
    if study.superseded_by and study.status != "superseded":
        yield ("status",), "superseded_by names a memo, so status must be superseded."


def _expired(study: Study) -> Iterator[tuple[Keys, str]]:
    """Figures that have expired on the study's day."""
    for keys, figure in _figures(study):
        if figure.expires is not None and figure.expires <= study.as_of:
            yield (
                keys,
                f"{'.'.join(keys)} expired on {figure.expires}, and the study is judged at "
                f"{study.as_of}: renew the figure and its dates.",
            )


def _located(faults: list[tuple[Keys, str]]) -> ValidationError:
    """Faults between blocks as an error of pydantic's, each with its keys."""
    return ValidationError.from_exception_data(
        "Study",
        [
            InitErrorDetails(
                # a sentence may hold braces, which a message template would take for its own
                type=PydanticCustomError(BETWEEN_BLOCKS, "{sentence}", {"sentence": sentence}),
                loc=keys,
                input=None,
            )
            for keys, sentence in faults
        ],
    )


def disagreements(study: Study) -> Iterator[tuple[Keys, str]]:
    """Conflicts with the calendar, price lists and paired counts: keys of the file, a sentence."""
    if not study.workloads:
        yield ("workloads",), "workloads is empty: a study needs at least one."
    yield from _untimely(study)
    yield from _unpriced(study)
    yield from _unscored(study)


def _untimely(study: Study) -> Iterator[tuple[Keys, str]]:
    """Days before or after the study's own that must not be."""
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
    """Models in use that are in no price list, and that state no price."""
    # slow to import: it loads the price lists
    from llmstudy.prices import PriceError, check_listed, embedding_usd_per_mtok

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
    embeddings = study.gateway.embeddings
    if embeddings is not None and embeddings.usd_per_mtok is None:
        try:
            embedding_usd_per_mtok(embeddings.provider, embeddings.model, study.as_of)
        except PriceError as error:
            yield (
                ("gateway", "embeddings", "model"),
                f"gateway.embeddings: {str(error).rstrip('.')}. Correct it, or give its "
                "`usd_per_mtok`.",
            )


def _unscored(study: Study) -> Iterator[tuple[Keys, str]]:
    """Evidence on pairs that are in no bundled table, and that states no counts."""
    from llmstudy.measures.quality import paired_counts

    for name, workload in study.workloads.items():
        for route, evidence in workload.quality.evidence.items():
            if evidence.is_own:
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
