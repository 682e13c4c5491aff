"""Connections keep HTTP/1.1: what ends a body, what is used again, what is a failure."""

import asyncio
import base64
import os
import shutil
import socket
import ssl
import subprocess
from time import perf_counter

import pytest

from llmstudy.probe.call import call
from llmstudy.probe.connection import Connections
from llmstudy.probe.endpoint import Endpoint, Request
from llmstudy.probe.load import new_event_loop

REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
EVENT = b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n'


class Received:
    """What a receiver was told."""

    def __init__(self):
        self.status, self.headers, self.body, self.times = None, {}, b"", []

    def begin(self, status, headers, at):
        self.status, self.headers = status, headers
        self.times.append(at)

    def feed(self, data, at):
        self.body += data
        self.times.append(at)


def sized(body=b"ok", *headers):
    return b"\r\n".join(
        [b"HTTP/1.1 200 OK", *headers, b"content-length: %d" % len(body), b"", body]
    )


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


def talk(reply, work, secure=None, times=10):
    """Runs work(url, seen) against a server that sends reply(number) to request `number`.

    reply: bytes, or a list of bytes and seconds to wait; ends with None to close the connection.
    seen: the number of the connection of each request.
    """
    seen, opened = [], []

    async def answer(reader, writer):
        opened.append(writer)
        number = len(opened)
        try:
            for _ in range(times):
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(size)
                seen.append(number)
                said = reply(len(seen))
                for piece in said if isinstance(said, list) else [said]:
                    if piece is None:
                        return
                    if isinstance(piece, bytes):
                        writer.write(piece)
                        await writer.drain()
                    else:
                        await asyncio.sleep(piece)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def main():
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=secure)
        host = "localhost" if secure else "127.0.0.1"
        port = server.sockets[0].getsockname()[1]
        try:
            return await asyncio.wait_for(
                work(f"{'https' if secure else 'http'}://{host}:{port}/v1", seen), 20
            )
        finally:
            server.close()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main())


def responses(n, pause_s=0.0):
    """Work that sends n requests in turn, and returns what came of each."""

    async def work(url, seen):
        connections, found = Connections(url), []
        for _ in range(n):
            received = Received()
            connection, opening = await connections.take()
            await connection.send(REQUEST, received)
            connections.give_back(connection)
            found.append((received, opening))
            await asyncio.sleep(pause_s)
        connections.close()
        return found, list(seen)

    return work


def asked(url, timeout_s=5.0, max_retries=0):
    """The sample of one call, and what was said of its failure."""
    endpoint, request = Endpoint(url, "m"), Request(0, "measure", "hello")
    return call(
        endpoint,
        request,
        endpoint.message(request),
        Connections(url),
        perf_counter(),
        timeout_s,
        max_retries,
    )


def test_a_connection_is_used_again_and_its_opening_told_once():
    found, seen = talk(lambda n: sized(), responses(3))
    assert seen == [1, 1, 1]
    assert [opening is not None for _, opening in found] == [True, False, False]
    opening = found[0][1]
    assert opening.dns_s >= 0
    assert opening.tcp_s > 0
    assert opening.tls_s < 0.01


def test_connection_close_is_obeyed():
    _, seen = talk(lambda n: sized(b"ok", b"connection: close"), responses(2))
    assert seen == [1, 2]


def test_an_idle_connection_that_the_server_closed_is_not_used():
    found, seen = talk(lambda n: [sized(), None], responses(3, pause_s=0.05))
    assert seen == [1, 2, 3]
    assert all(received.status == 200 for received, _ in found)


