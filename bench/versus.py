"""`python bench/versus.py REVISION`: what a job costs the server with the scripts of then and now.

Both are run in turn on one server, so that a busy machine is busy for both: the ratio counts, and
of each the least time. `--server` as in bench/run.py.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import click

from bench import raw
from bench.server import Server, choose
from taskq.keys import QueueKeys
from taskq.scripts import ScriptSet

ROOT = Path(__file__).resolve().parent.parent
_SINGLE, _BATCHES, _BATCH = 2_000, 200, 100
#: Calls on their way at a time.
_WINDOW = 40


@click.command()
@click.argument("revision")
@click.option("--server", "wanted", help="redis, valkey, or a URL. Default: Redis if installed.")
@click.option("--rounds", default=5, show_default=True, help="Rounds; the two take turns.")
def main(revision: str, wanted: str | None, rounds: int) -> None:
    """Time in the scripts per job, µs: those of REVISION, those of this checkout, the ratio."""
    with tempfile.TemporaryDirectory(prefix="taskq-versus-") as folder, choose(wanted) as server:
        sets = {"then": ScriptSet(_scripts_of(revision, Path(folder))), "now": ScriptSet()}
        least: dict[str, dict[str, float]] = {name: {} for name in sets}
        for turn in range(rounds):
            for name in sorted(sets, reverse=bool(turn % 2)):
                for what, micros in _costs(server, sets[name]).items():
                    least[name][what] = min(micros, least[name].get(what, micros))
        click.echo(f"{server.version}, least of {rounds} rounds, µs a job in the scripts")
        for what, then in least["then"].items():
            now = least["now"][what]
            click.echo(f"{what:28} {revision} {then:6.2f}   now {now:6.2f}   x{now / then:.2f}")


def _scripts_of(revision: str, folder: Path) -> Path:
    """lua/ as it was."""
    done = subprocess.run(["git", "archive", revision, "lua"], cwd=ROOT, capture_output=True)
    if done.returncode:
        raise click.ClickException(f"no lua/ at {revision}: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "lua"


def _costs(server: Server, scripts: ScriptSet) -> dict[str, float]:
    """Enqueue and drain, singly and in batches."""
    server.clear()
    with raw.scripts(scripts):
        wire, keys = raw.Wire(server.url), QueueKeys(server.namespace, "default")
        wire.load("enqueue", "claim", "ack", "heartbeat")
        ones = [raw.enqueue(keys, raw.jobs(at, 1)) for at in range(_SINGLE)]
        many = [raw.enqueue(keys, raw.jobs(10**6 + at * _BATCH, _BATCH)) for at in range(_BATCHES)]
        costs = {
            "enqueue of one": _timed(server, lambda: _send(wire, ones)) / _SINGLE,
            "enqueue of 100": _timed(server, lambda: _send(wire, many)) / (_BATCHES * _BATCH),
        }
        for batch, calls in ((_BATCH, _BATCHES - 1), (1, _SINGLE // 2)):
            claimer = raw.Claimer(wire, keys, f"w{batch}", batch=batch)
            claimer.beat()
            reply = raw.run_raw(wire, claimer.claim())
            call = claimer.next(reply, first=True)
            claimer.done = 0
            spent = _timed(server, lambda it=claimer, one=call, n=calls: _drain(it, one, n))  # type: ignore[misc]
            costs[f"ack and claim of {batch}"] = spent / claimer.done
        wire.close()
    return costs


def _timed(server: Server, work: Callable[[], None]) -> float:
    """Time in scripts meanwhile, µs."""
    before = server.read()
    work()
    return server.read().since(before).commands["evalsha"].usec


def _send(wire: raw.Wire, calls: Sequence[bytes]) -> None:
    for at in range(0, len(calls), _WINDOW):
        some = calls[at : at + _WINDOW]
        wire.send(b"".join(some))
        for _ in some:
            wire.receive()


def _drain(claimer: raw.Claimer, call: bytes, calls: int) -> None:
    for _ in range(calls):
        if not call:
            return
        claimer.wire.send(call)
        call = claimer.next(claimer.wire.receive())


if __name__ == "__main__":
    main()
