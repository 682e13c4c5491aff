"""What does a run say, in a form that other programs can hold on to? `results.json`.

The schema is versioned: a field may be added under the same version, but never change its meaning.
`null` means never (within the stated horizon and volume cap), or not known; there is no NaN and no
Infinity. `llmstudy.results.schema()` is the JSON Schema.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmstudy.study import Study

VERSION = "1.0"

Arm = Literal["proprietary_api", "hosted_open", "self_hosted"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Spread(_Record):
    """An 80 % range and its middle."""

    p10: float | None
    p50: float | None
    p90: float | None


class ReasonRecord(_Record):
    """One fact that a verdict rests on."""

    code: str = Field(description="privacy, context, latency, cost or quality")
    route: str
    sentence: str


class CollectRecord(_Record):
    """Evidence that could change a verdict."""

    what: str = Field(description="intake, golden items, probe, cost or contract")
    n: int | None = Field(description="how many, where that can be counted")
    usd: float | None
    sentence: str


class WorkloadVerdict(_Record):
    """Where one workload runs until further evidence, and why."""

    arm: Arm = Field(description="where it runs; with no permitted route, where it could")
    decision: Literal["stay", "move", "undecided"]
    route: str | None
    contract: str = Field(description="the contract in force that its data class needs")
    target: str | None = Field(description="the route to move to, or that evidence may favour")
    collect: list[CollectRecord]
    reasons: list[ReasonRecord]


class VerdictRecord(_Record):
    """The verdict: overall, and of each workload."""

    overall: Literal["api_first", "hybrid", "off_api"]
    workloads: dict[str, WorkloadVerdict]


class CrossoverRecord(_Record):
    """The constant volume from which one arm stays cheaper than another over the horizon."""

    workload: str
    from_arm: Arm
    to_arm: Arm
    from_route: str
    to_route: str
    requests_per_month: Spread
    p_never: float = Field(description="share of draws with no such volume up to the cap")


class TriggerRecord(_Record):
    """One trigger of one workload, on today's evidence."""

    id: str
    name: str
    workload: str
    status: Literal["armed", "fired", "not_applicable", "unknown"]
    value: float | None
    threshold: float | None
    unit: str
    grade: str
    evidence: str
    owner: str
    sustained_weeks: float
    weeks_held: int | None = Field(
        default=None,
        description="whole weeks of the log, up to the last, that reached the threshold; null where "
        "the fact is no weekly one",
    )


class ServingFit(_Record):
    """How well the serving curve predicts points that it was not fitted to."""

    model: str
    gpu: str
    precision: str
    engine_version: str
    n_fit: int
    n_heldout: int
    median_abs_error_share: float


class Results(_Record):
    """One run of one study."""

    version: str = VERSION
    study: str
    as_of: str
    horizon_months: int
    volume_cap_requests_per_month: float
    seed: int
    verdict: VerdictRecord
    collect_first: list[str] = Field(description="intake questions answered unknown")
    month_usd: float = Field(description="this month's bill over all workloads, at the median")
    stay_usd: Spread = Field(description="bill over the horizon when nothing moves")
    saving_usd: Spread | None = Field(description="saving of the moves over the horizon")
    at_stake_usd: Spread | None = Field(description="saving that better evidence could release")
    crossover: list[CrossoverRecord]
    triggers: list[TriggerRecord]
    serving_fit: list[ServingFit]
    five_questions: str = Field(description="T6: api, undecided or consider self-hosting")


def assemble(study: Study, chapters: Mapping[str, Mapping[str, Any]]) -> Results:
    """The results of a run from those of its chapters (by name, as their JSON reads)."""
    decided = chapters["07_triggers_and_routing"]
    crossing, hosting = chapters["06_crossover"], chapters["05_self_hosting"]

    def spread(found: Mapping[str, float] | None) -> Spread | None:
        return None if found is None else Spread(**{k: found[k] for k in Spread.model_fields})

    stay = spread(crossing["month_usd"]["horizon"])
    assert stay is not None
    return Results(
        study=study.study,
        as_of=study.as_of.isoformat(),
        horizon_months=study.months,
        volume_cap_requests_per_month=study.volume_cap.value,
        seed=study.seed,
        verdict=VerdictRecord(overall=decided["overall"], workloads=decided["verdicts"]),
        collect_first=chapters["01_evidence"]["unknown"],
        month_usd=crossing["month_usd"]["today"],
        stay_usd=stay,
        saving_usd=spread(decided["saving"]),
        at_stake_usd=spread(decided["at_stake"]),
        crossover=crossing["crossover"],
        triggers=decided["triggers"],
        serving_fit=[
            ServingFit(**{k: row[k] for k in ServingFit.model_fields})
            for row in hosting["serving_fit"]
        ],
        five_questions=decided["five_questions"]["verdict"],
    )


def schema() -> dict[str, Any]:
    """The JSON Schema of `results.json`.

    >>> schema()["properties"]["version"]["default"]
    '1.0'
    """
    return Results.model_json_schema()
