"""A route of an evaluation: an endpoint, and what its tokens cost."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmstudy.prices.billing import PricedModel
from llmstudy.probe.endpoint import Endpoint
from llmstudy.probe.options import Billing, json_object
from llmstudy.probe.spend import TokenPrice, priced_model


@dataclass(frozen=True)
class Route:
    """What answers: a name, an endpoint of chat completions, and the price of its tokens."""

    name: str
    endpoint: Endpoint
    price: PricedModel

    @property
    def billed(self) -> bool:
        """Whether its tokens cost anything."""
        return self.price.usd_per_mtok is None or any(self.price.usd_per_mtok)

    def usd(
        self,
        input_tokens: Sequence[int],
        cached_tokens: Sequence[int],
        output_tokens: Sequence[int],
        at: datetime,
    ) -> float:
        """What answers cost together that are sent at a moment. Raises: as `price_requests`."""
        import pandas as pd

        from llmstudy.prices.billing import price_requests

        if self.price.usd_per_mtok is not None:
            tokens_of_each = zip(input_tokens, cached_tokens, output_tokens, strict=True)
            price = TokenPrice(*self.price.usd_per_mtok)
            return self.price.factor * sum(price.usd(*tokens) for tokens in tokens_of_each)
        tokens = pd.DataFrame({"input_tokens": input_tokens, "output_tokens": output_tokens})
        tokens["cached_input_tokens"] = list(cached_tokens)
        bill = price_requests(
            tokens.assign(cache_write_tokens=0, ts_start=pd.Timestamp(at)),
            {self.name: self.price},
            at.date(),
        )
        return float(bill["usd"].sum())


def route(
    name: str,
    url: str,
    model: str,
    key_env: str | None = None,
    provider: str | None = None,
    price: tuple[float, float] | None = None,
    body: Mapping[str, Any] | None = None,
    **endpoint: Any,
) -> Route:
    """A route, with the words of `llmstudy probe endpoint` and the same meanings.

    key_env: environment variable that holds the key. provider: in the price list, where the address
    does not show it. price: USD per million tokens in and out, such as of a server of your own.
    body: further fields of every request, such as `{"temperature": 0}`. endpoint: `headers` and
    `drop` of an `Endpoint`.
    Raises: ValueError for an address that may hold a key, a key that is not set, and a price that
    is neither given nor listed.

    >>> route("open", "http://127.0.0.1:8000/v1", "llama", price=(0.2, 0.6)).billed
    True
    """
    at = Endpoint(url, model, key_env=key_env, body=body or {}, **endpoint)
    if at.api != "chat":
        raise ValueError(f"route {name}: evaluations use chat completions, not {at.api}")
    return Route(name, at, priced_model(at, Billing(provider=provider, price=price)))


_WORDS = ("url", "model", "key_env", "provider", "price", "body", "drop")


def route_of(text: str) -> Route:
    """A route in one line: its name, then `word=value` with the words of `route`.

    Raises: ValueError as `route`, and for a word that is none of these, or is missing.

    >>> line = "open url=http://127.0.0.1:8000/v1 model=llama price=0.2,0.6 body='{\\"seed\\": 1}'"
    >>> route_of(line).endpoint.body
    {'seed': 1}
    """
    try:
        name, *words = shlex.split(text) or [""]
    except ValueError as error:
        raise ValueError(f"route {text!r}: {error}") from error
    pairs = dict(word.partition("=")[::2] for word in words)
    if not name or "=" in name or not {"url", "model"} <= pairs.keys() <= set(_WORDS):
        raise ValueError(
            f"route {text!r}: write 'NAME url=https://HOST/v1 model=MODEL', and where needed "
            "key_env=VARIABLE, provider=NAME, price=IN,OUT (USD per million tokens), "
            "body='{\"temperature\": 0}', drop=FIELD,FIELD"
        )
    options: dict[str, Any] = dict(pairs)
    try:
        if "price" in pairs:
            input_usd, output_usd = (float(part) for part in pairs["price"].split(","))
            options["price"] = (input_usd, output_usd)
        if "body" in pairs:
            options["body"] = json_object(pairs["body"])
        if "drop" in pairs:
            options["drop"] = tuple(pairs["drop"].split(","))
        return route(name, **options)
    except ValueError as error:
        raise ValueError(f"route {name}: {error}") from error
