"""lua/include/now_us.lua: the clock of the engine, which all other tests of scripts replace."""

from __future__ import annotations

import redis

import taskq.scripts
from tests.servers import Server


def test_it_is_the_servers_clock_in_microseconds(server: Server) -> None:
    # Asked for when the test runs: `make mutants` puts a broken folder there.
    include = (taskq.scripts.lua_folder() / "include" / "now_us.lua").read_text(encoding="ascii")
    client = server.client()
    try:
        before = as_us(client)
        told = int(client.eval(include + "\nreturn string.format('%.0f', now_us())", 0))  # type: ignore[arg-type]
        after = as_us(client)
    finally:
        client.close()

    assert before <= told <= after


def as_us(client: redis.Redis) -> int:
    seconds, micros = client.time()  # type: ignore[misc]
    return int(seconds) * 1_000_000 + int(micros)
