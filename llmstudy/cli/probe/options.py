"""Options of `llmstudy probe`, turned into an endpoint, a load, its limits and its price."""

import ipaddress
import json
import os
import secrets
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

if TYPE_CHECKING:
    from llmstudy.probe.design import Design
    from llmstudy.probe.endpoint import Endpoint
    from llmstudy.probe.spend import TokenPrice

AN_ENDPOINT, A_LOAD, LIMITS = "The endpoint", "The load", "Limits"

Url = Annotated[
    str, typer.Argument(help="Address up to /v1, as an OpenAI client takes it.", metavar="URL")
]
Model = Annotated[
    str, typer.Option(help="Model as the endpoint names it.", rich_help_panel=AN_ENDPOINT)
]
Api = Annotated[
    str, typer.Option(help="chat or completions.", metavar="API", rich_help_panel=AN_ENDPOINT)
]
KeyEnv = Annotated[
    str | None,
    typer.Option(
        help="Environment variable that holds the key.",
        metavar="NAME",
        rich_help_panel=AN_ENDPOINT,
    ),
]
Body = Annotated[
    str | None,
    typer.Option(
        help="""Further fields of every request, as JSON: '{"temperature": 0}'.""",
        metavar="JSON",
        rich_help_panel=AN_ENDPOINT,
    ),
]
Headers = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        help="Further header, 'NAME: value' or 'NAME: $VARIABLE'; repeatable.",
        metavar="LINE",
        rich_help_panel=AN_ENDPOINT,
    ),
]
Drop = Annotated[
    list[str] | None,
    typer.Option(
        "--drop",
        help="Field that the endpoint refuses: max_tokens (the limit then goes as "
        "max_completion_tokens), max_completion_tokens, stream_options, return_token_ids; "
        "repeatable.",
        metavar="FIELD",
        rich_help_panel=AN_ENDPOINT,
    ),
]
TokenIds = Annotated[
    int | None,
    typer.Option(
        "--token-ids",
        help="Send random token ids below N: for a server without a tokenizer (completions).",
        metavar="N",
        rich_help_panel=AN_ENDPOINT,
    ),
]
InputTokens = Annotated[
    int | None, typer.Option(help="Tokens in, each request.", min=1, rich_help_panel=A_LOAD)
]
OutputTokens = Annotated[
    int | None,
    typer.Option(
        help="Most tokens out. [default: no limit, the model's own length]",
        min=1,
        rich_help_panel=A_LOAD,
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log",
        help="Request log: lengths are drawn from it, in and out together.",
        metavar="FILE",
        rich_help_panel=A_LOAD,
    ),
]
LogFormat = Annotated[
    str,
    typer.Option(help="csv, jsonl, parquet or azure.", metavar="FORMAT", rich_help_panel=A_LOAD),
]
LogColumn = Annotated[
    list[str] | None,
    typer.Option(
        help="Column of the log, 'canonical=name in the file'; repeatable.",
        metavar="A=B",
        rich_help_panel=A_LOAD,
    ),
]
SharedPrefix = Annotated[
    float,
    typer.Option(
        help="Share of the input that requests have in common; 0 keeps caches out of it.",
        min=0.0,
        max=0.99,
        rich_help_panel=A_LOAD,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        help="The same seed sends the same prompts at the same times. [default: drawn, recorded]",
        min=0,
        rich_help_panel=A_LOAD,
    ),
]
Warmup = Annotated[
    int | None,
    typer.Option(
        help="Requests before those that count. [default: a tenth, at least 5; of a closed loop at "
        "least two for each user, so that their start together is not measured]",
        min=0,
        rich_help_panel=A_LOAD,
    ),
]
MaxConcurrency = Annotated[
    int | None,
    typer.Option(help="Requests under way at once.", min=1, rich_help_panel=LIMITS),
]
RequestsPerMin = Annotated[
    float | None, typer.Option("--rpm", help="Requests a minute.", rich_help_panel=LIMITS)
]
TokensPerMin = Annotated[
    float | None, typer.Option("--tpm", help="Tokens a minute.", rich_help_panel=LIMITS)
]
MaxErrors = Annotated[
    int,
    typer.Option(
        help="So many failed requests stop it, once more than half have failed.",
        min=1,
        rich_help_panel=LIMITS,
    ),
]
MaxSpend = Annotated[
    float | None,
    typer.Option(
        help="USD at which it stops; needed where requests are billed.",
        metavar="USD",
        rich_help_panel=LIMITS,
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(
        help="Provider in the price list, where the address does not tell.",
        rich_help_panel=LIMITS,
    ),
]
Price = Annotated[
    str | None,
    typer.Option(
        help="USD per million tokens, 'input,output'; 0,0 for a server of your own.",
        metavar="IN,OUT",
        rich_help_panel=LIMITS,
    ),
]
Timeout = Annotated[
    str, typer.Option(help="Of one request, retries included.", rich_help_panel=LIMITS)
]
Retries = Annotated[
    int, typer.Option("--max-retries", help="Of one request.", min=0, rich_help_panel=LIMITS)
]

_PROVIDERS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
}


