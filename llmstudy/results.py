"""What does a run say, in a form that other programs can hold on to? `results.json`.

The schema is versioned: a field may be added under the same version, but never change its meaning.
`null` means never (within the stated horizon and volume cap), or not known; there is no NaN and no
Infinity. `llmstudy.results.schema()` is the JSON Schema.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

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

    code: str = Field(description="privacy, context, latency, cost, quality or rate limit")
    route: str
    sentence: str


class CollectRecord(_Record):
    """Evidence that could change a verdict."""

    what: str = Field(description="intake, golden items, probe, cost, contract or rate limit")
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


class LogRecord(_Record):
    """What was read of the request log; all 0 without one."""

    rows_read: int
    rows_accepted: int
    rows_quarantined: int
    rows_lost: int = Field(description="quarantined rows whose request no other row holds")
    reasons: dict[str, int] = Field(description="quarantined rows by the reason against them")
    set_aside: list[str]
    warnings: list[str]


class CrossoverRecord(_Record):
    """The constant volume from which one arm stays cheaper than another over the horizon."""

    workload: str
    from_arm: Arm
    to_arm: Arm
    from_route: str
    to_route: str
    requests_per_month: Spread
    tokens_per_month: Spread
    p_never: float = Field(description="share of draws with no such volume up to the cap")


class TriggerRecord(_Record):
    """One trigger of one workload, on today's evidence."""

    id: str
    name: str
    workload: str
    status: Literal["armed", "pending", "fired", "not_applicable", "unknown"]
    value: float | None
    threshold: float | None
    unit: str
    grade: str
    evidence: str
    owner: str
    sustained_weeks: float
    weeks_held: int | None = Field(
        default=None,
        description="whole weeks of the log, up to the last, that reached the threshold; null "
        "where the fact is no weekly one",
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


class SavingRecord(_Record):
    """What one permitted move saves over the horizon."""

    workload: str
    route: str
    arm: Arm
    saving_usd: Spread
    p_cheaper: float
    p_cheaper_team_there: float = Field(description="were the team of the fleets there anyhow")
    pays_from_month: Spread = Field(
        description="month, from 1, by whose end the move has earned back its cost; null: never"
    )
    p_never_pays: float


class MeasurementRecord(_Record):
    """What a measurement is worth to the decision, against its cost."""

    workload: str
    measurement: str
    value_usd: float
    low_usd: float
    high_usd: float
    cost_usd: float
    verdict: Literal["measure", "not worth it", "undecided"]
    is_bound: bool = Field(description="the value is that of perfect information: it is no more")


class RegretRecord(_Record):
    """What a rule would cost against hindsight, in simulated futures."""

    buyer: Literal["named_model", "same_quality"] = Field(
        description="who stays: on today's named model, or moving on to cheaper equals"
    )
    rule: str
    regret_usd: float
    regret_low_usd: float
    regret_high_usd: float
    false_alarm_share: float
    missed_share: float
    delay_months: float | None
    switch_share: float


class PolicyRecord(_Record):
    """What a way of waiting costs on average, in simulated futures."""

    buyer: Literal["named_model", "same_quality"]
    policy: str
    mean_cost_usd: float
    low_usd: float
    high_usd: float
    saving_vs_now_usd: float


class FlipRecord(_Record):
    """The value of an input at which a move passes or fails the study's lines on cost."""

    workload: str
    route: str
    input: str
    value_now: float
    flips_at: float
    unit: str
    direction: Literal["above", "below"] = Field(description="on which side the move passes")
    inside_range: bool


class TradeoffRecord(_Record):
    """One dimension of T5 on one arm: the memo's words and this study's figure, if it has one."""

    dimension: str
    arm: Arm
    memo: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    agrees: Literal["agrees", "lower", "higher", "not comparable"]
    grade: str | None
    evidence: str


class IntakeRecord(_Record):
    """One answer to the six intake questions (T7)."""

    workload: str
    id: str
    field: str
    answer: str
    grade: str
    unknown: bool
    moves_usd: float | None = Field(description="saving between the ends of the answer's range")
    rank: int | None = Field(description="1 is to be asked first; null: the answer is known")


class RiskRecord(_Record):
    """One risk of the merged register (T8), with the state of what watches it."""

    id: str
    path: Literal["proprietary_api", "self_hosted", "both"]
    risk: str
    likelihood: str = Field(description="the source memo's; empty: it gives none")
    impact: str
    source_ids: str
    state: Literal["active", "warning", "quiet", "no live evidence"]
    live: str


class IndicatorRecord(_Record):
    """What a live indicator of risks reads, against the line at which it is active."""

    name: str
    value: float | None
    unit: str
    threshold: float
    state: Literal["active", "warning", "quiet", "no evidence"]
    grade: str
    evidence: str


class AlternativeRecord(_Record):
    """One alternative of T9, and whether the conditions for choosing it are met."""

    id: str
    alternative: str
    verdict: Literal["met", "not met", "open"]
    fails: str
    open: str


class GateRecord(_Record):
    """One gate of a phase, as it stands (V2)."""

    phase: int
    at: Literal["entry", "exit"]
    workload: str = Field(description="all: the gate is about the whole study")
    one_of: str | None = Field(description="of the gates that share it, one suffices")
    gate: str
    rests_on: str = Field(description="a quantity, or the id of a trigger")
    due: str
    state: Literal["passed", "open", "unknown", "failed"]
    evidence: str


class ItemRecord(_Record):
    """One work item of a phase; without a figure of its own its cost is null."""

    phase: int
    item: str
    scope: str
    owner: str
    start: str
    end: str
    cost_usd: float | None
    cost_low_usd: float | None
    cost_high_usd: float | None
    note: str | None


class KeyTradeoffRecord(_Record):
    """One of the synthesis's three trade-offs, with a figure on either side."""

    id: str
    tradeoff: str
    option: str
    gains: str
    gives_up: str
    gain_figure: str
    gain_value: float | None
    gain_low: float | None
    gain_high: float | None
    gain_unit: str
    gain_grade: str
    price_figure: str
    price_value: float | None
    price_low: float | None
    price_high: float | None
    price_unit: str
    price_grade: str


class FirstMoveRecord(_Record):
    """Where a workload stands among those to move (V3)."""

    rank: int
    workload: str
    v3: Literal["moves", "open", "stays"]
    because: str
    target: str | None
    saving_p50_usd: float
    p_cheaper: float
    risk_count: int = Field(description="how many of the risks named in `risks` hold")
    risks: str
    decision: Literal["stay", "move", "undecided"]


class CanaryRecord(_Record):
    """One step of a canary: how much of the traffic, for how long, and what ends it."""

    workload: str
    route: str
    step: int
    traffic_share: float
    requests: int
    days: int
    power: float
    alpha: float = Field(description="of each test; evidence of 1 / alpha ends the step")
    needs_most: str
    rollback: str


class LensRecord(_Record):
    """One advisor's rule: what it decides, when it would switch, and its regret."""

    lens: str
    advisor: str
    rule: str
    written: str
    decides: Literal["now", "later", "no", "unknown"]
    because: str
    agrees: Literal["yes", "no", "unknown"]
    switch_month_p50: int | None = Field(description="null: never in most futures, or no trial")
    p_never: float | None
    regret_usd: float | None
    regret_se_usd: float | None
    false_alarm_share: float | None


class SideRecord(_Record):
    """What acting on one side of a disagreement costs. null: not priced."""

    side: str
    usd: float | None
    low_usd: float | None
    high_usd: float | None
    against: str


class DisagreementRecord(_Record):
    """One of the advisors' disagreements (D1 to D4), judged by this study."""

    id: str
    question: str
    says: str
    holds: str | None = Field(description="null: open")
    resolution: str
    grade: str
    costs: list[SideRecord]


class AgreementRecord(_Record):
    """How far the advisors agree on a workload, or on all together."""

    workload: str
    pairs: int
    judged: int
    agree: int
    agree_share: float | None


class CriterionRecord(_Record):
    """One of the six criteria (C1 to C6) of a workload on an arm."""

    id: str
    criterion: str
    workload: str
    arm: Arm
    route: str | None = Field(description="the arm's best permitted route; null: none may serve")
    score: Annotated[int, Field(ge=0, le=4)] | None = Field(
        description="4 holds with room, 3 holds, 2 even, 1 short, 0 fails; null: no evidence"
    )
    grade: str | None = Field(description="the worst of what it rests on")
    verdict: str
    overridden: bool = Field(description="privacy bars the arm, so that this was not weighed")
    rests_on: list[str] = Field(description="names of figures and result tables")


class ContractRecord(_Record):
    """One item of a route's contracts (C5, S12)."""

    route: str
    item: str
    state: Literal["in force", "expired", "missing", "not required", "unknown"]
    valid_until: str | None
    days_left: int | None
    needed_by: list[str] = Field(description="the workloads whose data need it")


class PortabilityRecord(_Record):
    """How free a workload is to leave a route's vendor: 0 tied, 100 free (C4, S11)."""

    workload: str
    route: str
    vendor: str
    current: bool
    score_low: float
    score_high: float
    grade: str
    pinned: bool = Field(description="the model's name stands for one version")
    retires: str | None
    spend_share: float | None = Field(description="of this month's bills, what goes to the vendor")
    other_vendors: int = Field(description="that have a permitted route for the workload")
    verdict: str


class SwitchRecord(_Record):
    """Working days to leave a workload's route of today."""

    workload: str
    route: str
    low_days: float
    mid_days: float
    high_days: float
    within_a_week: Literal["yes", "no", "unknown"]


class TeamRecord(_Record):
    """The engineers at hand against those that a fleet needs (C6, T4)."""

    engineers: float
    need_low: float
    need_high: float
    verdict: Literal["ready", "short", "unknown"]
    short_low: float
    short_high: float
    grade: str


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
    log: LogRecord
    month_usd: float = Field(description="this month's bill over all workloads, at the median")
    stay_usd: Spread = Field(
        description="bill over the horizon when nothing moves, at the study's discount rate"
    )
    saving_usd: Spread | None = Field(
        description="saving of the moves over the horizon, each begun on the plan's date"
    )
    saving_if_now_usd: Spread | None = Field(description="the same, were they begun today")
    at_stake_usd: Spread | None = Field(
        description="saving that better evidence could release, on the plan's dates"
    )
    at_stake_if_now_usd: Spread | None = Field(description="the same, were the moves begun today")
    crossover: list[CrossoverRecord]
    savings: list[SavingRecord]
    measurements: list[MeasurementRecord]
    measure_next: str | None = Field(description="null: nothing is worth measuring")
    flips: list[FlipRecord]
    regret: list[RegretRecord]
    waiting: list[PolicyRecord]
    triggers: list[TriggerRecord]
    serving_fit: list[ServingFit]
    five_questions: str = Field(description="T6: api, undecided or consider self-hosting")
    tradeoffs: list[TradeoffRecord]
    intake: list[IntakeRecord]
    risks: list[RiskRecord]
    risk_indicators: list[IndicatorRecord]
    alternatives: list[AlternativeRecord]
    plan_gates: list[GateRecord]
    plan_items: list[ItemRecord]
    key_tradeoffs: list[KeyTradeoffRecord]
    first_moves: list[FirstMoveRecord]
    canary: list[CanaryRecord]
    panel: list[LensRecord]
    agreement: list[AgreementRecord]
    disagreements: list[DisagreementRecord]
    criteria: list[CriterionRecord]
    contracts: list[ContractRecord]
    portability: list[PortabilityRecord]
    switching: list[SwitchRecord]
    team: TeamRecord


def assemble(study: Study, chapters: Mapping[str, Mapping[str, Any]]) -> Results:
    """The results of a run from those of its chapters (by name, as their JSON reads)."""
    decided = chapters["07_triggers_and_routing"]
    crossing, hosting = chapters["06_crossover"], chapters["05_self_hosting"]
    evidence = chapters["01_evidence"]

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
        collect_first=evidence["unknown"],
        log=LogRecord(**{k: evidence[k] for k in ("set_aside", "warnings")}, **evidence["log"]),
        month_usd=crossing["month_usd"]["today"],
        stay_usd=stay,
        saving_usd=spread(decided["saving"]),
        saving_if_now_usd=spread(decided["saving_if_now"]),
        at_stake_usd=spread(decided["at_stake"]),
        at_stake_if_now_usd=spread(decided["at_stake_if_now"]),
        crossover=crossing["crossover"],
        savings=[_saving(row) for row in crossing["savings"]],
        measurements=_picked(MeasurementRecord, crossing["worth"]),
        measure_next=_next(crossing["measure_next"]),
        flips=_picked(FlipRecord, [r for r in crossing["flips"] if r["flips_at"] is not None]),
        regret=_picked(RegretRecord, decided["regret"]),
        waiting=_picked(PolicyRecord, decided["waiting"]),
        triggers=decided["triggers"],
        serving_fit=_picked(ServingFit, hosting["serving_fit"]),
        five_questions=decided["five_questions"]["verdict"],
        tradeoffs=_picked(TradeoffRecord, decided["tradeoffs"]),
        intake=_picked(IntakeRecord, decided["intake"]),
        risks=_picked(RiskRecord, decided["risks"]),
        risk_indicators=_picked(IndicatorRecord, decided["risk_indicators"]),
        alternatives=_picked(AlternativeRecord, decided["alternatives"]),
        plan_gates=_picked(GateRecord, decided["plan_gates"]),
        plan_items=_picked(ItemRecord, decided["plan_items"]),
        key_tradeoffs=_picked(KeyTradeoffRecord, decided["key_tradeoffs"]),
        first_moves=_picked(FirstMoveRecord, decided["first_moves"]),
        canary=_picked(CanaryRecord, decided["canary"]),
        panel=_picked(LensRecord, decided["panel"]),
        agreement=_picked(AgreementRecord, decided["agreement"]),
        disagreements=_picked(DisagreementRecord, decided["disagreements"]),
        criteria=_picked(CriterionRecord, decided["criteria"]),
        contracts=_picked(ContractRecord, decided["contracts"]),
        portability=_picked(PortabilityRecord, decided["portability"]),
        switching=_picked(SwitchRecord, decided["switching"]),
        team=_picked(TeamRecord, [decided["team"]])[0],
    )


Record = TypeVar("Record", bound=_Record)


def _picked(kind: type[Record], rows: Iterable[Mapping[str, Any]]) -> list[Record]:
    """The rows as records, without the columns that a record does not hold."""
    return [kind(**{key: row[key] for key in kind.model_fields}) for row in rows]


_SAVING = ("workload", "route", "arm", "p_cheaper", "p_cheaper_team_there", "p_never_pays")


def _saving(row: Mapping[str, Any]) -> SavingRecord:
    ends = ("p10", "p50", "p90")
    return SavingRecord(
        **{key: row[key] for key in _SAVING},
        saving_usd=Spread(**{end: row[f"saving_{end}_usd"] for end in ends}),
        pays_from_month=Spread(**{end: row[f"pays_from_month_{end}"] for end in ends}),
    )


def _next(row: Mapping[str, Any] | None) -> str | None:
    return None if row is None else f"{row['workload']}: {row['measurement']}"


def schema() -> dict[str, Any]:
    """The JSON Schema of `results.json`.

    >>> schema()["properties"]["version"]["default"]
    '1.0'
    """
    return Results.model_json_schema()
