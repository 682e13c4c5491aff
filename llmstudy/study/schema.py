"""The blocks of a study file: their keys, and the rules within a block.

Each class is one block of the file. The whole study, and the rules between blocks, are in `study`.
"""

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from llmstudy.figure import Figure
from llmstudy.study.fields import (
    TEXT_LENGTH,
    Count,
    Day,
    Name,
    Place,
    Text,
)
from llmstudy.study.figures import MOST, bundled_figures, quantity
from llmstudy.text import excerpt


def _yes_no(value: Any) -> Any:
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


def _none_if_unknown(value: Any) -> Any:
    return None if value == "unknown" else value


def bundled(name: str) -> Any:
    """A field whose default is a bundled figure."""
    return Field(default_factory=lambda: bundled_figures()[name])


def one_or_more(value: Any) -> Any:
    """A list, of one where a single value stands."""
    return value if isinstance(value, list | tuple) else [value]


def slug(name: str) -> str:
    """Checks that a name can be the name of a folder. Raises: ValueError if not."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise ValueError(
            f'is "{excerpt(name)}", but a name has only lower-case letters, digits, - and _.'
        )
    return name


def _month(month: Any) -> Any:
    if not re.fullmatch(r"(19|20)[0-9][0-9]-(0[1-9]|1[0-2])", str(month)):
        raise ValueError(f"is {excerpt(str(month))}, but must be a month, such as 2026-11.")
    return month


Seconds = Annotated[Figure, quantity("s")]
Share = Annotated[Figure, quantity("share", 0, 1)]
Months = Annotated[Figure, quantity("months")]
Weeks = Annotated[Figure, quantity("weeks")]
Usd = Annotated[Figure, quantity("USD")]
MonthUsd = Annotated[Figure, quantity("USD/month")]
YearUsd = Annotated[Figure, quantity("USD/year")]
Factor = Annotated[Figure, quantity("factor/year", 0.01, 100)]
Answer = Annotated[Literal["yes", "no", "unknown"], BeforeValidator(_yes_no)]
DataClass = Literal["consumer", "enterprise", "phi", "mnpi", "government", "eu_strict", "unknown"]
ArmName = Literal["proprietary_api", "hosted_open", "self_hosted"]
Source = Annotated[str, Field(max_length=TEXT_LENGTH)]
ProbeRuns = Annotated[tuple[Place, ...], BeforeValidator(one_or_more)]
"""Folders of runs of `llmstudy probe endpoint` under one load; a single one needs no list."""
Keys = tuple[str, ...]
"""The keys of a file that lead to a value, outermost first."""


class Strict(BaseModel):
    """A block of a study: it is frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


# --- workloads ------------------------------------------------------------------------------


class Intake(Strict):
    """The Strategist's six intake questions (MEMO T7); the second, the p95 target, is in `Slo`.

    peak_to_mean: load of the busiest clock hour over the mean load, never of a shorter peak (see
    `cost.requests_per_replica`).
    """

    requests: Annotated[Figure, quantity("requests/month", 1, 1e12, unknown="unknown.requests")]
    input_tokens: Annotated[
        Figure, quantity("tokens/request", 1, 1e7, unknown="unknown.input_tokens")
    ]
    output_tokens: Annotated[
        Figure, quantity("tokens/request", 1, 1e6, unknown="unknown.output_tokens")
    ]
    data_class: DataClass
    peak_to_mean: Annotated[Figure, quantity("factor", 1, 100, unknown="unknown.peak_to_mean")]
    context_tokens: Annotated[Figure, quantity("tokens", 1, 1e8, unknown="unknown.context_tokens")]
    gpu_platform: Answer


class Slo(Strict):
    """Latency targets: time to the first token, and per output token after it, both at the p95.

    If nobody waits for the answer, the first token may take hours, which only a batch tier needs.
    """

    ttft_p95: Annotated[Figure, quantity("s", 1e-3, 2 * 86_400, unknown="unknown.ttft_p95")]
    tpot_p95: Annotated[Figure, quantity("s", 1e-4, 60)]


