"""The drill: every fault at every name of a running gateway, and every request accounted for.

What the gateway is to save, it must save: another upstream answers, after one attempt, at the
price of the plan, and the log says so. What no gateway can save is counted and said.
"""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from llmstudy.export import client, proxy
from llmstudy.export.accounting import Reply
from llmstudy.export.check import CACHED_PRICE, PRICES, RETRIEVAL_PRICES, fallbacks_of
from llmstudy.export.copies import (
    KEY,
    TIMEOUT_S,
    Chain,
    Copy,
    Retrieval,
    drill_copy,
)
from llmstudy.export.upstreams import EMBEDDED_TOKENS, FAULTS, USAGE, Upstreams, upstreams
from llmstudy.text import listed

LOG_VARIABLE = "LLMSTUDY_GATEWAY_LOG"
"""Names the file that the export's callback writes its rows to."""

FORM: Mapping[str, Any] = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {"refund": {"type": "boolean"}},
                "required": ["refund"],
                "additionalProperties": False,
            },
        },
    },
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "order",
                "description": "Looks up an order.",
                "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}},
            },
        }
    ],
    "tool_choice": "auto",
}
"""What a request may ask for that must reach the upstream as it was sent."""

TOGETHER = {"first two down": "500", "all down": "500"}
"""Faults of several upstreams at once."""

_SLOW = ("hang", "slow first token")
_APART_S = 0.3
_ONLY_WHOLE = ("cut", "clean end", "empty")
"""Faults that a gateway can see only where it has the whole answer: not in a stream."""
_WEIGHT_REQUESTS = 200
_LEAST_P = 1e-5
"""Weights are wrong where counts as far off are less likely than this."""
_SLACK_S, _SLACK_FACTOR = 2.0, 10.0
"""What a failover may take beside the timeouts, and over what a request takes while all is well."""
_FEW_SHARE = 0.2
"""Of all chains: where more than these show a fault, it is no chance."""
_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Drill:
    """What a drill of one configuration saw.

    table: one row per fault and way of answering (streamed or not): what became of the requests.
    retrieval: one row per request for embeddings or reranking: name, fault, verdict.
    weights: how often each deployment of a name answered. faults: what is wrong with the
    configuration, in sentences. alone: names whose only upstream nothing stands in for. changes:
    what was drilled otherwise than the file has it.
    """

    table: pd.DataFrame
    retrieval: pd.DataFrame
    weights: pd.DataFrame
    faults: tuple[str, ...]
    alone: tuple[str, ...]
    changes: tuple[str, ...]
    requests: int
    start_s: float
    drill_s: float


@dataclass(frozen=True)
class Sent:
    """A request, what came, and how often its upstream was tried. recovered: after the fault."""

    identity: str
    chain: Chain
    reply: Reply
    attempts: int = 0
    recovered: bool = False

    @property
    def saved(self) -> bool:
        """Whether another upstream than the one it was meant for answered."""
        return self.reply.verdict == "answered" and (
            self.reply.answered_by != self.chain.primary.upstream
        )


@dataclass(frozen=True)
class Retrieved:
    """A request for embeddings or reranking, and what came."""

    identity: str
    retrieval: Retrieval
    reply: Reply


