"""What sentinels know: in which order they are asked, and what their answers mean. No I/O.

Both Sentinel stores share it. A sentinel is believed about where the primary is, never about what
it is: the server itself must say that it is one. And it counts only while they name it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from taskq.address import Address
from taskq.errors import StoreError, StoreRefused, StoreUnavailable

#: What one sentinel gets to answer, s: the next one may know, and leases do not wait.
ASK_SECONDS = 1.0


class Sentinels:
    """The sentinels of a group, the one that answered last first. Safe from threads."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._members = address.members()
        self._lock = threading.Lock()

    @property
    def question(self) -> tuple[str, str, str]:
        """The command that asks where the primary is."""
        return ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.address.service or "")

    def in_order(self) -> list[Address]:
        """Whom to ask, one after the other."""
        with self._lock:
            return list(self._members)

    def answered(self, sentinel: Address) -> None:
        """Ask this one first from now on."""
        with self._lock:
            self._members.remove(sentinel)
            self._members.insert(0, sentinel)

    def primary(self, reply: Any, sentinel: Address) -> Address:
        """The primary a sentinel named. Raises StoreUnavailable when it knows none."""
        if not isinstance(reply, (list, tuple)) or len(reply) != 2:
            raise StoreUnavailable(
                f"the sentinel at {sentinel.masked} knows no service"
                f" {self.address.service!r}; is the name in the URL right?"
            )
        host, port = (_text(word) for word in reply)
        return self.address.at(host, int(port))

    def nobody(self, problems: Sequence[StoreError]) -> StoreError:
        """The error when no sentinel could help: the refusal when all refuse, else unavailable."""
        refused = [error for error in problems if isinstance(error, StoreRefused)]
        if problems and len(refused) == len(problems):
            return refused[0]
        return StoreUnavailable(
            f"no sentinel of {self.address.masked} tells where the primary is:"
            f" {'; '.join(str(error) for error in problems)}"[:600]
        )


def check_role(reply: Any, server: Address) -> None:
    """StoreUnavailable unless ROLE says that this server is a primary."""
    role = _text(reply[0]) if isinstance(reply, (list, tuple)) and reply else ""
    if role != "master":
        raise StoreUnavailable(
            f"Redis at {server.masked} is no primary ({role or 'no role'});"
            " the sentinels will name another (try again)"
        )


def check_elected(named: Address, server: Address) -> None:
    """StoreUnavailable unless the sentinels still name this server, now that it has answered."""
    if named != server:
        raise StoreUnavailable(
            f"Redis at {server.masked} was replaced while it was asked: the sentinels name"
            f" {named.masked} now (try again)"
        )


def _text(word: object) -> str:
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)