class Traffic(Strict):
    """Published token counts and hourly loads that requests are drawn from without a log."""

    tokens: Literal["azure_conversation_2023"] = "azure_conversation_2023"
    hours: Literal["servegen-m-large", "servegen-m-mid", "servegen-m-small", "ragpulse"]


FourCounts = tuple[Count, Count, Count, Count]
"""Items that both answer rightly, today's route alone, the candidate alone, and neither."""


class PairedEvidence(Strict):
    """The evidence on a candidate's quality: a row of `data/paired_counts.csv`, or own items.

    Own items are an evaluation, a file of their scores, or their counts. Reading the study fills
    counts, slices, flaws and names from the evaluation; its route names are those of the study,
    unless model_proprietary and model_open say what it calls them.
    """

    benchmark: Text = ""
    subject: Text = "all"
    model_proprietary: Text = ""
    model_open: Text = ""
    evaluation: Place | None = Field(
        default=None, description="file of an evaluation of own items, of any format"
    )
    counts: FourCounts | None = Field(
        default=None, description="both right, only current, only candidate, neither"
    )
    slices: dict[Name, FourCounts] = Field(
        default={}, description="the same counts in each protected slice"
    )
    flaws: tuple[Text, ...] = Field(
        default=(), description="faults of the scoring that must be mended before it decides"
    )
    penalty: Share | None = Field(
        default=None,
        description="loss of a quantised fleet whose items other weights answered; none for own "
        "items, and the bundled `quality.quantisation_penalty` for a public pair",
    )
    looks: Count = Field(
        default=0, description="how many times a part of these items was judged before"
    )
    source: Source = ""
    as_of: Day | None = None

    @property
    def is_own(self) -> bool:
        """Whether the counts are of one's own items."""
        return self.counts is not None or self.evaluation is not None

    @model_validator(mode="after")
    def _is_whole(self) -> "PairedEvidence":
        names = ("benchmark", "model_proprietary", "model_open")
        unnamed = [key for key in names if not getattr(self, key)]
        if unnamed and self.evaluation is None:
            raise ValueError(
                f"lacks {' and '.join(unnamed)}: name the items and the pair of models, or give an "
                "`evaluation`."
            )
        if not self.is_own:
            if self.looks:
                raise ValueError(
                    f"has looks: {self.looks}, but a public pair is judged once: give your own "
                    "counts, or leave looks out."
                )
            return self
        if self.evaluation is not None and self.as_of is None:
            raise ValueError("lacks as_of: give the day of the evaluation.")
        missing = [key for key in ("source", "as_of") if not getattr(self, key)]
        if missing and self.evaluation is None:
            raise ValueError(f"lacks {' and '.join(missing)}: your own counts need both.")
        if self.counts is not None and not any(self.counts):
            raise ValueError("has no items in its counts: a pair needs at least one.")
        return self


class Quality(Strict):
    """The non-inferiority margin of a workload, and the evidence on its candidates."""

    margin: Share
    lowest_grade: Literal["measured", "published"]
    protected: tuple[Name, ...] = Field(
        default=(), description="slices in which a candidate must keep the margin too"
    )
    accepted_from: float | None = Field(
        default=None, description="score from which a graded answer is accepted"
    )
    repair: Annotated[Figure, quantity("USD/answer")] | None = Field(
        default=None, description="cost of putting a wrong answer right"
    )
    evidence: dict[Name, PairedEvidence] = {}

    @model_validator(mode="after")
    def _has_protected_slices(self) -> "Quality":
        for route, evidence in self.evidence.items():
            absent = [name for name in self.protected if name not in evidence.slices]
            if evidence.counts is not None and absent:
                raise ValueError(
                    f"protects {', '.join(absent)}, but the evidence on {route} has no items of "
                    f"it: give its counts under `slices`, or an evaluation with the column slice."
                )
        return self

    @field_validator("margin")
    @classmethod
    def _is_between_0_and_1(cls, margin: Figure) -> Figure:
        if not 0 < margin.value < 1:
            raise ValueError(
                f"is {margin.value:g} share, but must be more than 0 and less than 1 share."
            )
        return margin