def drill(
    config: Mapping[str, Any],
    modules: Iterable[Path],
    python: Path,
    say: Callable[[str], None] = lambda line: None,
) -> Drill:
    """Starts the gateway with a copy of a configuration and drills it. See `copies`.

    modules: Python files that its callbacks need. python: an interpreter that has LiteLLM.
    Raises: ValueError if the gateway does not start.
    """
    copied = drill_copy(config, [*FAULTS, *TOGETHER])
    with upstreams(copied.upstreams) as mocks, TemporaryDirectory(prefix="llmstudy-") as name:
        folder = Path(name)
        for module in modules:
            shutil.copy(module, folder)
        urls = {name: mocks[name].base_url for name in copied.upstreams}
        rows = folder / "rows.jsonl"
        variables = {LOG_VARIABLE: str(rows)}
        addressed = copied.addressed(urls)
        with proxy.running(addressed, folder, python, KEY, variables, mocks.trap_url) as gateway:
            say(f"The gateway is ready after {gateway.start_s:.1f} s.")
            started = time.monotonic()
            prices = gateway.get("/model/info")["data"]
            _warm_up(gateway, copied)
            spread = _spread(gateway, copied)
            formed = _formed(gateway, copied)
            retrieved = _retrieved(gateway, mocks, copied)
            sent = _all_chains(gateway, mocks, copied)
            doubtful = _doubtful(copied, sent)
            again = _all_chains(gateway, mocks, replace(copied, chains=doubtful), turn=2)
            judged = [each for each in sent if each.chain not in doubtful] + again
            sent += again
            _check_health(gateway, copied)
            chats = [*spread, *formed, *sent]
            expected = {each.identity for each in chats if not _unlogged(each.chain)}
            _wait_for_rows(rows, expected | {each.identity for each in retrieved})
            took_s = time.monotonic() - started
        output = gateway.output()
        log = _read_rows(rows)
        weights = _weights(copied, spread)
        faults = [
            *_of_the_start(output, mocks),
            *_of_prices(copied, prices),
            *_of_weights(weights),
            *_of_forms(mocks, formed),
            *_of_chains(copied, judged, _slack_s(sent)),
            *_of_rows(chats, log, rows),
            *_of_retrieved(retrieved, prices, log),
        ]
    return Drill(
        _table(sent, log),
        _retrieval_table(retrieved),
        weights,
        tuple(dict.fromkeys(faults)),
        tuple(dict.fromkeys(each.of for each in copied.chains if not each.others)),
        (*copied.changes, *_unformed(formed)),
        len(chats) + len(retrieved),
        gateway.start_s,
        took_s,
    )


# --- sending --------------------------------------------------------------------------------------


def _warm_up(gateway: proxy.Proxy, copied: Copy) -> None:
    """The first request of a gateway takes up to a second; it tells nothing."""
    for streamed in (False, True):
        client.send(gateway.base_url, KEY, next(iter(copied.shares)), "warm-up", streamed)


def _spread(gateway: proxy.Proxy, copied: Copy) -> list[Sent]:
    """Requests to the file's own names while all is well: many where weights share them out."""
    work = [
        _well(copied, name)
        for name, routes in copied.shares.items()
        for _ in range(_WEIGHT_REQUESTS if len(routes) > 1 else 1)
    ]

    def send(i: int) -> Sent:
        identity = f"spread-{i}"
        reply = client.send(gateway.base_url, KEY, work[i].name, identity, False)
        return Sent(identity, work[i], reply)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(send, range(len(work))))


def _well(copied: Copy, name: str) -> Chain:
    """A name of the file, whose deployments and fallbacks are all well."""
    names = (name, *fallbacks_of(copied.config).get(name, ()))
    first, *others = [route for each in names for route, _ in copied.shares.get(each, ())]
    return Chain(name, name, "healthy", False, first, tuple(others))


def _formed(gateway: proxy.Proxy, copied: Copy) -> list[Sent]:
    """A request to each of the file's own names that asks for a JSON schema, or may use a tool."""
    sent = []
    for i, name in enumerate(copied.shares):
        reply = client.send(gateway.base_url, KEY, name, f"form-{i}", False, form=FORM)
        sent.append(Sent(f"form-{i}", _well(copied, name), reply))
    return sent


def _retrieved(gateway: proxy.Proxy, mocks: Upstreams, copied: Copy) -> list[Retrieved]:
    """One request to each name for embeddings or reranking, while its upstream has the fault; a
    second where the first shows a fault, since a busy machine is late now and then."""

    def sent(each: Retrieval, turn: int = 1) -> Retrieved:
        mocks.set_fault(each.upstream, each.fault)
        identity = f"{each.name}-{turn}"
        reply = client.retrieve(gateway.base_url, KEY, each.name, identity, each.mode)
        if reply.verdict != each.wanted and turn == 1:
            return sent(each, turn=2)
        return Retrieved(identity, each, reply)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(sent, copied.retrieval))


