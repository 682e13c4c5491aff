"""When did each piece of a response arrive? HTTP/1.1 connections that stamp bytes as they come.

A general client hands the bytes to a task that wakes up later, after every other that is ready,
and a client under load then measures itself. Here the time is taken where the bytes arrive, before
anything else is done with them; httptools, in C, takes the response apart. `benchmarks/probe.py`
measures what that is worth against the other load tools and the `openai` client.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol, cast
from urllib.parse import urlsplit

import httptools


class Receiver(Protocol):
    """Who is told of a response as it comes."""

    def begin(self, status: int, headers: Mapping[str, str], at: float) -> None: ...  # noqa: D102
    def feed(self, data: bytes, at: float) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class Opening:
    """Seconds that it took to open a connection; tls_s is 0 where there is none."""

    dns_s: float
    tcp_s: float
    tls_s: float


class Connection(asyncio.Protocol):
    """One connection, which carries one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._headers: dict[str, str] = {}
        self._over: asyncio.Future[None] | None = None
        self._at = 0.0
        self.reusable = False

    async def send(self, request: bytes, receiver: Receiver) -> None:
        """Sends a request as it stands, and returns when its response is over.

        Raises: ConnectionError if the connection ends before the response does.
        """
        assert self._transport is not None
        self.reusable = False
        self._receiver, self._headers = receiver, {}
        self._parser = httptools.HttpResponseParser(self)
        self._over = asyncio.get_running_loop().create_future()
        if self._transport.is_closing():
            raise ConnectionResetError("the server closed the connection")
        self._transport.write(request)
        await self._over

    def close(self) -> None:
        """Ends the connection, whatever is under way on it."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    # ---- called by the event loop ----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport; after STARTTLS it is another."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        """Stamps the bytes first."""
        self._at = perf_counter()
        if self._over is None or self._over.done():
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.close()
            self._fail(ConnectionError(f"not an HTTP response: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        """A response under way is cut."""
        self.reusable = False
        self._fail(ConnectionResetError(f"the server closed the connection: {error or 'EOF'}"))

    def _fail(self, error: ConnectionError) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_exception(error)

    # ---- called by the parser ----------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """All headers."""
        assert self._receiver is not None
        self._receiver.begin(self._parser.get_status_code(), self._headers, self._at)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        assert self._receiver is not None
        self._receiver.feed(data, self._at)

    def on_message_complete(self) -> None:
        """The end of the response."""
        self.reusable = self._parser.should_keep_alive()
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


class Connections:
    """The connections to one origin: opened when none is free, kept for the next request."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of an endpoint: write https://HOST/v1")
        self._host = parts.hostname
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._free: list[Connection] = []

    async def take(self) -> tuple[Connection, Opening | None]:
        """A free connection, or a new one with what its opening took.

        Raises: OSError if none can be opened.
        """
        while self._free:
            connection = self._free.pop()
            if connection.reusable:
                return connection, None
        return await self._open()

    def give_back(self, connection: Connection) -> None:
        """Keeps a connection for the next request, unless it is spoilt."""
        if connection.reusable:
            self._free.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Ends the free connections."""
        while self._free:
            self._free.pop().close()

    async def _open(self) -> tuple[Connection, Opening]:
        loop = asyncio.get_running_loop()
        began = perf_counter()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        named = perf_counter()
        transport, connection = await self._connect([str(place[4][0]) for place in found])
        connected = perf_counter()
        if self._tls:
            secure = await loop.start_tls(
                transport, connection, self._tls, server_hostname=self._host
            )
            assert secure is not None
            connection.connection_made(secure)
        return connection, Opening(named - began, connected - named, perf_counter() - connected)

    async def _connect(self, addresses: list[str]) -> tuple[asyncio.Transport, Connection]:
        """Tries the addresses of a name in turn; when none answers, the last error is raised."""
        loop = asyncio.get_running_loop()
        error = OSError(f"{self._host} has no address")
        for address in addresses:
            try:
                return await loop.create_connection(Connection, address, self._port)
            except OSError as refused:
                error = refused
        raise error