Schemas = Literal["none", "json_schema", "provider_specific", "unknown"]
"""How calls specify a format: not at all, in JSON Schema, or in a vendor's own form."""

ProviderFeature = Literal[
    "assistants",
    "batch",
    "built_in_tools",
    "embeddings",
    "file_store",
    "guardrails",
    "prompt_caching",
    "realtime",
]


class Portability(Strict):
    """What ties a workload's calls to today's vendor (MEMO C4, S11); unknown where left out."""

    behind_gateway: Answer = "unknown"
    provider_features: Annotated[
        tuple[ProviderFeature, ...] | None, BeforeValidator(_none_if_unknown)
    ] = Field(default=None, description="null: unknown")
    prompts_versioned: Answer = "unknown"
    tool_schemas: Schemas = "unknown"
    structured_output: Schemas = "unknown"
    fine_tuned_weights_at_provider: Answer = "unknown"
    source: Source = ""
    grade: Literal["measured", "assumed"] = "assumed"


class Workload(Strict):
    """One named class of requests, and the routes that could serve it."""

    task: Literal["chat", "classification", "extraction", "summarisation", "routing", "reasoning"]
    complexity: Literal["low", "medium", "high"]
    current_route: Name
    candidates: tuple[Name, ...]
    intake: Intake
    slo: Slo
    traffic: Traffic
    growth: Annotated[Figure, quantity("share/month", -0.5, 1)]
    cached_input_share: Share
    cache_write_share: Share = bundled("traffic.cache_write_share")
    prompt_growth: Annotated[Figure, quantity("share/month", -0.5, 1)] = bundled(
        "traffic.prompt_growth"
    )
    volatility: Annotated[Figure, quantity("share/month", 0, 1)] = bundled("traffic.volatility")
    retry_share: Share
    answered_by: Text | None = Field(
        default=None,
        description="the model whose answers were counted; null: the log's, else today's route's",
    )
    quality: Quality
    format_failure_share: Share | None = None
    portability: Portability = Portability()

    @property
    def routes(self) -> tuple[str, ...]:
        """The current route, then the candidates."""
        return (self.current_route, *self.candidates)

    @model_validator(mode="after")
    def _names_a_route_once(self) -> "Workload":
        for route in self.routes:
            if self.routes.count(route) > 1:
                raise ValueError(
                    f'names the route "{route}" more than once: list each candidate once, and '
                    "leave out the current route."
                )
        return self


# --- routes ---------------------------------------------------------------------------------


class Contract(Strict):
    """A signed agreement with the provider of a route, and its last day."""

    kind: Literal["dpa", "baa", "no_training", "no_retention", "soc2", "eu_region", "mnpi_approval"]
    valid_until: Day


class TokenRates(Strict):
    """A negotiated price, in place of the price list's."""

    input: Annotated[Figure, quantity("USD/Mtok")]
    cached_input: Annotated[Figure, quantity("USD/Mtok")]
    output: Annotated[Figure, quantity("USD/Mtok")]


class RateLimit(Strict):
    """A provider's limits per minute for this account; tokens are those of prompt and answer."""

    requests_per_minute: Annotated[Figure, quantity("requests/min", 1)] | None = None
    tokens_per_minute: Annotated[Figure, quantity("tokens/min", 1)] | None = None

    @model_validator(mode="after")
    def _names_a_limit(self) -> "RateLimit":
        if self.requests_per_minute is None and self.tokens_per_minute is None:
            raise ValueError(
                "has no limit: give requests_per_minute, tokens_per_minute or both; if "
                "neither is known, leave rate_limit out."
            )
        return self