def _doubtful(copied: Copy, sent: Sequence[Sent]) -> tuple[Chain, ...]:
    """The few chains that a fault was seen at, which are drilled once more, with less beside them:
    a busy machine is late now and then, a configuration fails every time."""
    one_each = (replace(copied, chains=(chain,)) for chain in copied.chains)
    slack_s = _slack_s(sent)
    seen = tuple(one.chains[0] for one in one_each if any(_of_chains(one, sent, slack_s)))
    return seen if len(seen) <= _FEW_SHARE * len(copied.chains) else ()


def _all_chains(gateway: proxy.Proxy, mocks: Upstreams, copied: Copy, turn: int = 1) -> list[Sent]:
    """Drills all chains: side by side where they mostly wait, else few at a time."""
    slow = [chain for chain in copied.chains if chain.fault in _SLOW]
    fast = [chain for chain in copied.chains if chain.fault not in _SLOW]

    def drilled(chain: Chain, after_s: float = 0.0) -> tuple[list[Sent], float]:
        time.sleep(after_s)
        sent = _one_chain(gateway, mocks, copied, chain, turn)
        return sent, time.monotonic()

    def recovered(item: tuple[Chain, tuple[list[Sent], float]]) -> Sent:
        chain, (_, ended) = item
        return _recovery(gateway, copied, chain, ended, turn)

    with ThreadPoolExecutor(32) as patient, ThreadPoolExecutor(2) as few:
        # their timeouts are not to end all at once, which no gateway on one core would stand
        waiting = [patient.submit(drilled, chain, _APART_S * i) for i, chain in enumerate(slow)]
        results = list(few.map(drilled, fast)) + [future.result() for future in waiting]
        pairs = list(zip([*fast, *slow], results, strict=True))
        after = list(few.map(recovered, pairs))
    return [each for sent, _ in results for each in sent] + after


def _one_chain(
    gateway: proxy.Proxy, mocks: Upstreams, copied: Copy, chain: Chain, turn: int
) -> list[Sent]:
    """Sends one request after another while the fault is there, one more than trips a cooldown."""
    broken = [chain.primary.upstream]
    others = [route.upstream for route in chain.others]
    if chain.fault in TOGETHER:
        broken += others[:1] if chain.fault == "first two down" else others
    for name in broken:
        mocks.set_fault(name, TOGETHER.get(chain.fault, chain.fault))
    sent = []
    for i in range(copied.attempts + 1):
        identity = f"{chain.name}-{turn}-{i}"
        reply = client.send(gateway.base_url, KEY, chain.name, identity, chain.streamed)
        bodies = list(mocks[chain.primary.upstream].bodies)
        attempts = sum(body["messages"][0]["content"] == identity for body in bodies)
        sent.append(Sent(identity, chain, reply, attempts))
        if attempts > chain.tries:
            break  # a fault already; with back-off each request takes its ten seconds
    for name in broken:
        mocks.set_fault(name, "healthy")
    return sent


def _recovery(gateway: proxy.Proxy, copied: Copy, chain: Chain, ended: float, turn: int) -> Sent:
    """One request when the cooldown is over: the primary is to answer again."""
    time.sleep(max(0.0, ended + copied.cooldown_s + 0.5 - time.monotonic()))
    identity = f"{chain.name}-{turn}-after"
    reply = client.send(gateway.base_url, KEY, chain.name, identity, chain.streamed)
    return Sent(identity, chain, reply, 1, recovered=True)


def _check_health(gateway: proxy.Proxy, copied: Copy) -> None:
    """Asks for the health of one name, as a probe might: it is paid for, and no request."""
    with suppress(OSError):  # status 503 where it is not well
        gateway.get(f"/health?model={quote(next(iter(copied.shares)))}")