def endpoint_of(
    url: str,
    model: str,
    api: str,
    key_env: str | None,
    body: str | None,
    headers: Iterable[str] | None,
    drop: Iterable[str] | None,
) -> "Endpoint":
    """Raises: ValueError for what cannot be sent."""
    from llmstudy.probe.endpoint import Endpoint

    if api not in ("chat", "completions"):
        raise ValueError(f"--api {api}: write chat or completions")
    try:
        fields = json.loads(body) if body else {}
    except ValueError as error:
        raise ValueError(f"--body is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError("--body must be a JSON object, such as '{\"temperature\": 0}'")
    named: Any = api
    lines = dict(map(_header, headers or ()))
    return Endpoint(url.rstrip("/"), model, named, key_env, fields, lines, tuple(drop or ()))


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    value = value.strip()
    if not (colon and name and value):
        raise ValueError(f"--header {name!r}: write 'NAME: value'")
    if value.startswith("$"):
        variable = value[1:]
        if variable not in os.environ:
            raise ValueError(f"--header {name}: {variable} is not set")
        value = os.environ[variable]
    return name.strip(), value


def price_of(
    url: str,
    model: str,
    provider: str | None,
    price: str | None,
    max_spend: float | None,
    has_key: bool = False,
) -> "TokenPrice":
    """The price of requests: as given, by the price list, or nothing on a private machine.

    has_key: whether a key or header goes with the requests: a private machine may then be a gateway
    to one that bills.
    Raises: ValueError where the price is unknown, or a billed endpoint would be used without a cap.
    """
    from llmstudy.prices.api import rate
    from llmstudy.probe.spend import FREE, TokenPrice

    host = urlsplit(url).hostname or ""
    provider = provider or _PROVIDERS.get(host)
    if price is not None:
        try:
            input_usd, output_usd = (float(part) for part in price.split(","))
        except ValueError as error:
            raise ValueError(
                f"--price {price}: write USD per million tokens in and out, such as 2.5,10"
            ) from error
        token_price = TokenPrice(input_usd, input_usd, output_usd)
    elif provider is not None:
        listed = rate(provider, model, date.today())
        token_price = TokenPrice(
            listed.input_usd_per_mtok,
            listed.cached_input_usd_per_mtok,
            listed.output_usd_per_mtok,
        )
    elif _is_private(host) and not has_key:
        return FREE
    else:
        behind = ", or what it hands them on to with their key," if _is_private(host) else ""
        raise ValueError(
            f"nothing is known of what {host}{behind} bills: give --price IN,OUT (USD per million "
            "tokens; 0,0 if it bills nothing), or --provider as the price list names it"
        )
    if token_price != FREE and max_spend is None:
        raise ValueError(f"{host} bills its requests: say with --max-spend how many USD at most")
    return token_price


def _is_private(host: str) -> bool:
    """Whether a host is this machine or on a private network."""
    if host == "localhost" or host.endswith((".local", ".internal")):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False


def log_of(file: Path | None, format: str, columns: Iterable[str] | None) -> Any:
    """The accepted requests of a log, None without one. Raises: ValueError if it cannot be read."""
    if file is None:
        return None
    from llmstudy.requests.importers import read_log

    names = dict(pair.split("=", 1) for pair in columns or () if "=" in pair)
    filled = {"workload": "log", "provider": "log", "model_served": "log", "ok": "true"}
    constants = {name: value for name, value in filled.items() if name not in names}
    read = read_log(file, format, names, constants)
    if read.accepted.empty:
        raise ValueError(f"{file}: none of its {read.rows_read} rows is a request")
    return read.accepted


def seconds(text: str | None, option: str) -> float | None:
    """A time with its unit. Raises: ValueError that names the option."""
    from llmstudy import units

    if text is None:
        return None
    try:
        return units.parse(text, "s")
    except ValueError as error:
        raise ValueError(f"{option} {error}") from error


def seed_of(seed: int | None) -> int:
    """The seed given, or a new one: prompts that an earlier run has sent may be cached."""
    return secrets.randbits(31) if seed is None else seed


def warmup_of(warmup: int | None, n: int, users: int | None = None) -> int:
    """Requests of warm-up: as given, else a tenth, at least five and two for each user.

    The users of a closed loop begin at once: by their second request they have drifted apart.

    >>> warmup_of(None, 400), warmup_of(None, 400, users=64), warmup_of(0, 400)
    (40, 128, 0)
    """
    return max(n // 10, 5, 2 * (users or 0)) if warmup is None else warmup


def folder_of(out: Path | None, target: "Endpoint") -> Path:
    """The folder of a run: as given, else named by host and time."""
    return out or Path("probes", f"{target.host}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")


def say_cost(design: "Design", price: "TokenPrice", max_spend: float | None) -> None:
    """Prints before the start what a load costs at most, and where it stops."""
    from llmstudy.cli.terminal import say
    from llmstudy.probe.spend import FREE, checks_usd, estimated_usd

    if price == FREE:
        return
    plan = design.plan()
    say(
        f"This costs at most USD {estimated_usd(plan, price):.2f}, and USD "
        f"{checks_usd(plan, price):.2g} for the two requests before each load. It stops at USD "
        f"{max_spend:.2f}."
    )
