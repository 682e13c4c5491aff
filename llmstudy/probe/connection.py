"""HTTP/1.1 connections that record the time at which each piece of a response arrives.

A general client hands the bytes to a task that wakes up later, after every other that is ready,
and a client under load then measures itself. Here the time is taken where the bytes arrive, before
anything else is done with them; httptools, in C, parses the response. `benchmarks/probe.py`
compares that with the other load tools and the `openai` client.
"""

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol, cast
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httptools


class Receiver(Protocol):
    """Receives a response as it arrives."""

    def begin(self, status: int, headers: Mapping[str, str], at: float) -> None: ...  # noqa: D102
    def feed(self, data: bytes, at: float) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class Opening:
    """Seconds that it took to open a connection; tls_s is 0 where there is none.

    Through a proxy, the name and the connection are the proxy's, its CONNECT within tcp_s.
    """

    dns_s: float
    tcp_s: float
    tls_s: float


class Connection(asyncio.Protocol):
    """One connection, which carries one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._headers: dict[str, str] = {}
        self._until_eof = False
        self._over: asyncio.Future[None] | None = None
        self._at = 0.0
        self.reusable = False

    async def send(self, request: bytes, receiver: Receiver) -> None:
        """Sends a request as it stands, and returns when its response is over.

        Raises: ConnectionError if the connection ends before the response does.
        """
        assert self._transport is not None
        self.reusable = False
        self._receiver, self._headers, self._until_eof = receiver, {}, False
        self._parser = httptools.HttpResponseParser(self)
        self._over = asyncio.get_running_loop().create_future()
        if self._transport.is_closing():
            raise ConnectionResetError("the server closed the connection")
        self._transport.write(request)
        await self._over

    def close(self) -> None:
        """Ends the connection, and any response in flight on it."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    # ---- called by the event loop ----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport; after STARTTLS it is another."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self.reusable = True

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
            # RFC 8446, section 5.1: an alert, and the version of its record
            what = "the port answers in TLS" if data[:2] == b"\x15\x03" else "not an HTTP response"
            self._fail(ConnectionError(f"{what}: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        """Fails a response in flight, unless the end of the connection is its end."""
        self.reusable = False
        if error is None and self._until_eof:
            self._end()
        self._fail(ConnectionResetError(f"the server closed the connection: {error or 'EOF'}"))

    def _end(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

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
        # RFC 9112, section 6.3: with neither, the body lasts as long as the connection
        self._until_eof = not {"content-length", "transfer-encoding"} & self._headers.keys()
        self._receiver.begin(self._parser.get_status_code(), self._headers, self._at)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        assert self._receiver is not None
        self._receiver.feed(data, self._at)

    def on_message_complete(self) -> None:
        """The end of the response; a 1xx response comes before the final one."""
        if self._parser.get_status_code() < 200:
            self._headers = {}
            return
        self.reusable = self._parser.should_keep_alive()
        self._end()


_Place = tuple[int, tuple[Any, ...]]
"""Family and address of a socket."""


@dataclass(frozen=True)
class _Proxy:
    host: str
    port: int
    credentials: str


class Connections:
    """The connections to one origin: opened when none is free, and reused.

    HTTPS goes through a tunnel of the proxy that HTTPS_PROXY names, unless NO_PROXY exempts the
    host. Plain HTTP goes straight to its host.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._proxy = _proxy(f"{self._host}:{self._port}") if self._tls else None
        self._free: list[Connection] = []
        self._lookup: asyncio.Future[Any] | None = None
        self._opened = 0

    async def take(self) -> tuple[Connection, Opening | None]:
        """A free connection, or a new one with what its opening took.

        Raises: OSError if none can be opened.
        """
        while self._free:
            connection = self._free.pop()
            if connection.reusable:
                return connection, None
        return await self.open()

    def give_back(self, connection: Connection) -> None:
        """Frees a connection for the next request, or ends it where it cannot be reused."""
        if connection.reusable:
            self._free.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Ends the free connections."""
        while self._free:
            self._free.pop().close()

    async def open(self) -> tuple[Connection, Opening]:
        """A new connection with what its opening took. Raises: OSError if it cannot be opened."""
        loop = asyncio.get_running_loop()
        began = perf_counter()
        places = await self._find()
        resolved = perf_counter()
        transport, connection = await self._connect(places)
        connected = perf_counter()
        if self._tls:
            secure = await loop.start_tls(
                transport, connection, self._tls, server_hostname=self._host
            )
            assert secure is not None
            connection.connection_made(secure)
        return connection, Opening(
            resolved - began, connected - resolved, perf_counter() - connected
        )

    async def _find(self) -> list[_Place]:
        """The addresses of the host or its proxy, looked up once: many look-ups would queue.

        Connections take turns among those of the first's family, as if each had its own look-up.
        """
        if self._lookup is None:
            host, port = (self._host, self._port)
            if self._proxy:
                host, port = (self._proxy.host, self._proxy.port)
            lookup = asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self._lookup = asyncio.ensure_future(lookup)
        try:
            entries = await asyncio.shield(self._lookup)
        except (OSError, UnicodeError) as error:
            self._lookup = None
            raise OSError(f"{self._host} has no address: {error}") from error
        places: list[_Place] = [(place[0], place[4]) for place in entries]
        same_family = [place for place in places if place[0] == places[0][0]]
        others = [place for place in places if place not in same_family]
        first = self._opened % len(same_family)
        self._opened += 1
        return [*same_family[first:], *same_family[:first], *others]

    async def _connect(self, places: list[_Place]) -> tuple[asyncio.Transport, Connection]:
        """Tries the addresses of a name in turn; when none answers, the last error is raised."""
        loop = asyncio.get_running_loop()
        error = OSError(f"{self._host} has no address")
        for family, address in places:
            line = socket.socket(family, socket.SOCK_STREAM)
            try:
                line.setblocking(False)
                await loop.sock_connect(line, address)
                if self._proxy:
                    await _tunnel(line, self._proxy, f"{self._host}:{self._port}")
                return await loop.create_connection(Connection, sock=line)
            except OSError as refused:
                line.close()
                error = refused
            except BaseException:
                line.close()
                raise
        self._lookup = None
        raise error


def _proxy(origin: str) -> _Proxy | None:
    """The proxy that the environment names for HTTPS to this host, if any."""
    address = None if proxy_bypass(origin) else getproxies().get("https")
    if not address:
        return None
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(
            f"HTTPS_PROXY names a proxy of {parts.scheme}: give one as http://HOST:PORT, or exempt "
            "the endpoint with NO_PROXY"
        )
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return _Proxy(parts.hostname, parts.port or 80, credentials.strip(":"))


async def _tunnel(line: socket.socket, proxy: _Proxy, origin: str) -> None:
    """Opens a tunnel to the origin through the proxy. Source: RFC 9110, section 9.3.6.

    Raises: ConnectionError with the proxy's answer where it refuses.
    """
    loop = asyncio.get_running_loop()
    head = f"CONNECT {origin} HTTP/1.1\r\nhost: {origin}\r\n"
    if proxy.credentials:
        head += f"proxy-authorization: Basic {b64encode(proxy.credentials.encode()).decode()}\r\n"
    await loop.sock_sendall(line, f"{head}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = await loop.sock_recv(line, 4096)
        if not data:
            raise ConnectionResetError("the proxy closed the connection")
        answer += data
    status = answer.partition(b"\r\n")[0].decode("latin-1")
    if status.split()[1:2] != ["200"]:
        raise ConnectionError(f"the proxy answered {status!r}")