class _Route(Strict):
    """Keys of a route on any arm.

    reasoning: whether the model reasons before it answers on this route; by default as the model
    does. output_tokens_ratio: output tokens of its answers, reasoning included, over those of the
    answers that the workload's output_tokens were counted on (the log's, or today's route's); by
    default estimated by `evidence.output_tokens`.
    """

    reasoning: Answer = "unknown"
    output_tokens_ratio: Annotated[Figure, quantity("factor", 1e-3, 1e3)] | None = None


_SOONEST_BATCH_S = 60
"""The shortest plausible time to the first token of a batch: half of them take 7 minutes (see the
figure latency.batch_ttft_p95)."""


class ApiRoute(_Route):
    """A route that is billed by the token: a proprietary API, or open weights at a host.

    regional_premium: factor on the price per token for processing within one region. tier: a batch
    answers within hours at a lower price, so it misses every shorter target.
    """

    arm: Literal["proprietary_api", "hosted_open"]
    provider: Text
    model: Text
    tier: Literal["standard", "batch", "priority", "flex"] = "standard"
    price: TokenRates | None = None
    regional_premium: Annotated[Figure, quantity("factor", 1, 10)] | None = None
    rate_limit: RateLimit | None = None
    context_tokens: Annotated[Figure, quantity("tokens", 1)]
    ttft_p95: Seconds
    probe: ProbeRuns = ()
    contracts: tuple[Contract, ...] = ()

    @field_validator("regional_premium")
    @classmethod
    def _is_listed(cls, premium: Figure | None) -> Figure | None:
        if premium is not None and premium.uncertain:
            raise ValueError("has a range, but a premium is listed: give its value alone.")
        return premium

    @model_validator(mode="after")
    def _batch_takes_hours(self) -> "ApiRoute":
        soonest, _ = self.ttft_p95.ends
        if self.tier == "batch" and soonest < _SOONEST_BATCH_S:
            raise ValueError(
                f"is of the batch tier with a first token after {soonest:g} s, but a batch "
                "answers within hours: write ttft_p95: {figure: latency.batch_ttft_p95}."
            )
        return self


class Commitment(Strict):
    """How the hours of rented GPUs are paid for: shares that sum to 1, and a reservation's term."""

    on_demand: Share
    reserved: Share
    spot: Share
    term: Annotated[int, Field(strict=True, ge=1, le=60, description="months of a reservation")] = (
        12
    )

    @model_validator(mode="after")
    def _sums_to_one(self) -> "Commitment":
        total = self.on_demand.value + self.reserved.value + self.spot.value
        if abs(total - 1) > 1e-6:
            raise ValueError(f"sums to {total:.0%}, but the three shares must sum to 100 %.")
        return self


class OwnedGpus(Strict):
    """GPUs that are bought: what makes up the cost of an hour of one, busy or not.

    price: of one card. server, spares, residual, maintenance (a year): shares of the purchase.
    life: months over which it is written off. power: rated, with the card's part of the server (by
    default the card's own times a bundled factor); load: mean power over the rated. overhead_share:
    added to the rest, in place of `self_hosting.overhead_share`, which includes a host machine.
    """

    price: Annotated[Figure, quantity("USD/GPU", 1)]
    server: Annotated[Figure, quantity("share", 0, 10)] = bundled("owned.server_share")
    spares: Share = bundled("owned.spares_share")
    life: Annotated[Figure, quantity("months", 1, 240)] = bundled("owned.life")
    residual: Share = bundled("owned.residual_share")
    cost_of_capital: Annotated[Figure, quantity("share/year", 0, 1)] = bundled(
        "owned.cost_of_capital"
    )
    maintenance: Annotated[Figure, quantity("share/year", 0, 1)] = bundled("owned.maintenance")
    power: Annotated[Figure, quantity("W/GPU", 1)] | None = None
    load: Share = bundled("owned.load_share")
    pue: Annotated[Figure, quantity("factor", 1, 5)] = bundled("owned.pue")
    electricity: Annotated[Figure, quantity("USD/kWh")] = bundled("owned.electricity_usd")
    colocation: Annotated[Figure, quantity("USD/kW/month")] = bundled("owned.colocation_usd")
    overhead_share: Share = bundled("owned.overhead_share")


