"""The text of protocol.md, made from the headers of the Lua scripts."""

from __future__ import annotations

import re

from taskq.scripts import Header, ScriptSet

INTRO = """\
# Protocol

What goes over the wire between taskq and Redis: {count} Lua scripts, called with EVALSHA. A
client in another language has to make these calls and no others. Keys are described in
[keyspace.md](keyspace.md), states in [lifecycle.md](lifecycle.md).

## Rules for all scripts

- Each MUST be called with all its keys in KEYS, in the order given. `{{q}}` is the queue; all
  keys of a call are of one queue, so of one Cluster slot. A key that ends in `...` may be given
  several times. The exceptions are keys made from an ARGV prefix and an id that the script finds:
  these are in the same slot.
- The first item of every reply is an upper-case word. A client MUST look at it before it reads
  on.
- A script that answers with an error has written nothing: everything is read and checked before
  the first write.
- Every call MAY be sent twice, and MUST be when its reply was lost and its outcome matters. It
  counts once.
- Times and durations are integer milliseconds; the clock is the server's `TIME`, never the
  caller's. Numbers that may exceed 2^31 travel as text.
- A call moves at most 200 jobs. Clients MUST split larger work.
- `token` is what the claim gave. ack, fail, release, progress, and cancel by the owner, do
  nothing without the current one, and say so (STALE).
- Payload and result are opaque bytes to the scripts.
- Job fields (name, value pairs that `enqueue` takes and `claim` gives): see
  [keyspace.md](keyspace.md#fields-of-a-job).
- Flags go into the first line of a script, `#!lua flags=...`. `allow-oom`: it also runs on a
  server that is out of memory, because it frees more than it takes. `no-writes`: it only reads.
- On NOSCRIPT the caller loads its own version and calls again. Versions are told apart by their
  SHA-1.
"""


def protocol_page() -> str:
    """The whole page: rules for all scripts, then a section for each."""
    scripts = ScriptSet()
    headers = [scripts.get(name).header for name in scripts.names()]
    table = ["## Scripts", "", "| script | edge | what |", "|---|---|---|"]
    table += [f"| [{h.name}](#{h.name}) | {_cell(h.edge)} | {_cell(h.summary)} |" for h in headers]
    sections = [_section(header) for header in headers]
    return "\n".join([INTRO.format(count=len(headers)), *table, "", "\n".join(sections)])


def _section(header: Header) -> str:
    flags = ", ".join(f"`{flag}`" for flag in header.flags) or "none"
    parts = [
        f"## {header.name}\n",
        f"`{header.edge}`: {header.summary}\n",
        f"{header.why[:1].upper()}{header.why[1:]}\n",
        _table(("KEYS", "key", "type", "holds"), [_key(*entry) for entry in header.keys]),
        _table(
            ("ARGV", "unit", "meaning"), [(label, *_split(text)) for label, text in header.args]
        ),
        "Returns\n",
        *(f"- {_returned(line)}" for line in header.returns),
        "",
        f"Cost: {header.cost}. Flags: {flags}.\n",
    ]
    return "\n".join(parts)


def _key(label: str, text: str) -> tuple[str, ...]:
    found = re.fullmatch(r"(.+?)\s+(hash|zset|set|list|string)\b\s*(.*)", text)
    if found is None:
        raise ValueError(f"no type in the header line of key {label!r}: {text!r}")
    return label, f"`{found[1]}`", found[2], found[3]


def _split(text: str) -> tuple[str, str]:
    """`ms    how long` and `4 each  id, token`: unit and meaning, two blanks between."""
    unit, _, meaning = re.sub(r"\s{2,}", "\0", text).partition("\0")
    if not meaning:
        unit, _, meaning = text.partition(" ")
    return unit, meaning.replace("\0", " ")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return f"No {head[0]}.\n"
    lines = [head, ("---",) * len(head), *(tuple(map(_cell, row)) for row in rows)]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), ""])


def _returned(line: str) -> str:
    """`{"OK", n}   words` as code and words."""
    shape, _, words = re.sub(r"(?<=[}\]])\s{2,}", "\0", line).partition("\0")
    return f"`{shape}` {words}".rstrip()


def _cell(text: str) -> str:
    """Safe inside a table."""
    return text.strip().replace("|", "\\|")
