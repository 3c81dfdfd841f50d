"""`make mutants`: break every guard of the engine, one at a time, and see which test notices.

    python -m tests.mutation.run [--script ack]... [--report FILE] [--jobs 2] [--examples 100]

Exit code 1 when a mutant survives that equivalent.txt does not list, or when it lists one that does
not exist any more.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

from taskq.scripts import lua_folder
from tests.mutation.equivalent import Entry, read_entries, split
from tests.mutation.pool import Verdict, work
from tests.mutation.rules import Mutant, mutants

NOTHING = Mutant(name="", file="", line=0, kind="", before="", after="", source="")


def files(scripts: Sequence[str]) -> list[str]:
    """Paths below lua/ without `.lua`: all, or those named, by a script or an include."""
    folder = lua_folder()
    known = [path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.lua")]
    wanted = [name for name in sorted(known) if not scripts or name.split("/")[-1] in scripts]
    if len(wanted) < len(set(scripts)):
        sys.exit(f"no such script in {folder}: {', '.join(scripts)}")
    return wanted


def all_mutants(names: Sequence[str]) -> list[Mutant]:
    found = []
    for name in names:
        found += mutants(name, (lua_folder() / f"{name}.lua").read_text(encoding="ascii"))
    return found


def verdicts(
    todo: Sequence[Mutant],
    jobs: int,
    examples: int,
    *,
    near: bool = False,
    baseline: bool = True,
) -> Iterator[Verdict]:
    """What became of each mutant, as it becomes known. `baseline`: first see the tests pass on the
    engine as it is.
    """
    left = iter(todo)
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    processes = []
    for _ in range(min(jobs, len(todo))):
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, examples, near))
        process.start()
        theirs.close()
        processes.append(process)
        pipes.append(ours)
        ours.send(NOTHING if baseline else next(left))
    try:
        while pipes:
            for pipe in wait(pipes):
                assert isinstance(pipe, Connection)
                verdict: Verdict = pipe.recv()
                if verdict.name:
                    yield verdict
                elif verdict.word != "survived":
                    sys.exit(f"on the engine as it is: {verdict.word} {verdict.by}")
                following = next(left, None)
                pipe.send(following)
                if following is None:
                    pipes.remove(pipe)
    except EOFError:
        sys.exit("a process of the pool ended by itself")
    finally:
        for process in processes:
            process.join(20)
            process.terminate()


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--script", action="append", default=[], help="only this one; repeatable")
    parser.add_argument("--only", default="", help="only mutants whose name has this in it")
    parser.add_argument("--report", type=Path, default=Path("build/mutants.json"))
    parser.add_argument("--jobs", type=int, default=2, help="processes, each with its own server")
    parser.add_argument("--examples", type=int, default=100, help="of the model test; 0: none")
    parser.add_argument(
        "--near", action="store_true", help="only tests that name the script, and no model: quick"
    )
    parser.add_argument("--no-baseline", action="store_true", help="do not try the engine as it is")
    parser.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    options = parser.parse_args(words)
    names = files([name for words in options.script for name in words.split(",")])
    found = [m for m in all_mutants(names) if options.only in m.name]
    entries = [entry for entry in read_entries() if entry.file in names and not options.only]
    todo, equivalent, stale = split(found, entries)
    if options.list:
        print("\n".join(f"{m.name}\n  - {m.before}\n  + {m.after}" for m in todo))
        return 0
    started = time.monotonic()
    results: dict[str, Verdict] = {}
    by_name = {mutant.name: mutant for mutant in todo}
    examples = 0 if options.near else options.examples
    baseline = not options.no_baseline
    for verdict in verdicts(todo, options.jobs, examples, near=options.near, baseline=baseline):
        results[verdict.name] = verdict
        if verdict.word == "survived":
            mutant = by_name[verdict.name]
            print(f"survived  {mutant.name}\n  - {mutant.before}\n  + {mutant.after}", flush=True)
    seconds = time.monotonic() - started
    report(options.report, by_name, results, equivalent, seconds)
    for entry in stale:
        print(f"equivalent.txt:{entry.line}: there is no such mutant any more")
    survived = sum(verdict.word == "survived" for verdict in results.values())
    return 1 if survived or stale else 0


def report(
    path: Path,
    todo: dict[str, Mutant],
    results: dict[str, Verdict],
    equivalent: Sequence[tuple[Mutant, Entry]],
    seconds: float,
) -> None:
    """The summary for people, and all of it as JSON."""
    words = Counter(verdict.word for verdict in results.values())
    killers = Counter(
        verdict.by.partition("::")[0].partition(":")[0]
        for verdict in results.values()
        if verdict.word == "killed"
    )
    total = sum(words.values()) - words["broken"] + len(equivalent)
    print(
        f"{total} mutants in {seconds:.0f} s: {words['killed']} killed, {words['timeout']} stuck,"
        f" {len(equivalent)} equivalent, {words['survived']} survived"
    )
    for killer, count in killers.most_common():
        print(f"  {count:5} {killer}")
    rows = [
        {
            "mutant": name,
            "before": todo[name].before,
            "after": todo[name].after,
            "verdict": verdict.word,
            "by": verdict.by,
        }
        for name, verdict in results.items()
    ]
    rows += [
        {
            "mutant": mutant.name,
            "before": mutant.before,
            "after": mutant.after,
            "verdict": "equivalent",
            "by": entry.why,
        }
        for mutant, entry in equivalent
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(sorted(rows, key=lambda row: row["mutant"]), indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
