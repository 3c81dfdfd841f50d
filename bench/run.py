"""`python bench/run.py`: measure taskq on this machine and print it. See bench/README.md."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import click
from rich.console import Console

from bench import machine, report, scenarios, systems, table
from bench.bench import Bench, Scenario
from bench.child import BenchError
from bench.peers import environments
from bench.results import Results
from bench.server import choose

ROOT = Path(__file__).resolve().parent.parent
_NAMES = [scenario.NAME for scenario in scenarios.ALL]


@click.command()
@click.option("--server", "wanted", help="redis, valkey, or a URL. Default: Redis if installed.")
@click.option("--rounds", default=3, show_default=True, help="Rounds; scenarios take turns.")
@click.option("--only", multiple=True, type=click.Choice(_NAMES), help="This scenario; repeatable.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write JSON here too.")
@click.option("--save", is_flag=True, help="Write JSON to bench/results and docs/performance.md.")
@click.option("--quick", is_flag=True, help="One round of a tenth of everything: does it work?")
@click.option("--python", help="Such as 3.13 or a path: measure with this one. Default: this one.")
def main(
    wanted: str | None,
    rounds: int,
    only: tuple[str, ...],
    json_path: Path | None,
    save: bool,
    quick: bool,
    python: str | None,
) -> None:
    """Measure taskq on this machine, on a private server that is started and ended here."""
    if save and (quick or only):
        raise click.UsageError("--save keeps whole runs only: leave out --quick and --only")
    if python:
        _go_on_in(python)
    chosen = [scenario for scenario in scenarios.ALL if not only or scenario.NAME in only]
    rounds = 1 if quick else rounds
    err = Console(stderr=True)
    results = Results(machine=machine.describe(), rounds=rounds)
    began = time.monotonic()
    with choose(wanted) as server:
        results.machine["server"] = server.version
        system = systems.system("taskq", server.url, server.namespace)
        kind = wanted if wanted in ("redis", "valkey") else None
        bench = Bench(server=server, system=system, quick=quick, only_kind=kind)
        try:
            for turn in range(rounds):
                for scenario in chosen:
                    if turn == 0 or not scenario.ONCE:
                        err.print(f"[dim]round {turn + 1} of {rounds}: {scenario.NAME}")
                        _take(scenario, bench, results)
        finally:
            system.close()
        results.listings = bench.listings
    results.machine["run"] = f"{time.monotonic() - began:.0f} s"
    table.show(results, Console(width=None if sys.stdout.isatty() else 120))
    if json_path:
        json_path.write_text(results.dump() + "\n")
    if save:
        path = ROOT / "bench/results" / f"{results.when}-{machine.label(results.machine)}.json"
        path.write_text(results.dump() + "\n")
        report.write(report.newest())
        err.print(f"written: {path.relative_to(ROOT)} and docs/performance.md")
    if results.failures:
        sys.exit(1)


def _go_on_in(python: str) -> None:
    """Begin anew with this interpreter, in an environment of its own. Returns once it is this."""
    try:
        own = environments.of_checkout(environments.named(python))
    except environments.NotHere as error:
        raise click.ClickException(f"--python {python}: {error}") from None
    if not Path(own).parents[1].samefile(sys.prefix):
        os.execv(own, [own, *sys.argv])


def _take(scenario: Scenario, bench: Bench, results: Results) -> None:
    """One scenario of one round; one that fails is said so and does not take the others with it."""
    try:
        for sample in scenario.run(bench):
            results.add(scenario.NAME, sample)
    except BenchError as error:
        results.failures.append(f"{scenario.NAME}: {error}")


if __name__ == "__main__":
    main()
