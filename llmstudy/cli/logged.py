"""What a request log answers of `llmstudy init`: workloads, today's models and measured figures.

The figures are those that a run of the study puts in place of its assumptions: a draft of the study
is loaded, and its log read as every chapter reads it.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from llmstudy import prices, text
from llmstudy.cli import new_study
from llmstudy.cli.new_study import Answers, LoggedWorkload, StudyLog
from llmstudy.cli.requests import reasons
from llmstudy.evidence.traffic import measured, traffic_of
from llmstudy.figure import Figure
from llmstudy.prices.served import served_model
from llmstudy.requests import formats, propose
from llmstudy.requests.files import files_of
from llmstudy.requests.importers import Log
from llmstudy.requests.log_table import log_table
from llmstudy.requests.schema import UNKNOWN, of_workload, weights
from llmstudy.study import Study

FIGURES = ("requests", "input_tokens", "output_tokens", "peak_to_mean")
SHARES = ("cached_input_share", "retry_share")


@dataclass(frozen=True)
class Reading:
    """A log as the study will name it, with what it measures and what it leaves open.

    rows: read from it. set_aside: rows by reason. warnings: sentences, those of the study's run.
    """

    log: StudyLog
    rows: int
    requests: float
    set_aside: dict[str, int]
    unknown: tuple[str, ...]
    proposal: pd.DataFrame
    warnings: tuple[str, ...]

    @property
    def answered(self) -> set[str]:
        """The questions that need not be asked: the log answers them for each workload."""
        workloads = self.log.workloads
        fields = {name for name in FIGURES if all(name in each.figures for each in workloads)}
        model = {"provider", "model"} if all(each.model for each in workloads) else set()
        return fields | model | {"monthly_tokens", "invoice_usd"}


def reading_of(
    sources: Sequence[str], declared: Mapping[str, Any], folder: Path, answers: Answers
) -> Reading:
    """Reads the log of a study in `folder`.

    declared: what the log means, as under `requests` in a study. answers: those given by hand,
    which win over the log.
    Raises: ValueError if the log cannot be read or used, or if no one path names its files.
    """
    place = one_path(sources)
    source = str(place)
    log: Log = log_table(source, **declared)
    if log.accepted.empty:
        raise ValueError(f"{source}: none of its {log.rows_read:,} rows is a request.")
    proposal = propose.proposed(source, log, declared)
    log = proposal.log
    table = proposal.workloads
    if len(table) == 1:
        name = str(table["workload"][0])
        table = table.assign(workload="product" if name == UNKNOWN else name)
        log = replace(log, accepted=log.accepted.assign(workload=table["workload"][0]))
    workloads: list[LoggedWorkload] = []
    notes: list[str] = []
    for row in table.to_dict("records"):
        workload, note = _workload(row, log, answers)
        workloads.append(workload)
        notes += note
    meaning = {key: value for key, value in declared.items() if key != "format"}
    if proposal.fields:
        fields = proposal.fields[0] if len(proposal.fields) == 1 else list(proposal.fields)
        meaning["columns"] = {**meaning.get("columns", {}), "workload": fields}
    elif len(table) == 1 and "workload" not in meaning.get("columns", {}):
        meaning["workload"] = str(table["workload"][0])
    named = StudyLog(
        path=str(place),
        format=str(declared.get("format") or _format_key(log.format)),
        title=log.format,
        by=str(table["by"][0]),
        meaning=meaning,
        workloads=tuple(workloads),
    )
    study = new_study.draft(new_study.compose(answers, named).text)
    traffic = traffic_of(study)
    known = measured(study, traffic)
    relative = Path(os.path.relpath(place, folder.resolve())).as_posix()
    each = tuple(replace(w, figures=_figures(known, w.name)) for w in workloads)
    by_hand = {name for name in FIGURES if getattr(answers, name) is not None}
    used = tuple(
        replace(w, figures={k: f for k, f in w.figures.items() if k not in by_hand}) for w in each
    )
    return Reading(
        replace(named, path=relative, workloads=used),
        rows=log.rows_read,
        requests=float(table["requests"].sum() + weights(log.uncounted).sum()),
        set_aside=reasons(traffic.quarantined),
        unknown=log.unknown,
        proposal=table,
        warnings=(*notes, *_replaced(answers, each), *traffic.warnings),
    )


def one_path(sources: Sequence[str]) -> Path:
    """The one path that names the files of a log in a study: a file, a folder or a glob.

    Raises: ValueError if no path names these files and no other.
    """
    files = {path.resolve() for path in files_of(list(sources))}
    if len(sources) == 1:
        return Path(os.path.abspath(sources[0]))
    if len(files) == 1 and not any(Path(each).is_dir() for each in sources):
        return files.pop()
    root = Path(os.path.commonpath([path.parent for path in files]))
    ends = ("".join(path.suffixes) for path in files), (path.suffix for path in files)
    common = [end.pop() for end in map(set, ends) if len(end) == 1]
    patterns = [f"{deep}*{end}" for deep in ("", "**/") for end in (*common, "")]
    for pattern in dict.fromkeys(patterns):
        try:
            if {path.resolve() for path in files_of(root / pattern)} == files:
                return root / pattern
        except ValueError:
            continue  # it names no file
    raise ValueError(
        f"a study has one path for its log, and no glob names just these {len(files)} files in "
        f"{root}: put them into a folder of their own, or give a glob in quotes, such as "
        "--log 'logs/2026-*'."
    )


def _format_key(title: str) -> str:
    keys = (key for key, each in formats.bundled().items() if each.title == title)
    key = next(keys, formats.GENERIC)
    # usual names are found in whatever container; naming it `generic` would fix where they lie
    return "auto" if key == formats.GENERIC else key


def _workload(
    row: Mapping[Any, Any], log: Log, answers: Answers
) -> tuple[LoggedWorkload, tuple[str, ...]]:
    requests = of_workload(log.accepted, row["workload"])
    weight = weights(requests)
    longest = (requests["input_tokens"] + requests["output_tokens"]) / weight
    name = str(row["workload"])
    served, note = (None, ()) if answers.model else _served(name, requests, weight, answers.as_of)
    shape = (
        f"{row['requests']:,.0f} requests ({text.share(row['share'])}), on average "
        f"{row['input_tokens_mean']:,.0f} tokens in and {row['output_tokens_mean']:,.0f} out, "
        f"at most {longest.max():,.0f} together"
    )
    workload = LoggedWorkload(
        name=name,
        provider=served and served[0],
        model=served and served[1],
        share=float(row["share"]),
        longest_tokens=float(longest.max()),
        shape=shape,
        task=None if row["task"] == UNKNOWN else str(row["task"]),
    )
    return workload, note


def _served(
    name: str, requests: pd.DataFrame, weight: "pd.Series[Any]", as_of: date
) -> tuple[tuple[str, str] | None, tuple[str, ...]]:
    """The listed model that served most of a workload's requests, and a note if others served more.

    A model is its provider and name, as the price list has them.
    """
    answered = requests["ok"].astype(bool)
    served = ["provider", "model_served"]
    rows = requests.loc[answered, served] if answered.any() else requests[served]
    counts = weight.groupby([rows[name] for name in served]).sum().sort_values()
    unlisted = []
    for provider, model in [key for key in counts.index[::-1] if key[1] != UNKNOWN]:
        try:
            listed = served_model(provider, model, as_of)
        except prices.PriceError:
            listed = None
        if listed is None:
            unlisted.append(f"{provider}/{model}")
            continue
        spelt = model if model.lower() == listed.model else listed.model
        route = f"{listed.provider}/{spelt}"
        note = (
            f"Requests of {name} were mostly answered by {text.listed(unlisted)}, which no price "
            f"list has: today's route is the next model, {route}. Give --provider and --model for "
            "another."
        )
        return (listed.provider, spelt), (note,) if unlisted else ()
    note = f"The log does not name the model that answered the requests of {name}"
    if unlisted:
        note = f"No price list has what answered the requests of {name}, {text.listed(unlisted)}"
    return None, (f"{note}: give --provider and --model, or correct `routes`.",)


def _replaced(answers: Answers, workloads: Sequence[LoggedWorkload]) -> tuple[str, ...]:
    """A sentence for each answer given by hand that a run takes from the log all the same."""
    return tuple(
        f"{name} is written as you gave it, but a run takes what the log measures; to have yours, "
        f"add --set workloads.{workloads[0].name}.intake.{name}=... to `llmstudy run`."
        for name in FIGURES
        if getattr(answers, name) is not None and any(name in each.figures for each in workloads)
    )


def _figures(known: Study, name: str) -> dict[str, Figure]:
    workload = known.workloads[name]
    holders = {**dict.fromkeys(FIGURES, workload.intake), **dict.fromkeys(SHARES, workload)}
    figures = {key: (type(holder), getattr(holder, key)) for key, holder in holders.items()}
    return {
        key: figure
        for key, (model, figure) in figures.items()
        if figure.grade == "measured" and figure.source.startswith("log: ")
        if _fits(figure, model.model_fields[key])
    }


def _fits(figure: Figure, field: FieldInfo) -> bool:
    """Whether a study file may hold this figure: a peak of a thousand times the mean it may not."""
    entry = {key: getattr(figure, key) for key in ("value", "unit", "source", "as_of", "grade")}
    if figure.low is not None:
        entry["range"] = [figure.low, figure.high]
    reader: TypeAdapter[Any] = TypeAdapter(Annotated[Any, *field.metadata])
    try:
        reader.validate_python(entry)
    except ValidationError:
        return False
    return True
