"""Which deployment answers which name in phase 1 and in phase 3, at which weight, price and limit?

Phase 1 serves every workload from an API behind the gateway, with another provider to fall back to.
Phase 3 sends the share of the canary's first step to each target: the route that the verdict
favours, and the self-hosted one that the decision's timing is about.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from math import ceil, floor
from pathlib import Path
from typing import Any

import pandas as pd

from llmstudy import io
from llmstudy.decide.canary import canary_steps
from llmstudy.evidence.case import permissions, rows_of
from llmstudy.evidence.offers import Part, billed
from llmstudy.export.source import Decision
from llmstudy.measures.privacy import permission, privacy_matrix
from llmstudy.prices import embedding_usd_per_mtok, same_model
from llmstudy.study import ApiRoute, SelfHostedRoute, Study
from llmstudy.study.schema import EmbeddingModel, RerankModel
from llmstudy.text import listed

LITELLM = "1.106.2"
"""The version of the gateway that the configuration is written for and was tried on."""

ALLOWED_FAILS = 2
"""Failures within the router's cooldown time after which the next one cools a deployment down."""

_TIMEOUT_FACTOR = 2.0
"""Timeouts over the stated time of a whole answer, or of its beginning; assumed."""

_TIMEOUT_S, _STREAM_TIMEOUT_S = (10, 300), (5, 300)
"""The shortest and the longest timeout. Unit: seconds; assumed."""

_MOST_FALLBACKS = 2


def cooldown_s(timeout_s: int) -> int:
    """The shortest whole cooldown that requests of one caller, one after another, can trip.

    Each may wait for two deployments that hang, such as a canary's and the primary behind it.

    >>> cooldown_s(10)
    61
    """
    return 2 * (ALLOWED_FAILS + 1) * timeout_s + 1


@dataclass(frozen=True)
class Deployment:
    """One route behind one name of the gateway.

    id: unique in a configuration. model: as LiteLLM names it. api_base: the environment variable of
    its address; None for the provider's own. keys: other parameters that come from the environment,
    with the variable of each. weight_share: of the requests of its name. rpm, tpm: of this
    deployment, its part of the account's limit.
    """

    id: str
    route: str
    arm: str
    provider: str
    model: str
    api_base: str | None
    keys: Mapping[str, str]
    weight_share: float
    input_usd_per_token: float
    output_usd_per_token: float
    cached_input_usd_per_token: float
    timeout_s: int
    stream_timeout_s: int
    cooldown_s: int
    rpm: int | None = None
    tpm: int | None = None
    service_tier: str | None = None


@dataclass(frozen=True)
class Alias:
    """A name that the gateway serves: a workload, or `WORKLOAD.ROUTE` for one route of it alone.

    fallbacks: names that are tried in order when it fails.
    """

    workload: str
    deployments: tuple[Deployment, ...]
    fallbacks: tuple[str, ...] = ()


Aliases = Mapping[str, Alias]


@dataclass(frozen=True)
class RetrievalDeployment:
    """The one model behind the name `embeddings` or `rerank`, the same in both phases.

    Nothing answers in its place: vectors of two models cannot be compared. Fields as those of
    `Deployment`; of the two prices it has the one that its mode is billed by. A search is a query
    with its documents.
    """

    id: str
    mode: str
    provider: str
    model: str
    api_base: str | None
    keys: Mapping[str, str]
    input_usd_per_token: float | None = None
    usd_per_search: float | None = None
    weight_share: float = 1.0
    timeout_s: int = _TIMEOUT_S[0]
    stream_timeout_s: int = _TIMEOUT_S[0]
    cooldown_s: int = cooldown_s(_TIMEOUT_S[0])
    rpm: None = None
    tpm: None = None
    service_tier: None = None


