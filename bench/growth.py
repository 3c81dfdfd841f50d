"""`python bench/growth.py`: what a claim and an enqueue cost the server as things grow.

Waiting jobs, queues of a worker, workers, groups of a fair queue. taskq's scripts are driven by
bench/raw.py, so that nothing but the server is measured; only the queues have real workers.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import click
from rich.console import Console

from bench import growth_cases, machine, table
from bench.results import Results
from bench.server import binaries, private_server

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "bench/results/growth"
_NAMES = [case.__name__ for case in growth_cases.ALL]


@click.command()
@click.option("--only", multiple=True, type=click.Choice(_NAMES), help="This; repeatable.")
@click.option("--most", default=10**7, show_default=True, help="Waiting jobs, at most: 4 GB.")
@click.option("--server", "kind", type=click.Choice(["redis", "valkey"]), help="Which server.")
@click.option("--quick", is_flag=True, help="A hundredth of everything: does it work?")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write JSON here too.")
@click.option("--save", is_flag=True, help="JSON to bench/results/growth, docs/performance.md.")
def main(
    only: tuple[str, ...],
    most: int,
    kind: str | None,
    quick: bool,
    json_path: Path | None,
    save: bool,
) -> None:
    """Measure growth on a private server."""
    if save and (quick or only):
        raise click.UsageError("--save keeps whole runs only: leave out --quick and --only")
    err = Console(stderr=True, highlight=False)
    found = binaries()
    kind = kind or ("redis" if "redis" in found else "valkey")
    if kind not in found:
        raise click.ClickException(f"no {kind} server here")
    results = Results(machine=machine.describe(), rounds=1)
    scale = growth_cases.Scale(most=most // 100 if quick else most, share=100 if quick else 1)
    for case in growth_cases.ALL:
        if only and case.__name__ not in only:
            continue
        # A server of its own for each: memory that was used before is not like memory that was not.
        with private_server(found[kind]) as server:
            results.machine["server"] = server.version
            for sample in case(server, scale):
                results.add(case.__name__, sample)
                err.print(
                    f"[dim]{case.__name__}: {sample.case}: {sample.figure} {sample.value:.4g}"
                )
    table.show(results, Console(width=None if sys.stdout.isatty() else 140))
    if json_path:
        json_path.write_text(results.dump() + "\n")
    if save:
        from bench.peers import page

        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{results.when}-{machine.label(results.machine)}.json"
        path.write_text(results.dump() + "\n")
        page.write()
        err.print(f"written: {path.relative_to(ROOT)}, docs/performance.md and its plots")


if __name__ == "__main__":
    main()
