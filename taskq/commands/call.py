"""What a call is: a script with KEYS and ARGV, or a plain command, and how to read its reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from taskq.errors import ScriptBug, StoreUnavailable

T = TypeVar("T")


Word: TypeAlias = str | bytes | int | float


#: Jobs in one script call, at most; every loop in lua/ is bounded by it.
BATCH = 200


class Confirm(NamedTuple):
    """How many replicas must have a write before it counts as done, and how long they get, s."""

    replicas: int
    seconds: float

    @property
    def words(self) -> tuple[str, int, int]:
        """The command that waits for them, on the connection that wrote."""
        return ("WAIT", self.replicas, max(1, round(self.seconds * 1000)))

    def check(self, count: object) -> None:
        """StoreUnavailable when too few have confirmed."""
        if not isinstance(count, int) or count < self.replicas:
            raise StoreUnavailable(
                f"only {count} of {self.replicas} replicas confirmed the write within"
                f" {self.seconds:g} s: the job may exist, and sending it again with the same id"
                " is safe"
            )


@dataclass(slots=True)
class Call(Generic[T]):
    """One call: `script` with KEYS and ARGV, or a plain command when `script` is empty."""

    script: str
    keys: Sequence[str]
    args: Sequence[Word]
    parse: Callable[[Any], T]


def text(reply: bytes) -> str:
    return reply.decode("utf-8", "replace")


def map_of(flat: Sequence[bytes]) -> dict[str, str]:
    pairs = iter(flat)
    return {text(name): text(value) for name, value in zip(pairs, pairs, strict=False)}


def whole(value: str) -> int:
    """A counter or time as stored; 0 for what is none."""
    return int(value) if len(value) < 20 and value.isdecimal() else 0


def plain(*words: Word, parse: Callable[[Any], T]) -> Call[T]:
    """A plain Redis command, for reads and for the roster, which is no queue state."""
    return Call("", (), words, parse)


def check_reply(reply: object, call: Call[Any]) -> None:
    """ScriptBug unless a script answered with a word first."""
    if call.script and not (isinstance(reply, list) and reply and isinstance(reply[0], bytes)):
        raise ScriptBug(f"script {call.script} answered {reply!r}: please report this")