@dataclass(frozen=True)
class Plan:
    """What the gateway has to do in each phase (1 and 3), and what a reader must know of it.

    retrieval: by its name, in every phase.
    """

    study: Study
    origin: str
    phases: Mapping[int, Aliases]
    notes: tuple[str, ...]
    tenant_budgets: Mapping[str, float]
    retrieval: Mapping[str, RetrievalDeployment] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The plan as `plan.json` has it, which `check.faults` compares a configuration with."""
        retrieval = {
            name: {"workload": None, "deployments": [asdict(each)], "fallbacks": []}
            for name, each in self.retrieval.items()
        }
        phases = {
            str(number): {
                "config": f"phase-{number}/config.yaml",
                "aliases": {
                    name: {
                        "workload": alias.workload,
                        "deployments": [asdict(each) for each in alias.deployments],
                        "fallbacks": list(alias.fallbacks),
                    }
                    for name, alias in aliases.items()
                }
                | retrieval,
            }
            for number, aliases in self.phases.items()
        }
        plain: dict[str, Any] = io.plain(
            {
                "study": self.study.study,
                "as_of": self.study.as_of,
                "origin": self.origin,
                "litellm": LITELLM,
                "tenant_budgets_usd_per_month": self.tenant_budgets,
                "phases": phases,
            }
        )
        return plain


def plan_of(decision: Decision, tenant_budgets: Mapping[str, float] | None = None) -> Plan:
    """The plan of a decision. tenant_budgets: USD a month, by tenant.

    Raises: ValueError if no workload has an API route that may process its data, or if LiteLLM's
    name of a provider is not known.
    """
    first: dict[str, Alias] = {}
    third: dict[str, Alias] = {}
    every = [_Options(decision, name) for name in decision.study.workloads]
    served = [options for options in every if options.primary is not None]
    for options in served:
        first |= options.aliases({})
        third |= options.aliases(options.targets)
    retrieval, refused = _retrieval(decision.study, [options.workload for options in served])
    notes = [note for options in every for note in options.notes(retrieval)] + refused
    if not first:
        raise ValueError(
            f"{decision.study.study}: no workload has an API route that may process its data, so "
            "a gateway has nothing to serve in phase 1: add a route under a contract that its "
            "data class asks for. " + " ".join(notes)
        )
    phases = {1: _limited(decision.study, first), 3: _limited(decision.study, third)}
    budgets = dict(tenant_budgets or {})
    return Plan(decision.study, decision.origin, phases, tuple(notes), budgets, retrieval)


# --- the routes of a workload -----------------------------------------------------------------


class _Options:
    """The routes of a workload that a gateway may use, and the one that answers first."""

    def __init__(self, decision: Decision, workload: str) -> None:
        self.study, self.results, self.workload = decision.study, decision.results, workload
        self.verdict = decision.results["07_triggers_and_routing"]["verdicts"][workload]
        allowed = permissions(decision.study)
        rows = allowed[allowed["workload"] == workload].to_dict("records")
        self.permitted = [row["route"] for row in rows if row["permitted"]]
        self.usable = [
            row["route"]
            for row in rows
            if row["permitted"] and row["fits_context"] and self._served(row["route"])
        ]
        apis = [route for route in self.usable if self._is_api(route)]
        wanted = (self.spec.current_route, self.verdict["route"], self.verdict["target"])
        self.primary = next(
            (r for r in (*wanted, *sorted(apis, key=self._rank)) if r in apis), None
        )

    @property
    def spec(self) -> Any:
        return self.study.workloads[self.workload]

    def _is_api(self, route: str) -> bool:
        return isinstance(self.study.routes[route], ApiRoute)

    def _served(self, route: str) -> bool:
        """Whether a request can be answered on a route at once: by a tier that is no batch, or on
        a fleet that can be sized."""
        spec = self.study.routes[route]
        return (
            spec.tier != "batch" if isinstance(spec, ApiRoute) else self._fleet(route) is not None
        )

    def _fleet(self, route: str) -> dict[str, Any] | None:
        fleets = self.results["05_self_hosting"]["fleets"]
        return next(iter(rows_of(fleets, workload=self.workload, route=route)), None)

    def _rank(self, route: str) -> tuple[bool, bool, float, str]:
        """Order of APIs to fall back to: today's model first, none that is worse, then by price."""
        current = self.study.routes[self.spec.current_route].model
        quality = rows_of(self.results["04_quality"]["quality"], **self._key(route))
        bills = rows_of(self.results["02_cost"]["bills"], **self._key(route))
        return (
            not same_model(self.study.routes[route].model, current),
            any(row["verdict"] == "inferior" for row in quality),
            bills[0]["usd_per_request"] if bills else float("inf"),
            route,
        )

    def _key(self, route: str) -> dict[str, str]:
        return {"workload": self.workload, "route": route}

    @property
    def others(self) -> list[str]:
        """APIs to fall back to from the first one: one of each other provider, best first."""
        by_provider: dict[str, str] = {}
        for route in sorted(filter(self._is_api, self.usable), key=self._rank):
            by_provider.setdefault(_provider(self.study, route), route)
        assert self.primary is not None
        by_provider.pop(_provider(self.study, self.primary), None)
        return list(by_provider.values())[:_MOST_FALLBACKS]

    @property
    def targets(self) -> dict[str, float]:
        """Routes that a canary sends requests to in phase 3, and the share of its first step."""
        decided = self.results["07_triggers_and_routing"]
        wanted = (self.verdict["target"], decided["timing"]["targets"].get(self.workload))
        first = float(canary_steps()["share"].iloc[0])
        shares = {}
        for route in dict.fromkeys(r for r in wanted if r in self.usable and r != self.primary):
            steps = rows_of(decided["canary"], **self._key(route))
            share = min((step["traffic_share"] for step in steps), default=first)
            # a canary for which no smaller step fits is still not begun with all requests
            shares[route] = share if share < 1 else first
        return shares

    def aliases(self, targets: Mapping[str, float]) -> dict[str, Alias]:
        """The names that serve the workload: its own, then one for each route of it.

        The name of a target serves shadow traffic, and falls back as the workload's own does.
        """
        assert self.primary is not None
        spare = [self.primary, *self.others] if targets else self.others
        shares = {self.primary: 1 - sum(targets.values()), **targets}
        fallbacks = tuple(f"{self.workload}.{route}" for route in spare)
        own = tuple(self._deployment(self.workload, r, share) for r, share in shares.items())
        names = {self.workload: Alias(self.workload, own, fallbacks)}
        for route in dict.fromkeys([*spare, *targets]):
            name = f"{self.workload}.{route}"
            # a name that is a fallback has none itself, else two would fall back to each other
            chain = fallbacks if route not in spare else ()
            alone = (self._deployment(name, route, 1.0),)
            names[name] = Alias(self.workload, alone, chain)
        return names

    def _deployment(self, name: str, route: str, weight_share: float) -> Deployment:
        spec = self.study.routes[route]
        timeout_s, stream_timeout_s = self._timeouts(route)
        shared: dict[str, Any] = {
            "id": deployment_id(name, route, getattr(spec, "provider", "")),
            "route": route,
            "arm": spec.arm,
            "weight_share": weight_share,
            "timeout_s": timeout_s,
            "stream_timeout_s": stream_timeout_s,
            "cooldown_s": cooldown_s(timeout_s),
        }
        if isinstance(spec, SelfHostedRoute):
            fleet = self._fleet(route)
            assert fleet is not None
            # every token of the fleet's month at one price, so that the log sums to its TCO
            usd = fleet["usd_per_mtok"] / 1e6
            return Deployment(
                provider="self-hosted",
                model=f"hosted_vllm/{route}",
                api_base=variable(route, "API_BASE"),
                keys={"api_key": variable(route, "API_KEY")},
                input_usd_per_token=usd,
                output_usd_per_token=usd,
                cached_input_usd_per_token=usd,
                **shared,
            )
        prefix, keys = _litellm_provider(spec.provider)
        shared |= api_usd_per_token(self.study, self.workload, spec)
        return Deployment(
            provider=spec.provider,
            model=f"{prefix}/{spec.model}",
            api_base=keys.pop("api_base", None),
            keys=keys,
            service_tier=None if spec.tier == "standard" else spec.tier,
            **shared,
        )

    def _timeouts(self, route: str) -> tuple[int, int]:
        """Seconds that a whole answer may take, and the beginning of one that is streamed."""
        row = rows_of(self.results["03_latency"]["answers"], **self._key(route))[0]
        whole = _within(row["e2e_s"], *_TIMEOUT_S)
        return whole, min(_within(row["first_answer_s"], *_STREAM_TIMEOUT_S), whole)

    def notes(self, served: Collection[str]) -> Iterator[str]:
        """What a reader must know of the workload, in a sentence each.

        served: features of a vendor that the gateway has a name for.
        """
        name = self.workload
        if self.primary is None:
            yield f"{name}: no API route may process its data, so that it has no name here."
            return
        current = self.spec.current_route
        if current != self.primary:
            why = (
                "may not process its data"
                if current not in self.permitted
                else "is no API that answers at once"
            )
            yield f"{name}: today's route {current} {why}; {self.primary} answers in its place."
        if not self.others:
            yield (
                f"{name}: the study has no second API provider that may process its data, so that "
                f"nothing answers in phase 1 while {_provider(self.study, self.primary)} is down: "
                "sign one, or accept the outage."
            )
        if not self.targets:
            yield (
                f"{name}: no route is favoured over {self.primary}, so that phase 3 changes "
                "nothing."
            )
        yield from self._ties(served)
        batch = [r for r in self.permitted if getattr(self.study.routes[r], "tier", "") == "batch"]
        if batch:
            yield (
                f"{name}: batches go to {listed(batch)} through the provider's own interface, not "
                "through the gateway."
            )

    def _ties(self, served: Collection[str]) -> Iterator[str]:
        """What of today's calls a gateway cannot carry to another provider."""
        ties = self.spec.portability
        not_carried = _NOT_CARRIED.keys() - set(served)
        if features := [each for each in ties.provider_features or () if each in not_carried]:
            used = listed([_NOT_CARRIED[each] for each in features])
            yield (
                f"{self.workload}: its calls use {used} of today's vendor, which no name here "
                "serves: replace them before phase 1."
            )
        own = [
            what
            for what, form in (
                ("answer formats", ties.structured_output),
                ("tools", ties.tool_schemas),
            )
            if form == "provider_specific"
        ]
        if own:
            yield (
                f"{self.workload}: its {listed(own)} are in a vendor's own form, which every other "
                "provider refuses: write them as JSON schemas, which the gateway passes on."
            )


