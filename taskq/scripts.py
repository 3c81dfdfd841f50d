"""The only reader of lua/: finds the scripts, flattens their includes, parses their headers.

A wheel carries them in taskq/_lua; a checkout and an editable install have them in lua/ beside the
package. What is sent to the server is the body without comments, under a `#!lua` line that carries
the header's flags, so a changed comment does not change the script's SHA1.

Lua makes every function of a script anew at each call, and that is paid for. Parts that few calls
need stand under `@rare`: one function makes them all, when the first of them is called.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from taskq.errors import ConfigError

_PARTS = ("Why", "KEYS", "ARGV", "Returns", "Cost", "Flags", "@include")
_MAY_LACK = ("@rare",)
_ENTRY = re.compile(r"(\d+)(\.\.\.)?\s+(\S+)\s*(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The parsed comment on top of a script. Entries are (position and name, description)."""

    name: str
    edge: str
    summary: str
    why: str
    keys: tuple[tuple[str, str], ...]
    args: tuple[tuple[str, str], ...]
    returns: tuple[str, ...]
    cost: str
    flags: tuple[str, ...]
    includes: tuple[str, ...]
    rare: tuple[str, ...]
    """Includes that are made when the first of their functions is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One script, ready to send. `sha` is what EVALSHA takes."""

    name: str
    source: str
    sha: str
    header: Header


def lua_folder() -> Path:
    """Where the scripts are: inside an installed wheel, else beside the package in a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "_lua", here.parent / "lua"):
        if (folder / "enqueue.lua").is_file():
            return folder
    raise ConfigError(f"taskq's Lua scripts are missing beside {here}: reinstall taskq-redis")


def parse_header(text: str, name: str) -> Header:
    """Parse the comment block on top of a script; ConfigError when a part is missing."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line[2:].removeprefix(" "))
    parts: dict[str, list[str]] = {"first": lines[:1]}
    section = "first"
    for line in lines[1:]:
        for title in _PARTS + _MAY_LACK:
            if line == title or line.startswith((title + ":", title + " ")):
                section = title
                rest = line[len(title) :].lstrip(": ")
                parts.setdefault(section, []).extend([rest] if rest else [])
                break
        else:
            parts.setdefault(section, []).append(line.strip())
    missing = [part for part in _PARTS if part not in parts]
    first = re.fullmatch(rf"{re.escape(name)}: ([^;]+); (.+)", " ".join(parts["first"]))
    if missing or not first:
        raise ConfigError(f"lua/{name}.lua: header lacks {', '.join(missing) or 'its first line'}")

    def entries(title: str) -> tuple[tuple[str, str], ...]:
        found = []
        for line in parts.get(title, []):
            entry = _ENTRY.fullmatch(line)
            if entry:
                found.append((f"{entry[1]}{entry[2] or ''} {entry[3]}", entry[4]))
            elif line.startswith("then "):
                word, _, rest = line.removeprefix("then ").partition(" ")
                found.append((f"then {word}", rest.strip()))
        return tuple(found)

    def words(title: str) -> tuple[str, ...]:
        return tuple(w for w in " ".join(parts.get(title, [])).split() if w != "none")

    return Header(
        name=name,
        edge=first[1],
        summary=first[2],
        why=" ".join(parts["Why"]),
        keys=entries("KEYS"),
        args=entries("ARGV"),
        returns=tuple(line for line in parts["Returns"] if line),
        cost=" ".join(parts["Cost"]),
        flags=words("Flags"),
        includes=words("@include"),
        rare=words("@rare"),
    )


def _code(text: str) -> str:
    """The lines that are not comments; what runs."""
    kept = (line.rstrip() for line in text.splitlines())
    return "\n".join(line for line in kept if line and not line.lstrip().startswith("--"))


def _made_when_called(rare: str, parts: Sequence[str]) -> list[str]:
    """`parts` with one more before the first that needs it: the function `rare`, which makes the
    functions in `rare` once; calls of them go through it.
    """
    names = re.findall(r"^local function (\w+)", rare, re.MULTILINE)
    call = re.compile(rf"(?<![\w.])({'|'.join(names)})\(")
    used = sorted({name for part in parts for name in call.findall(part)})
    block = [
        "local made",
        "local function rare()",
        "if not made then",
        rare,
        "made = { " + ", ".join(f"{name} = {name}" for name in used) + " }",
        "end",
        "return made",
        "end",
    ]
    at = next((at for at, part in enumerate(parts) if call.search(part)), len(parts))
    changed = [call.sub(r"rare().\1(", part) for part in parts]
    return [*changed[:at], "\n".join(block), *changed[at:]]


class ScriptSet:
    """All scripts of one folder, read when first asked for.

    For tests only: `replace` swaps include files by name, to put a clock they can turn into the
    engine; `shebang=False` leaves the `#!lua flags=` line out, which fakeredis takes for a syntax
    error.

    `guarded`, for Cluster: calls name one key more, which never exists (`keys.absent_beside`).
    While a slot moves, a node runs no script that names a key it has not got: so none begins there,
    and none finds a part of a queue missing. The scripts themselves do not see that key.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        replace: Mapping[str, str] | None = None,
        shebang: bool = True,
        guarded: bool = False,
    ) -> None:
        self._folder = folder or lua_folder()
        self._replace = dict(replace or {})
        self._shebang = shebang
        self._guarded = guarded
        self._loaded: dict[str, Script] = {}

    def names(self) -> list[str]:
        """Names of all scripts, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.lua"))

    def get(self, name: str) -> Script:
        """The script of that name, with its includes flattened in."""
        script = self._loaded.get(name)
        if script is None:
            script = self._loaded[name] = self._load(name)
        return script

    def _load(self, name: str) -> Script:
        text = (self._folder / f"{name}.lua").read_text(encoding="ascii")
        header = parse_header(text, name)
        parts = []
        if self._shebang:
            parts.append("#!lua" + (f" flags={','.join(header.flags)}" if header.flags else ""))
        if self._guarded:
            parts.append("KEYS[#KEYS] = nil")
        common = [self._part(name, include) for include in header.includes]
        body = _code(text)
        if header.rare:
            rare = "\n".join(self._part(name, include) for include in header.rare)
            *common, body = _made_when_called(rare, [*common, body])
        parts += common
        source = "\n".join([*parts, body, ""])
        sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        return Script(name=name, source=source, sha=sha, header=header)

    def _part(self, name: str, include: str) -> str:
        part = self._replace.get(include)
        if part is None:
            path = self._folder / "include" / f"{include}.lua"
            if not path.is_file():
                raise ConfigError(f"lua/{name}.lua: no include lua/include/{include}.lua")
            part = path.read_text(encoding="ascii")
        return _code(part)
