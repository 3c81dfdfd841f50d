"""Reads equivalent.txt: mutants that nobody can tell from the engine, each with the reason.

An entry names a file, a line as it is and as the mutant has it, so it outlives changes elsewhere:

    include/next_due
    - if again < first then first = again end
    + if again <= first then first = again end
      Equal: either is the smaller.

Several lines that differ are joined by ` | `.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.rules import Mutant

PATH = Path(__file__).with_name("equivalent.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    file: str
    before: str
    after: str
    why: str
    line: int


def read_entries(path: Path = PATH) -> list[Entry]:
    found = []
    file, before, after = "", "", ""
    why: list[str] = []
    start = 0

    def close() -> None:
        if before or after:
            if not why:
                raise ValueError(f"{path.name}:{start}: an entry without a reason")
            text = " ".join(why)
            found.append(Entry(file=file, before=before, after=after, why=text, line=start))

    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("- "):
            close()
            before, after, why, start = line[2:].strip(), "", [], number
        elif line.startswith("+"):
            after = line[1:].strip()
        elif line.startswith("  "):
            why.append(line.strip())
        elif line and not line.startswith("#"):
            close()
            file, before, after, why = line.strip(), "", "", []
    close()
    return found


def split(
    found: Sequence[Mutant], entries: Sequence[Entry]
) -> tuple[list[Mutant], list[tuple[Mutant, Entry]], list[Entry]]:
    """Mutants to run, those that are listed, and entries that match nothing."""
    listed = {(entry.file, entry.before, entry.after): entry for entry in entries}
    todo, equivalent, used = [], [], set()
    for mutant in found:
        entry = listed.get((mutant.file, mutant.before, mutant.after))
        if entry is None:
            todo.append(mutant)
        else:
            equivalent.append((mutant, entry))
            used.add(entry.line)
    return todo, equivalent, [entry for entry in entries if entry.line not in used]