_NOT_CARRIED = {
    "assistants": "assistants",
    "built_in_tools": "built-in tools",
    "embeddings": "embeddings",
    "file_store": "the file store",
    "guardrails": "guardrails",
    "realtime": "the realtime interface",
}
"""Features of a vendor that a chat completion on another one does not have."""


_BILLED_BY_NAME = re.compile(r"(?<=\d)(?=b)|(?<=repli)(?=cate)", re.IGNORECASE)
"""Where a hyphen keeps LiteLLM from reading a size, or Replicate, in the id of a deployment."""


def deployment_id(name: str, route: str, provider: str) -> str:
    """The id of a route behind a name, by which LiteLLM looks up the price that is written.

    It bills what it takes for a model of Together by the size in the id, and of Replicate by the
    second, whatever price is written (its `cost_calculator.py`).

    >>> deployment_id("chat", "azure-llama-3.3-70b", "azure")
    'chat:azure-llama-3.3-70b'
    >>> deployment_id("chat", "hosted-llama-3.3-70b", "together")
    'chat:hosted-llama-3.3-70-b'
    """
    plain = f"{name}:{route}"
    misread = re.search("together|replicate", f"{provider} {plain}", re.IGNORECASE)
    return _BILLED_BY_NAME.sub("-", plain) if misread else plain


