"""`python bench/peers/run.py`: taskq and eleven other queues, in turn. See bench/README.md."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import click
from rich.console import Console

from bench import machine
from bench.child import BenchError
from bench.peers import ceiling, environments, scenarios
from bench.peers.comparison import Comparison, Measured
from bench.peers.environments import NotHere
from bench.peers.stand import NoStart, Stand
from bench.peers.table import FLOOR, PEERS, SYSTEMS, TASKQ, System
from bench.server import binaries, private_server

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "bench/results/peers"
_SCENARIOS = [scenario.NAME for scenario in scenarios.ALL]
_QUICK = 0.4
#: Failures of one scenario after which a system is not asked for it again.
_CHANCES = 2


@click.command()
@click.option("--peers", multiple=True, type=click.Choice(PEERS), help="This one; repeatable.")
@click.option("--only", multiple=True, type=click.Choice(_SCENARIOS), help="This; repeatable.")
@click.option("--rounds", default=5, show_default=True, help="Rounds; systems take turns.")
@click.option("--quick", is_flag=True, help="One round of less of everything: does it work?")
@click.option("--server", "kind", type=click.Choice(["redis", "valkey"]), help="Which server.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write JSON here too.")
@click.option("--save", is_flag=True, help="JSON, plots and docs/performance.md; whole runs only.")
def main(
    peers: tuple[str, ...],
    only: tuple[str, ...],
    rounds: int,
    quick: bool,
    kind: str | None,
    json_path: Path | None,
    save: bool,
) -> None:
    """Measure taskq beside other queues: same machine, server, interpreter and run."""
    from bench.peers import tables

    if save and (quick or only or peers):
        raise click.UsageError("--save keeps whole runs only: no --quick, --only, --peers with it")
    err = Console(stderr=True, highlight=False)
    names = [TASKQ, FLOOR, *(name for name in PEERS if not peers or name in peers)]
    chosen = [scenario for scenario in scenarios.ALL if not only or scenario.NAME in only]
    found = binaries()
    kind = kind or ("redis" if "redis" in found else "valkey")
    if kind not in found:
        raise click.ClickException(f"no {kind} server here")
    began = time.monotonic()
    pythons, comparison = _prepare(names, 1 if quick else rounds, err)
    prepared = time.monotonic()
    with private_server(found[kind], port=_free_port()) as server:
        comparison.machine["server"] = server.version
        for turn in range(comparison.rounds):
            order = list(pythons)
            # Nobody is always first, when the machine is coolest, or always after the same one.
            order = order[turn % len(order) :] + order[: turn % len(order)]
            for name in order:
                err.print(f"[dim]round {turn + 1} of {comparison.rounds}: {name}")
                with Stand(
                    SYSTEMS[name], pythons[name], server, scale=_QUICK if quick else 1.0
                ) as stand:
                    _round(stand, chosen, comparison.systems[name], err)
            if not only or {"drain", "enqueue"} & set(only):
                for scenario, sample in ceiling.run(server, _QUICK if quick else 1.0):
                    comparison.systems[ceiling.NAME].add(scenario, sample)
    comparison.machine["environments"] = f"{prepared - began:.0f} s"
    comparison.machine["run"] = f"{time.monotonic() - prepared:.0f} s"
    tables.show(comparison, Console(width=None if sys.stdout.isatty() else 160))
    if json_path:
        json_path.write_text(comparison.dump() + "\n")
    if save:
        _save(comparison, err)


def _prepare(names: list[str], rounds: int, err: Console) -> tuple[dict[str, str], Comparison]:
    """Environments; who has none is said so and left out."""
    python = environments.interpreter()
    about = machine.describe()
    for library in ("redis-py", "hiredis", "uvloop"):
        about.pop(library)  # those of this process, which is not what is measured
    about["python"] = f"CPython {environments.version(python)}"
    comparison = Comparison(machine=about, rounds=rounds)
    pythons = {}
    for name in names:
        system = SYSTEMS[name]
        measured = comparison.systems[name] = Measured(_about(system), lacks=dict(system.lacks))
        try:
            err.print(f"[dim]environment of {name}")
            own = environments.python_of(system, python)
        except NotHere as error:
            measured.failures.append(str(error))
            err.print(f"[red]{name}: {error}")
        else:
            pythons[name] = own
            measured.installed = environments.freeze(own)
    comparison.systems[ceiling.NAME] = Measured(dict(ceiling.ABOUT))
    return pythons, comparison


def _about(system: System) -> dict[str, str]:
    first = system.packages[0] if system.packages else "this checkout"
    return {
        "version": first.partition("==")[2] or first,
        "concurrency": system.concurrency,
        "prefetch": system.prefetch,
        "results": system.keeps,
        "notes": system.notes,
    }


def _round(
    stand: Stand, chosen: list[scenarios.Scenario], measured: Measured, err: Console
) -> None:
    """Every scenario once. One that fails or hangs is noted and does not take others with it; a
    worker that does not start has no other chance in this round.
    """
    starts = bool(stand.system.worker) and not _given_up(measured, "start")
    for scenario in chosen:
        if (scenario.NEEDS_WORKER and not starts) or _given_up(measured, scenario.NAME):
            continue
        try:
            for sample in scenario.run(stand):
                measured.add(scenario.NAME, sample)
        except Exception as error:  # of a peer, whatever it is: the others must be measured still
            starts = starts and not isinstance(error, NoStart)
            named = "" if isinstance(error, BenchError) else f"{type(error).__name__}: "
            words = named + " ".join(str(error).split())
            what = "start" if isinstance(error, NoStart) else scenario.NAME
            measured.failures.append(f"{what}: {words[:300]}")
            err.print(f"{stand.system.name}: {what}: {words[-600:]}", markup=False, style="red")
            stand.drop()


def _given_up(measured: Measured, what: str) -> bool:
    return sum(failure.startswith(f"{what}: ") for failure in measured.failures) >= _CHANCES


def _save(comparison: Comparison, err: Console) -> None:
    from bench.peers import page

    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{comparison.when}-{machine.label(comparison.machine)}.json"
    path.write_text(comparison.dump() + "\n")
    page.write()
    err.print(f"written: {path.relative_to(ROOT)}, docs/performance.md and its plots")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
