"""`python bench/soak.py`: half load for half an hour; memory of server and worker must stay.

The private server, one worker process with default settings and one producer share the machine.
The exit code is 1 when memory grew, jobs were lost or the rate was not kept.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import click
from rich.console import Console
from rich.markdown import Markdown

from bench import machine
from bench.child import BenchError
from bench.endurance import page
from bench.endurance.record import Record
from bench.endurance.take import probe, take
from bench.endurance.verdict import judge
from bench.server import binaries, private_server

_MINUTES = 30.0
_QUICK_S, _QUICK_RATE = 20.0, 1_000.0
_EVERY, _LOOKS = 10.0, 20
#: Results are kept shorter than by default, so that the server is full long before the first
#: third is over.
_KEEP, _KEEP_PART = 60.0, 10


@click.command()
@click.option("--minutes", default=_MINUTES, show_default=True, help="How long.")
@click.option("--rate", type=click.FloatRange(1), help="Jobs/s. Default: half of what is probed.")
@click.option("--every", type=click.FloatRange(0.1), help="Seconds between looks. Default: 10.")
@click.option("--server", "kind", type=click.Choice(["redis", "valkey"]), help="Which server.")
@click.option("--quick", is_flag=True, help="20 seconds: does it work?")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write JSON here too.")
@click.option("--save", is_flag=True, help="JSON to bench/results/soak, docs/performance.md.")
@click.option("--check", is_flag=True, help="Run nothing: is the page what the newest JSON says?")
def main(
    minutes: float,
    rate: float | None,
    every: float | None,
    kind: str | None,
    quick: bool,
    json_path: Path | None,
    save: bool,
    check: bool,
) -> None:
    """Run jobs at half load for a long time, and watch memory."""
    if check:
        if page.render(page.PAGE.read_text()) != page.PAGE.read_text():
            raise click.ClickException("docs/performance.md is not what the newest results say")
        return
    if save and quick:
        raise click.UsageError("--save keeps whole runs only: leave out --quick")
    found = binaries()
    kind = kind or ("redis" if "redis" in found else "valkey")
    if kind not in found:
        raise click.ClickException(f"no {kind} server here")
    seconds = _QUICK_S if quick else minutes * 60
    every = every or min(_EVERY, seconds / _LOOKS)
    keep = min(_KEEP, seconds / _KEEP_PART)
    record = _run(found[kind], rate or (_QUICK_RATE if quick else None), seconds, every, keep)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(Markdown("\n".join([page.about(record), "", *page.table(record)])))
    if json_path:
        json_path.write_text(record.dump())
    if save:
        page.FOLDER.mkdir(parents=True, exist_ok=True)
        path = page.FOLDER / f"{record.when}-{machine.label(record.machine)}.json"
        path.write_text(record.dump())
        page.write()
    if problems := judge(record).problems:
        sys.exit("\n".join(problems))


def _run(binary: str, rate: float | None, seconds: float, every: float, keep: float) -> Record:
    """Find the rate if none is given, then the run itself, on a server of its own."""
    err = Console(stderr=True, highlight=False)
    about, probed = machine.describe(), 0.0

    def say(words: str) -> None:
        err.print(f"[dim]{words}")

    try:
        if rate is None:
            with private_server(binary) as server:
                probed = probe(server, say)
                rate = probed / 2
        record = Record(
            machine=about, wanted=rate, probed=probed, seconds=seconds, every=every, keep=keep
        )
        with private_server(binary) as server:
            about["server"] = server.version
            take(server, record, say)
    except BenchError as error:
        raise click.ClickException(str(error)) from None
    return record


if __name__ == "__main__":
    # As Ctrl-C: what was started is ended. Else its producer would go on without anybody.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