def _within(seconds: float | None, least: int, most: int) -> int:
    return most if seconds is None else min(max(ceil(_TIMEOUT_FACTOR * seconds), least), most)


def _provider(study: Study, route: str) -> str:
    spec = study.routes[route]
    return spec.provider if isinstance(spec, ApiRoute) else "self-hosted"


def variable(route: str, what: str) -> str:
    """The environment variable of a self-hosted route.

    >>> variable("h200-llama-3.1-8b", "API_BASE")
    'H200_LLAMA_3_1_8B_API_BASE'
    """
    name = "".join(c if c.isalnum() else "_" for c in f"{route}_{what}").upper()
    return name if name[0].isalpha() else f"ROUTE_{name}"


# --- providers and prices -----------------------------------------------------------------------


_MODES = {"embeddings": "embedding", "rerank": "rerank"}
"""What LiteLLM calls the kind of request of each name."""


def _retrieval(
    study: Study, workloads: Sequence[str]
) -> tuple[dict[str, RetrievalDeployment], list[str]]:
    """The models for embeddings and reranking by their names, and why one has no name.

    Whoever calls the gateway may send texts of any workload that it serves, so that the provider
    must be one that may process the data of each.
    """
    table = pd.read_csv(Path(__file__).with_name("retrieval_providers.csv"))
    deployments, refused = {}, []
    for name, spec in study.gateway.models.items():
        rows = table[(table["mode"] == _MODES[name]) & (table["provider"] == spec.provider)]
        if rows.empty:
            offered = table.loc[table["mode"] == _MODES[name], "provider"].unique()
            raise ValueError(
                f"gateway.{name}: LiteLLM bills no {_MODES[name]} request of {spec.provider} at a "
                f"price that is written: name one of {listed(list(offered))}, or add a row to "
                "llmstudy/export/retrieval_providers.csv."
            )
        by_end = sorted(spec.contracts, key=lambda contract: contract.valid_until)
        contracts = {str(each.kind): each.valid_until for each in by_end}
        reasons = {}
        for workload in workloads:
            data_class = study.workloads[workload].intake.data_class
            arm, matrix = str(rows["arm"].iloc[0]), privacy_matrix()
            judged = permission(data_class, arm, contracts, study.as_of, matrix)
            if not judged.permitted:
                reasons[workload] = judged.reason
        if reasons:
            why = "; ".join(dict.fromkeys(reasons.values()))
            refused.append(
                f"{name}: {spec.provider} may not process the data of {listed(list(reasons))} "
                f"({why}), so that it has no name here."
            )
            continue
        keys = dict(zip(rows["parameter"], rows["variable"], strict=True))
        prefix = str(rows["prefix"].iloc[0])
        deployments[name] = RetrievalDeployment(
            id=deployment_id(name, f"{spec.provider}-{spec.model}", spec.provider),
            mode=_MODES[name],
            provider=spec.provider,
            model=f"{prefix}/{spec.model}",
            api_base=keys.pop("api_base", None),
            keys=keys,
            input_usd_per_token=_usd_per_token(study, spec),
            usd_per_search=spec.usd_per_search if isinstance(spec, RerankModel) else None,
        )
    return deployments, refused