def _wait_for_rows(rows: Path, expected: Set[str]) -> None:
    """The gateway logs after it has answered: until each request has a row, and none is added."""
    until, before = time.monotonic() + _PATIENCE_S, -1
    while time.monotonic() < until:
        log = _read_rows(rows)
        if len(log) == before and expected <= set(map(_session, log)):
            return
        before = len(log)
        time.sleep(1.0)


def _read_rows(rows: Path) -> list[dict[str, Any]]:
    if not rows.exists():
        return []
    lines = rows.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


# --- what is wrong --------------------------------------------------------------------------------


def _of_the_start(output: str, mocks: Upstreams) -> Iterator[str]:
    for line in output.splitlines():
        if "is not a valid argument for Router" in line:
            yield f"The gateway ignores a key of router_settings: {line.strip()[-160:]}"
    if mocks.dialled:
        yield f"The gateway wants to leave loopback, for {listed(sorted(set(mocks.dialled)))}."
    refused = {name for upstream in mocks.by_name.values() for name in upstream.refused}
    if refused:
        yield (
            f"{listed(sorted(refused))}: sent to the upstreams as part of every request, since "
            "LiteLLM has no such key: mend or remove it in litellm_params."
        )


def _of_prices(copied: Copy, info: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names = (*PRICES, CACHED_PRICE)
    there: dict[str, list[Mapping[str, Any]]] = {}
    for row in info:
        there.setdefault(row["model_name"], []).append(row["model_info"])
    for name, routes in copied.shares.items():
        for number, (route, _) in enumerate(routes):
            shown = there.get(name, [])
            if len(shown) <= number:
                yield f"{name}: /model/info does not list {route.deployment}."
                continue
            price = route.price
            wanted = (price.input_usd, price.output_usd, price.cached_input_usd)
            for key, usd in zip(names, wanted, strict=True):
                now = shown[number].get(key)
                if not now and not (key == names[2] and usd is None):
                    yield (
                        f"{name}: {key} of {route.deployment} is {now}, so that its answers would "
                        "be logged as free: write the price into litellm_params."
                    )
                elif usd is None and key != names[2]:
                    yield (
                        f"{name}: {key} of {route.deployment} is not in the file; the gateway "
                        f"takes {now:g} from its own list: write the price into litellm_params."
                    )
                elif now and usd is not None and abs(now - usd) > 1e-9 * usd:
                    yield f"{name}: {key} of {route.deployment} is {now:g}, not {usd:g}."


def _of_weights(weights: pd.DataFrame) -> Iterator[str]:
    for row in weights[weights["p"] < _LEAST_P].to_dict("records"):
        yield (
            f"{row['name']}: {row['deployment']} answered {row['answered']} of {row['requests']} "
            f"requests, where its weight says {row['share']:.1%}: see that all its weights are set."
        )


def _slack_s(sent: Sequence[Sent]) -> float:
    """What a failover may take beside the timeouts, on this machine as busy as it is."""
    well = [each.reply.whole_s for each in sent if each.chain.fault == "healthy" or each.recovered]
    return _SLACK_S + _SLACK_FACTOR * float(np.quantile(well, 0.95))


def _of_forms(mocks: Upstreams, formed: Sequence[Sent]) -> Iterator[str]:
    for each in formed:
        if each.reply.verdict != "answered":
            continue
        bodies = mocks[str(each.reply.answered_by)].bodies
        body = next(b for b in bodies if b["messages"][0]["content"] == each.identity)
        if lost := [name for name, value in FORM.items() if body.get(name) != value]:
            yield (
                f"{each.chain.of}: {listed(lost)} did not reach the upstream as it was sent, but "
                "the answer came as if it had: leave out what drops or changes it."
            )


def _unformed(formed: Sequence[Sent]) -> Iterator[str]:
    """What the gateway refuses in place of the provider, in sentences."""
    if refused := [each.chain.of for each in formed if each.reply.verdict != "answered"]:
        yield f"{listed(refused)}: LiteLLM refuses a request with a JSON schema and a tool."


def _of_chains(copied: Copy, sent: Sequence[Sent], slack_s: float) -> Iterator[str]:
    for chain in copied.chains:
        mine = [each for each in sent if each.chain == chain and not each.recovered]
        [after] = [each for each in sent if each.chain == chain and each.recovered]
        yield from _of_chain(copied, chain, mine, slack_s)
        reply = after.reply
        if reply.verdict != "answered" or reply.answered_by != chain.primary.upstream:
            yield (
                f"{_at(chain)}: {copied.cooldown_s + 0.5:.1f} s after the fault was mended its "
                f"upstream does not answer ({_what(reply)}): see cooldown_time."
            )


def _of_chain(
    copied: Copy, chain: Chain, sent: Sequence[Sent], slack_s: float = _SLACK_S
) -> Iterator[str]:
    lost = [each for each in sent if each.reply.verdict != "answered"]
    if chain.fault == "all down":
        if any(each.reply.verdict != "failed" for each in sent):
            yield f"{_at(chain)}: a client is not told that it failed ({_what(sent[0].reply)})."
        return
    able = (chain.primary, *chain.others)[-1]
    if _saves(chain) and lost:
        yield (
            f"{_at(chain)}: {len(lost)} of {len(sent)} requests were not answered "
            f"({_what(lost[0].reply)}), although {able.deployment} could: see its "
            "fallbacks."
        )
    if chain.fault == "healthy":
        return
    tries = max((each.attempts for each in sent), default=0)
    if chain.others and tries > chain.tries:  # a lone upstream may be tried again
        yield (
            f"{_at(chain)}: the same upstream was tried {tries} times for one request before "
            "another was: write num_retries 0 where there is a fallback."
        )
    reached = sum(each.attempts > 0 for each in sent)
    if chain.fault in ("500", "429", "hang") and reached > copied.attempts:
        yield (
            f"{_at(chain)}: it never cools down: {reached} of {len(sent)} requests had to wait for "
            f"it: cooldown_time must be longer than {copied.attempts} timeouts, and allowed_fails "
            "be written."
        )
    waits = [each.reply.failover_s for each in sent if each.saved]
    if waits and np.quantile(waits, 0.95) > chain.tries * TIMEOUT_S + slack_s:
        yield f"{_at(chain)}: failover took {max(waits):.1f} s, with a timeout of {TIMEOUT_S:g} s."


def _of_rows(sent: Sequence[Sent], log: Sequence[Mapping[str, Any]], file: Path) -> Iterator[str]:
    """Faults of the log: by itself, and as our own importer reads it."""
    if not log:
        yield (
            "The gateway wrote no row of its log: litellm_settings.callbacks must name the "
            "export's log_rows.handler."
        )
        return
    rows = Counter(_session(row) for row in log)
    for each in sent:
        if not rows[each.identity] and not _unlogged(each.chain):
            yield f"{_at(each.chain)}: a request has no row in the log ({each.identity})."
    yield from _of_import(sent, file)


def _of_import(sent: Sequence[Sent], file: Path) -> Iterator[str]:
    from llmstudy.requests.importers import read_log

    log = read_log(file)
    accepted = log.accepted
    own = accepted[accepted["session_id"].isin([each.identity for each in sent])]
    if n := int((~accepted["session_id"].isin([*own["session_id"], "warm-up"])).sum()):
        yield f"The importer takes {n} rows for requests that nobody sent, such as health checks."
    if len(log.lost):
        yield f"The importer cannot read {len(log.lost)} rows: {log.lost['reason'].iloc[0]}."
    by_identity = dict(iter(own.groupby("session_id")))
    wanted_usd = logged_usd = 0.0
    for each in sent:
        answered = each.reply.verdict == "answered"
        logged = by_identity.get(each.identity)
        n = 0 if logged is None else len(logged)
        if not answered or n == 0:
            continue
        assert logged is not None
        row = logged.iloc[-1]
        if n > 1 or not row["ok"]:
            yield (
                f"{_at(each.chain)}: the importer reads one answered request as {n} rows, "
                f"{int(logged['ok'].sum())} of them answered."
            )
            continue
        tokens = (row["input_tokens"], row["cached_input_tokens"], row["output_tokens"])
        if tokens != _tokens():
            yield f"{_at(each.chain)}: tokens are logged as {tokens}, not {_tokens()}."
        usd = each.chain.prices[str(each.reply.answered_by)].of(*_tokens())
        wanted_usd, logged_usd = wanted_usd + usd, logged_usd + float(row["logged_usd"])
        if abs(float(row["logged_usd"]) - usd) > 1e-6 * usd:
            yield (
                f"{each.chain.of}: an answer of {_deployment(each)} is logged at USD "
                f"{row['logged_usd']:.3g}, where its price makes {usd:.3g}."
            )
    if abs(wanted_usd - logged_usd) > 1e-6 * wanted_usd:
        yield f"The log sums to USD {logged_usd:.6g}, the answers to {wanted_usd:.6g}."


def _of_retrieved(
    retrieved: Sequence[Retrieved],
    info: Sequence[Mapping[str, Any]],
    log: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    """Faults of embeddings and reranking: of what came, and of its price at the gateway and in the
    log. That the importer counts none of it as a chat, `_of_import` sees."""
    shown = {row["model_name"]: row["model_info"] for row in info}
    for each in retrieved:
        asked, reply = each.retrieval, each.reply
        at, key = f"{asked.of}, {asked.fault}", RETRIEVAL_PRICES[asked.mode]
        if reply.verdict != asked.wanted or reply.answered_by not in (None, asked.upstream):
            yield f"{at}: the client's request is {_what(reply)}, where it is to be {asked.wanted}."
        now = shown.get(asked.name, {}).get(key)
        if not asked.usd or not now or abs(now - asked.usd) > 1e-9 * asked.usd:
            yield (
                f"{asked.of}: {key} is {now} at the gateway and {asked.usd} in the file: write the "
                "price into litellm_params."
            )
            continue
        rows = [row for row in log if _session(row) == each.identity]
        if not rows:
            yield f"{at}: a request has no row in the log ({each.identity})."
        elif reply.verdict == "answered":
            usd = asked.usd * (EMBEDDED_TOKENS if asked.mode == "embedding" else 1)
            logged_usd = sum(float(row.get("response_cost") or 0) for row in rows)
            if abs(logged_usd - usd) > 1e-6 * usd:
                yield f"{at}: an answer is logged at USD {logged_usd:.3g}, not {usd:.3g}."


# --- tables ---------------------------------------------------------------------------------------


def _table(sent: Sequence[Sent], log: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per fault and way of answering. Times in seconds, costs in USD per request."""
    rows = Counter(_session(row) for row in log)
    lines = []
    for fault in [*FAULTS, *TOGETHER, "recovered"]:
        for streamed in (False, True):
            mine = [
                each
                for each in sent
                if each.chain.streamed == streamed
                and (each.recovered if fault == "recovered" else each.chain.fault == fault)
                and (each.recovered or fault != "recovered")
                and (fault == "recovered" or not each.recovered)
            ]
            verdicts = Counter(each.reply.verdict for each in mine)
            saved = [each for each in mine if each.saved]
            waits = [each.reply.failover_s for each in saved]
            lines.append(
                {
                    "fault": fault,
                    "streamed": streamed,
                    "requests": len(mine),
                    "by_primary": verdicts["answered"] - len(saved),
                    "by_fallback": len(saved),
                    "failed": verdicts["failed"],
                    "truncated": verdicts["truncated"],
                    "silent": sum(each.reply.silent for each in mine),
                    "without_log_row": sum(not rows[each.identity] for each in mine),
                    "failover_p50_s": float(np.quantile(waits, 0.5)) if waits else None,
                    "failover_p95_s": float(np.quantile(waits, 0.95)) if waits else None,
                    "fallback_usd": mean(map(_paid, saved)) if saved else None,
                    "primary_usd": mean(map(_meant, saved)) if saved else None,
                }
            )
    return pd.DataFrame(lines)


def _retrieval_table(retrieved: Sequence[Retrieved]) -> pd.DataFrame:
    rows = [(each.retrieval.of, each.retrieval.fault, each.reply.verdict) for each in retrieved]
    return pd.DataFrame(rows, columns=["name", "fault", "verdict"])


def _weights(copied: Copy, sent: Sequence[Sent]) -> pd.DataFrame:
    """How often each deployment of a name answered. p: of a share as far from its weight's."""
    from scipy.stats import binomtest

    lines = []
    for name, routes in copied.shares.items():
        mine = [each for each in sent if each.chain.of == name]
        if len(routes) == 1:
            continue
        for route, share in routes:
            n = sum(each.reply.answered_by == route.upstream for each in mine)
            lines.append(
                {
                    "name": name,
                    "deployment": route.deployment,
                    "share": share,
                    "answered": n,
                    "requests": len(mine),
                    "p": float(binomtest(n, len(mine), min(share, 1.0)).pvalue),
                }
            )
    columns = ["name", "deployment", "share", "answered", "requests", "p"]
    return pd.DataFrame(lines, columns=columns)


def limits_of(table: pd.DataFrame) -> list[str]:
    """What a gateway cannot save, in sentences with its share. table: of one drill or several."""
    sentences = []
    for fault in _ONLY_WHOLE:
        for streamed in (False, True):
            rows = table[(table["fault"] == fault) & (table["streamed"] == streamed)]
            n = int(rows["requests"].sum())
            lost = n - int(rows[["by_primary", "by_fallback"]].sum().sum())
            if lost == 0:
                continue
            sentences.append(
                f"{'A stream' if streamed else 'An answer in one piece'} whose upstream "
                f"{FAULTS[fault]} is not saved: {lost} of {n} were lost ({lost / n:.0%}), and "
                + (
                    "nothing but its length tells the client."
                    if rows["silent"].sum()
                    else "the client, who is told by an error, must send it again."
                )
            )
    return sentences


# --- small ----------------------------------------------------------------------------------------


def _saves(chain: Chain) -> bool:
    """Whether a gateway with this chain is to save every request."""
    if chain.fault == "healthy":
        return True
    if chain.fault in _ONLY_WHOLE:
        return False
    return len(chain.others) > (1 if chain.fault == "first two down" else 0)


def _unlogged(chain: Chain) -> bool:
    """LiteLLM 1.106.2 writes no row for a stream in which nothing came."""
    return chain.fault == "empty" and chain.streamed


def _tokens() -> tuple[int, int, int]:
    details: Any = USAGE["prompt_tokens_details"]
    return (
        int(str(USAGE["prompt_tokens"])),
        int(details["cached_tokens"]),
        int(str(USAGE["completion_tokens"])),
    )


def _paid(each: Sent) -> float:
    return each.chain.prices[str(each.reply.answered_by)].of(*_tokens())


def _meant(each: Sent) -> float:
    return each.chain.primary.price.of(*_tokens())


def _deployment(each: Sent) -> str:
    routes = {r.upstream: r for r in (each.chain.primary, *each.chain.others)}
    return routes[str(each.reply.answered_by)].deployment


def _session(row: Mapping[str, Any]) -> str:
    metadata = (row.get("metadata") or {}).get("requester_metadata") or {}
    return str(row.get("session_id") or metadata.get("session_id") or "")


def _at(chain: Chain) -> str:
    way = "streamed" if chain.streamed else "in one piece"
    return f"{chain.of}, {chain.fault}, {way}"


def _what(reply: Reply) -> str:
    by = f" by {reply.answered_by}" if reply.answered_by else ""
    return f"{reply.verdict}{by}"