class SelfHostedRoute(_Route):
    """A route on rented or owned GPUs under vLLM, sized from measured serving points."""

    arm: Literal["self_hosted"]
    model: Text
    gpu: Text
    rented_from: Text | None = None
    on_demand_quote: Annotated[Figure, quantity("USD/h")] | None = Field(
        default=None, description="of one GPU, in place of the public list's price on demand"
    )
    commitment: Commitment | None = None
    owned: OwnedGpus | None = None
    precision: Literal["bf16", "fp8", "fp4"]
    engine_version: Text = "not recorded"
    tensor_parallel: int = Field(strict=True, ge=1, le=16)
    context_tokens: Annotated[Figure, quantity("tokens", 1)]
    probe: ProbeRuns = ()
    contracts: tuple[Contract, ...] = ()

    @field_validator("on_demand_quote")
    @classmethod
    def _is_one_offer(cls, quote: Figure | None) -> Figure | None:
        if quote is not None and quote.uncertain:
            raise ValueError("has a range, but a quote is one price: give its value alone.")
        return quote

    @property
    def host(self) -> str:
        """The provider that the GPUs are rented from, or `own`."""
        return self.rented_from or "own"

    @model_validator(mode="after")
    def _is_rented_or_owned(self) -> "SelfHostedRoute":
        rented = {"rented_from": self.rented_from, "commitment": self.commitment}
        present = [key for key, value in rented.items() if value is not None]
        quoted = [] if self.on_demand_quote is None else ["on_demand_quote"]
        if self.owned is not None and (present := [*present, *quoted]):
            raise ValueError(
                f"has `owned` and {' and '.join(present)} as well: GPUs are rented or owned, so "
                "keep one of the two."
            )
        if self.owned is None and len(present) < len(rented):
            missing = [key for key in rented if key not in present]
            raise ValueError(
                f"lacks {' and '.join(missing)}: name the provider of its GPUs and how they are "
                "paid for, or give `owned`."
            )
        return self


Route = Annotated[ApiRoute | SelfHostedRoute, Field(discriminator="arm")]


# --- the rest of a study --------------------------------------------------------------------


class Invoice(Strict):
    """The amount billed for a calendar month, for one workload or, if none is named, for all."""

    month: Annotated[str, BeforeValidator(_month), Field(description="as 2026-11")]
    usd: float = Field(strict=True, ge=0, le=MOST, allow_inf_nan=False)
    source: Text
    workload: Name | None = None

    @property
    def begins(self) -> date:
        """The first day of the month."""
        return date.fromisoformat(f"{self.month}-01")

    @property
    def ends(self) -> date:
        """The first day of the next month."""
        year, month = divmod(12 * self.begins.year + self.begins.month, 12)
        return date(year, month + 1, 1)


class Team(Strict):
    """The engineers who could run a model service, and their cost (MEMO C6, T4)."""

    experienced_ml_engineers: Count
    usd_per_fte_year: Annotated[Figure, quantity("USD/year")]


class PriceDrift(Strict):
    """The trend of prices on each arm, as a factor a year."""

    proprietary_api: Factor
    hosted_open: Factor
    gpu: Factor


class PricePaths(Strict):
    """How prices move about their trend: a named model's jumps, and the volatility of GPU rents.

    same_quality: price of equal quality a year later over today's, for a buyer who stays on an API
    but moves to each cheaper model that repays the move; switches: such models a year.
    """

    jumps: Annotated[Figure, quantity("jumps/year", 0, 12)] = bundled("named_model.jumps")
    jump_factor: Annotated[Figure, quantity("factor", 0.01, 100)] = bundled(
        "named_model.jump_factor"
    )
    same_quality: Factor = bundled("drift.same_quality")
    switches: Annotated[Figure, quantity("switches/year", 0, 12)] = bundled("same_quality.switches")
    gpu_volatility: Annotated[Figure, quantity("share/year", 0, 2)] = bundled("gpu.volatility")