def _usd_per_token(study: Study, spec: EmbeddingModel | RerankModel) -> float | None:
    """The price of a token of input, the study's own or the list's; None if searches are billed."""
    if isinstance(spec, RerankModel):
        return None
    if spec.usd_per_mtok is not None:
        return spec.usd_per_mtok / 1e6
    return embedding_usd_per_mtok(spec.provider, spec.model, study.as_of) / 1e6


@cache
def _provider_table() -> pd.DataFrame:
    """What LiteLLM needs to call a provider: one row per parameter that comes from the environment.

    Columns: provider (as studies and the price list name it), prefix (LiteLLM's name of it, before
    the model's), parameter (of litellm_params), variable (of the environment), source. The reverse,
    from names in logs to providers, is `data/provider_names.csv`: there several names are one's.
    """
    return pd.read_csv(Path(__file__).with_name("providers.csv"))


def _litellm_provider(provider: str) -> tuple[str, dict[str, str]]:
    """LiteLLM's name of a provider, and the environment variable of each parameter it needs."""
    rows = _provider_table()[_provider_table()["provider"] == provider]
    if rows.empty:
        raise ValueError(
            f"{provider}: LiteLLM's name of this provider is not known, so that its routes cannot "
            "be exported: add it to llmstudy/export/providers.csv."
        )
    return str(rows["prefix"].iloc[0]), dict(zip(rows["parameter"], rows["variable"], strict=True))