def test_a_connection_closed_in_the_moment_of_sending_costs_no_attempt():
    # the server reads the second request on its first connection, and hangs up without a word
    async def work(url, seen):
        connections = Connections(url)
        endpoint, request = Endpoint(url, "m"), Request(0, "measure", "hello")
        samples = []
        for _ in range(2):
            sample, _ = await call(
                endpoint, request, endpoint.message(request), connections, perf_counter(), 5.0, 0
            )
            samples.append(sample)
        return samples, list(seen)

    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(EVENT)
    (first, second), seen = talk(lambda n: [None] if n == 2 else head + EVENT, work)
    assert first.ok
    assert second.ok
    assert seen == [1, 1, 2]
    assert (second.attempts, second.retry_wait_s) == (1, 0.0)
    assert second.tcp_s is not None


@pytest.mark.parametrize(
    "pieces",
    [
        [OK + b"content-length: 6\r\n\r\nabc", b"def"],
        [CHUNKED + b"3\r\nabc\r\n", b"3\r\ndef\r\n0\r\n\r\n"],
        [OK + b"\r\nabc", b"def", None],
        [b"HTTP/1.0 200 OK\r\n\r\nabc", b"def", None],
        [b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", OK + b"content-length: 6\r\n\r\nabcdef"],
    ],
    ids=["length", "chunked", "until-eof", "http-1.0", "early-hints"],
)  # fmt: skip
def test_a_body_ends_by_its_length_its_last_chunk_or_the_connection(pieces):
    slow = [x for piece in pieces for x in (piece, 0.02)]
    found, _ = talk(lambda n: slow, responses(1))
    received, _ = found[0]
    assert (received.status, received.body) == (200, b"abcdef")
    assert received.times == sorted(received.times)


@pytest.mark.parametrize(
    "pieces",
    [
        [OK + b"content-length: 900\r\n\r\n" + EVENT, 0.02, None],
        [CHUNKED + b"%x\r\n%b\r\n" % (len(EVENT), EVENT), 0.02, None],
    ],
)  # fmt: skip
def test_a_body_that_ends_early_is_cut(pieces):
    sample, _ = talk(lambda n: pieces, lambda url, seen: asked(url))
    assert (sample.ok, sample.error, len(sample.content_times_s)) == (False, "cut", 1)


def test_headers_that_come_late_are_timed_when_they_come():
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(EVENT)
    sample, _ = talk(lambda n: [reply[:10], 0.15, reply[10:], 0.1, EVENT], lambda u, s: asked(u))
    assert sample.ok
    assert sample.headers_s - sample.dispatched_s >= 0.14
    assert sample.content_times_s[0] - sample.headers_s >= 0.09


def test_what_is_no_http_is_a_failed_connection():
    sample, detail = talk(lambda n: b"SSH-2.0-OpenSSH_9.6\r\n", lambda url, seen: asked(url))
    assert (sample.error, sample.http_status) == ("connection", None)
    assert "not an HTTP response" in detail


def test_a_port_that_answers_in_tls_is_named():
    alert = b"\x15\x03\x01\x00\x02\x02\x16"
    sample, detail = talk(lambda n: [alert], lambda url, seen: asked(url))
    assert sample.error == "connection"
    assert detail.startswith("the port answers in TLS")


def test_bytes_after_a_response_spoil_its_connection():
    found, seen = talk(lambda n: [sized(), 0.02, b"HTTP/1.1 200 OK\r\n"], responses(2, 0.1))
    assert seen == [1, 2]
    assert all(received.body == b"ok" for received, _ in found)


def test_a_port_that_refuses_and_a_name_that_is_none_are_failed_connections():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    for url in (
        f"http://127.0.0.1:{closed}/v1",
        "http://no-such-host.invalid/v1",
        "http://a..b/v1",
    ):
        sample, detail = asyncio.run(asked(url, timeout_s=10))
        assert (sample.error, sample.ok) == ("connection", False)
        assert detail


def test_many_connections_at_once_ask_for_the_name_once(monkeypatch):
    async def work(url, seen):
        loop = asyncio.get_running_loop()
        looked_up, real = [], loop.getaddrinfo

        class Counting:  # uvloop's method cannot be replaced
            def __getattr__(self, name):
                return getattr(loop, name)

            def getaddrinfo(self, *arguments, **options):
                looked_up.append(arguments)
                return real(*arguments, **options)

        monkeypatch.setattr(
            "llmstudy.probe.connection.asyncio.get_running_loop", lambda: Counting()
        )
        connections = Connections(url)
        pairs = await asyncio.gather(*(connections.open() for _ in range(20)))
        for connection, _ in pairs:
            connection.close()
        return looked_up

    assert len(talk(lambda n: sized(), work)) == 1


# ---- TLS and proxies -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Files of a key and a certificate for localhost."""
    if not shutil.which("openssl"):
        pytest.skip("needs the command openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout {key} -out {cert}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return key, cert


@pytest.fixture
def secure(certificate, monkeypatch):
    """A server's TLS, whose certificate this process trusts."""
    key, cert = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def test_tls_is_timed_apart_and_used_again(secure):
    found, seen = talk(lambda n: sized(), responses(2), secure)
    assert seen == [1, 1]
    assert found[0][0].body == b"ok"
    assert found[0][1].tls_s > 0
    assert found[1][1] is None


def test_a_certificate_that_nobody_vouches_for_is_a_failed_connection(secure, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    sample, detail = talk(lambda n: sized(), lambda url, seen: asked(url), secure)
    assert sample.error == "connection"
    assert "certificate" in detail.lower()


def through_proxy(work, secure, monkeypatch, refuse=None, user=""):
    """As `talk`, with HTTPS_PROXY naming a proxy here; returns what it was asked, too."""
    heads = []

    async def relay(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def proxy(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        if refuse:
            writer.write(refuse)
            writer.close()
            return
        host, port = head.split()[1].rsplit(":", 1)
        there, back = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n")
        await asyncio.gather(relay(reader, back), relay(there, writer), return_exceptions=True)

    async def main(url, seen):
        server = await asyncio.start_server(proxy, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("https_proxy", f"http://{user}127.0.0.1:{port}")
        result = await work(url, seen)
        server.close()
        return result, heads

    monkeypatch.setenv("no_proxy", "")
    return talk(lambda n: sized(), main, secure)


def test_https_goes_through_the_proxy_that_the_environment_names(secure, monkeypatch):
    (found, seen), heads = through_proxy(responses(2), secure, monkeypatch, user="me:p%40ss@")
    assert seen == [1, 1]
    assert found[0][0].body == b"ok"
    assert found[0][1].tls_s > 0
    assert len(heads) == 1
    assert heads[0].startswith("CONNECT localhost:")
    assert base64.b64encode(b"me:p@ss").decode() in heads[0]


def test_a_host_that_no_proxy_names_is_reached_directly(secure, monkeypatch):
    async def work(url, seen):
        monkeypatch.setenv("no_proxy", "localhost")
        return await responses(1)(url, seen)

    (found, _), heads = through_proxy(work, secure, monkeypatch)
    assert found[0][0].body == b"ok"
    assert heads == []


def test_a_proxy_that_refuses_is_a_failed_connection_that_says_why(secure, monkeypatch):
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    (sample, detail), _ = through_proxy(
        lambda url, seen: asked(url), secure, monkeypatch, refuse=refusal
    )
    assert sample.error == "connection"
    assert "407" in detail


def test_a_proxy_of_another_kind_is_refused_without_its_password(monkeypatch):
    monkeypatch.setenv("https_proxy", "socks5://me:secret@127.0.0.1:1080")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(ValueError, match="HTTPS_PROXY names a proxy of socks5") as error:
        Connections("https://example.com/v1")
    assert "secret" not in str(error.value)
    Connections("http://example.com/v1")  # plain http goes straight to its host


def test_an_address_without_a_host_is_refused():
    for url in ("localhost:8000/v1", "ftp://host/v1", "https:///v1"):
        with pytest.raises(ValueError, match="not the address of an endpoint"):
            Endpoint(url, "m")