class SelfHosting(Strict):
    """What self-hosting costs beside the GPUs (research cost.md 5.1)."""

    fte: Annotated[Figure, quantity("FTE")]
    overhead_share: Share
    target_utilisation: Annotated[Figure, quantity("share", 0.05, 1)] | None = Field(
        default=None, description="a limit beside what the replay sustains"
    )
    spare_replicas: int = Field(strict=True, ge=0, le=1000)
    staging_replicas: Annotated[Figure, quantity("replicas", 0, 100)] = bundled(
        "self_hosting.staging_replicas"
    )
    observability: MonthUsd = bundled("self_hosting.observability_usd")
    on_call: MonthUsd = bundled("self_hosting.on_call_usd")
    security: YearUsd = bundled("self_hosting.security_usd")
    upgrades: Annotated[Figure, quantity("upgrades/year", 0, 52)] = bundled("self_hosting.upgrades")
    upgrade: Annotated[Figure, quantity("USD/upgrade")] = bundled("self_hosting.upgrade_usd")
    fine_tuning: YearUsd = bundled("self_hosting.fine_tuning_usd")
    dual_running: Months = bundled("self_hosting.dual_running")
    spot_rerun: Share = bundled("self_hosting.spot_rerun")


class ApiUse(Strict):
    """What a workload on an API costs beside its tokens (research cost.md 5.2)."""

    evaluation: YearUsd = bundled("api.evaluation_usd")
    model_life: Months = bundled("api.model_life")
    hosted_model_life: Months = bundled("hosted.model_life")
    provisioned: MonthUsd = bundled("api.provisioned_usd")
    tools: Annotated[Figure, quantity("USD/1k requests")] = bundled("api.tool_usd")
    dual_running: Months = bundled("api.dual_running")
    tokenizer: Annotated[Figure, quantity("factor", 0.1, 10)] = bundled("traffic.tokenizer_factor")


class Moving(Strict):
    """One-off cost of moving one workload, and months of ramp until the new route serves it."""

    cost: Usd
    ramp: Months


class _RetrievalModel(Strict):
    """A model that callers search their own texts with. contracts: as those of a route."""

    provider: Text
    model: Text
    contracts: tuple[Contract, ...] = ()


class EmbeddingModel(_RetrievalModel):
    """The model behind `embeddings`. usd_per_mtok: of input, in place of the price list's."""

    usd_per_mtok: (
        Annotated[float, Field(strict=True, gt=0, le=1000, allow_inf_nan=False)] | None
    ) = None


class RerankModel(_RetrievalModel):
    """The model behind `rerank`. usd_per_search: of a query with its documents, as the provider
    bills one (Cohere's search unit has up to 100); no price list has it."""

    usd_per_search: Annotated[float, Field(strict=True, gt=0, le=0.1, allow_inf_nan=False)]


class Gateway(Strict):
    """Models that callers reach through the gateway beside the routes of the workloads.

    They cost the same whatever a study decides, so that no chapter counts them.
    """

    embeddings: EmbeddingModel | None = None
    rerank: RerankModel | None = None

    @property
    def models(self) -> dict[str, EmbeddingModel | RerankModel]:
        """The models by the names that callers use for them."""
        named = {"embeddings": self.embeddings, "rerank": self.rerank}
        return {name: model for name, model in named.items() if model is not None}


class Thresholds(Strict):
    """The thresholds of this organisation for a move and for its triggers."""

    month_budget: Annotated[Figure, quantity("USD/month")]
    probability: Annotated[Figure, quantity("share", 0.5, 1)]
    saving: Annotated[Figure, quantity("USD")]
    price_rise: Share
    format_failure: Share
    sustained: Weeks