def api_usd_per_token(study: Study, workload: str, route: ApiRoute) -> dict[str, float]:
    """The price of a token of a workload on an API route at the study's day. Unit: USD/token.

    Of input, cached input and output, for a prompt of the workload's length, with the negotiated
    price and the regional premium.
    """
    intake = study.workloads[workload].intake
    prompt, answer = round(intake.input_tokens.value), round(intake.output_tokens.value)
    one = {
        "ts_start": pd.Series([pd.Timestamp(study.as_of, tz="UTC")]),
        "input_tokens": pd.Series([prompt]),
        "output_tokens": pd.Series([answer]),
        "cached_input_tokens": 0,
        "cache_write_tokens": 0,
    }
    part = Part(route, one)
    bill = billed([part], study.as_of)
    cached = billed([part.all_in("cached_input_tokens")], study.as_of)
    return {
        "input_usd_per_token": bill.input_usd / prompt,
        "output_usd_per_token": bill.output_usd / answer,
        "cached_input_usd_per_token": cached.input_usd / prompt,
    }


# --- limits -------------------------------------------------------------------------------------


def _limited(study: Study, aliases: Aliases) -> dict[str, Alias]:
    """The names with each deployment's part of its route's rate limit.

    The gateway counts each deployment alone, while the provider counts the account. So the limit is
    split: over workloads by their requests or tokens, and evenly over the deployments of each.
    """
    everywhere = [(a.workload, d.route) for a in aliases.values() for d in a.deployments]

    def part(workload: str, route: str, limit: float | None, by_tokens: bool) -> int | None:
        if limit is None:
            return None
        loads = {name: _load(study, name, by_tokens) for name, at in set(everywhere) if at == route}
        share = loads[workload] / sum(loads.values())
        return max(1, floor(limit * share / everywhere.count((workload, route))))

    def limited(workload: str, deployments: Iterable[Deployment]) -> tuple[Deployment, ...]:
        limited = []
        for each in deployments:
            limits = getattr(study.routes[each.route], "rate_limit", None)
            requests, tokens = (
                getattr(getattr(limits, name, None), "value", None)
                for name in ("requests_per_minute", "tokens_per_minute")
            )
            rpm = part(workload, each.route, requests, by_tokens=False)
            tpm = part(workload, each.route, tokens, by_tokens=True)
            limited.append(replace(each, rpm=rpm, tpm=tpm))
        return tuple(limited)

    return {
        name: replace(alias, deployments=limited(alias.workload, alias.deployments))
        for name, alias in aliases.items()
    }


def _load(study: Study, workload: str, by_tokens: bool) -> float:
    """A workload's share of a limit, unscaled: its requests or its tokens a month."""
    intake = study.workloads[workload].intake
    tokens = intake.input_tokens.value + intake.output_tokens.value
    return intake.requests.value * (tokens if by_tokens else 1)
