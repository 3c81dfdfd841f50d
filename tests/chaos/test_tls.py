"""TLS that is not as it should be: both stores and `taskq worker` refuse in one line, and
never fall back to plaintext or to an unverified connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskq import TaskQ
from taskq.errors import StoreUnavailable
from tests.chaos import results
from tests.chaos.certificates import Authority
from tests.chaos.server import ServerProcess, free_port, server_process

#: Commands the scenario itself sends, on the unix socket.
_OURS = {"cmdstat_ping", "cmdstat_info", "cmdstat_hello", "cmdstat_client|setinfo"}


@contextlib.contextmanager
def tls_server(
    certificate: Path, key: Path, ca: Path, *words: str
) -> Iterator[tuple[ServerProcess, int]]:
    """A server (Debian's Redis: the Valkey of the wheel has no TLS) and its TLS port."""
    port = free_port()
    tls = (
        *("--tls-port", str(port), "--tls-cert-file", str(certificate)),
        *("--tls-key-file", str(key), "--tls-ca-cert-file", str(ca), "--tls-auth-clients", "no"),
    )
    with server_process("redis", sync=None, words=(*tls, *words)) as (server, _):
        yield server, port


def heard(server: ServerProcess) -> set[str]:
    """Names of the commands that got through to the server."""
    client = server.client()
    try:
        return {name for name in client.info("commandstats") if name not in _OURS}
    finally:
        client.close()


def start_worker(url: str, patience: float) -> subprocess.CompletedProcess[str]:
    """Start `taskq worker` and wait for its end: it must not begin to work."""
    environment = {
        **os.environ,
        "TASKQ_REDIS_URL": url,
        "TASKQ_CONNECT_TIMEOUT": str(patience),
        "TASKQ_SOCKET_TIMEOUT": str(patience),
    }
    return subprocess.run(
        [sys.executable, "-m", "taskq", "worker", "tests.integration.chores:app"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )


Record = Callable[[str, str], None]


@pytest.fixture
def record(results_file: Path | None, test_name: str) -> Record:
    """Keep a row for docs/reliability.md: the fault, and what was observed."""

    def write(fault: str, observed: str) -> None:
        row = {"fault": fault, "injected": "at connecting, both stores and `taskq worker`"}
        row |= {"invariant": "P9", "observed": observed}
        if results_file is not None:
            results.write(results_file, test_name, {**row, "recovery_s": None, "duplicates": None})

    return write


async def refused(server: ServerProcess, url: str, *, says: str, patience: float = 2.0) -> None:
    """Both stores and the worker refuse this URL, and the server hears nothing of taskq."""
    for blocking in (False, True):
        app = TaskQ(url, connect_timeout=patience, socket_timeout=patience)

        @app.task
        async def one() -> int:
            return 1

        try:
            with pytest.raises(StoreUnavailable, match=says) as caught:
                await (asyncio.to_thread(one.enqueue_sync) if blocking else one.enqueue())
            assert "\n" not in str(caught.value)
        finally:
            await app.close()
    ended = await asyncio.to_thread(start_worker, url, patience)
    assert ended.returncode == 69, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("taskq: error: Redis at ")
    assert "Traceback" not in ended.stderr
    assert not heard(server), "something got through"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_a_good_certificate_is_accepted(authority: Authority) -> None:
    """The yardstick of this file: the right CA and name let jobs in, by TLS 1.2 too."""
    with tls_server(*authority.sign("good"), authority.file, "--tls-protocols", "TLSv1.2") as (
        server,
        port,
    ):
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"
        app = TaskQ(url)

        @app.task
        async def one() -> int:
            return 1

        async with app:
            await one.enqueue()
            await asyncio.to_thread(one.enqueue_sync)
        assert "cmdstat_evalsha" in heard(server)


async def test_an_expired_certificate_is_refused(authority: Authority, record: Record) -> None:
    """Fault: the server's certificate ended yesterday. H2: nothing is sent."""
    with tls_server(*authority.sign("old", days=-1), authority.file) as (server, port):
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"
        await refused(server, url, says="certificate has expired")
    record(
        "TLS: the server's certificate has expired",
        "refused in one line, nothing was sent; the worker ended with code 69",
    )


async def test_a_certificate_of_another_ca_is_refused(
    authority: Authority, tmp_path: Path, record: Record
) -> None:
    """Fault: somebody else's CA has signed it, then: no CA is named at all. H2."""
    other = Authority(tmp_path, "other")
    with tls_server(*authority.sign("good"), authority.file) as (server, port):
        await refused(
            server,
            f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={other.file}",
            says="certificate verify failed",
        )
        await refused(server, f"rediss://127.0.0.1:{port}/0", says="certificate verify failed")
    record(
        "TLS: a certificate of another CA",
        "refused in one line, nothing was sent; the worker ended with code 69",
    )


async def test_a_certificate_for_another_host_is_refused(
    authority: Authority, record: Record
) -> None:
    """Fault: a valid certificate, of another machine. H2."""
    pair = authority.sign("elsewhere", names="DNS:redis.example.com")
    with tls_server(*pair, authority.file) as (server, port):
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"
        await refused(server, url, says="IP address mismatch")
    record(
        "TLS: a certificate for another host",
        "refused in one line, nothing was sent; the worker ended with code 69",
    )


async def test_an_old_protocol_is_refused(authority: Authority, record: Record) -> None:
    """Fault: the server speaks TLS 1.1 only. H2."""
    words = ("--tls-protocols", "TLSv1.1", "--tls-ciphers", "DEFAULT:@SECLEVEL=0")
    with tls_server(*authority.sign("good"), authority.file, *words) as (server, port):
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"
        await refused(server, url, says="(?i)alert|version|protocol")
    record(
        "TLS: the server speaks 1.1 only",
        "refused in one line, nothing was sent; the worker ended with code 69",
    )


async def test_tls_to_a_plain_port_and_plain_to_a_tls_port_are_refused(
    authority: Authority, record: Record
) -> None:
    """Fault: the port speaks the other language. H2: no fall-back to plaintext."""
    with (
        tls_server(*authority.sign("good"), authority.file) as (secret, tls_port),
        server_process("redis", sync=None, tcp=True) as (plain, _),
    ):
        url = f"rediss://127.0.0.1:{plain.port}/0?ssl_ca_certs={authority.file}"
        # The plain server waits for the rest of a line that is no command, so this takes its time.
        await refused(plain, url, says="not reachable", patience=0.2)
        await refused(secret, f"redis://127.0.0.1:{tls_port}/0", says="not reachable")
    record(
        "TLS to a plain port, plaintext to a TLS port",
        "refused in one line, nothing was sent; the worker ended with code 69",
    )


async def test_a_server_that_wants_our_certificate_gets_it_or_refuses(
    authority: Authority, record: Record
) -> None:
    """Fault: the server asks for a certificate and the client has none. With one it works."""
    mine, key = authority.sign("client", names="DNS:client")
    words = ("--tls-auth-clients", "yes")
    with tls_server(*authority.sign("good"), authority.file, *words) as (server, port):
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"
        await refused(server, url, says="not reachable")
        app = TaskQ(f"{url}&ssl_certfile={mine}&ssl_keyfile={key}")

        @app.task
        async def one() -> int:
            return 1

        async with app:
            await one.enqueue()
            await asyncio.to_thread(one.enqueue_sync)
        assert "cmdstat_evalsha" in heard(server)
    record(
        "TLS: the server wants a client certificate",
        "refused without one, in one line; with one it works",
    )
