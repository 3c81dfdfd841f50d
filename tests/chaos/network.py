"""A network of our own on this machine: a server's namespace, a router's, and one for each client,
whose links a scenario cuts (both ways, or only requests or replies), slows and heals.

A cut is a blackhole rule in the router: silent, neither side gets a RST or an error. All addresses
are inside namespaces made here, so they meet neither the machine's own nor another test run's.
No scenarios here.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.server import lacking

#: The server's address, seen from every client.
SERVER = "10.231.0.2"
#: Where iproute2 keeps the names of namespaces.
_NAMES = Path("/run/netns")
_NUMBERS = itertools.count(1)


def run(*words: str) -> str:
    """Run a command; RuntimeError with what it said when it fails."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def need_network() -> None:
    """Skip (in CI: fail) where no namespaces can be made."""
    if os.geteuid() != 0:
        lacking("network faults need root", "run the tests as root")
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            lacking(f"network faults need {tool}", "apt-get install iproute2")


def sweep_stale() -> None:
    """Remove namespaces of test runs that were killed before they could."""
    for path in _NAMES.glob("taskq-*") if _NAMES.is_dir() else ():
        found = re.fullmatch(r"taskq-(\d+)-\d+", path.name)
        if found and not Path(f"/proc/{found[1]}").exists():
            with contextlib.suppress(RuntimeError):
                run("ip", "netns", "del", path.name)


class Place:
    """A client's namespace and its link to the router. `name` is for `ip netns exec`."""

    def __init__(self, name: str, router: str, number: int) -> None:
        self.name = name
        self.address = f"10.231.{number}.2"
        self._router = router
        self._link = f"client{number}"
        self._rules: list[list[str]] = []

    def cut(self, *, requests: bool = True, replies: bool = True) -> None:
        """Lose, silently, what this client sends, or what is sent to it, or both."""
        if requests:
            self._rule("iif", self._link, "blackhole")
        if replies:
            self._rule("to", f"{self.address}/32", "iif", "server", "blackhole")

    def _rule(self, *words: str) -> None:
        rule = [*words, "pref", str(100 + next(_NUMBERS))]
        run("ip", "-n", self._router, "rule", "add", *rule)
        self._rules.append(rule)

    def heal(self) -> None:
        """Everything passes again."""
        for rule in self._rules:
            run("ip", "-n", self._router, "rule", "del", *rule)
        self._rules.clear()

    def unplug(self) -> None:
        """The router's end of the cable is down: half-open connections on both sides."""
        run("ip", "-n", self._router, "link", "set", self._link, "down")

    def plug(self) -> None:
        run("ip", "-n", self._router, "link", "set", self._link, "up")

    def slow(self, kilobits: int) -> None:
        """A link of so many kbit/s, both ways."""
        shape = ["root", "tbf", "rate", f"{kilobits}kbit", "burst", "4kb", "latency", "2s"]
        run("tc", "-n", self._router, "qdisc", "replace", "dev", self._link, *shape)
        run("tc", "-n", self.name, "qdisc", "replace", "dev", "uplink", *shape)

    def fast(self) -> None:
        """As fast as it was before `slow`."""
        run("tc", "-n", self._router, "qdisc", "del", "dev", self._link, "root")
        run("tc", "-n", self.name, "qdisc", "del", "dev", "uplink", "root")


class Network:
    """The server's namespace `server`, a router, and the clients that have joined."""

    def __init__(self) -> None:
        self._made: list[str] = []
        self._hosts: list[Path] = []
        self._count = 0
        self.server = self._namespace()
        self._router = self._namespace()
        run(
            "ip", "netns", "exec", self._router, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"
        )
        self._link(self.server, "server", 0)

    def _namespace(self) -> str:
        name = f"taskq-{os.getpid()}-{next(_NUMBERS)}"
        run("ip", "netns", "add", name)
        self._made.append(name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def _link(self, name: str, link: str, number: int) -> None:
        near, far = f"10.231.{number}.1", f"10.231.{number}.2"
        router = self._router
        run(
            *("ip", "-n", router, "link", "add", link, "type", "veth"),
            *("peer", "name", "uplink", "netns", name),
        )
        run("ip", "-n", router, "addr", "add", f"{near}/24", "dev", link)
        run("ip", "-n", router, "link", "set", link, "up")
        run("ip", "-n", name, "addr", "add", f"{far}/24", "dev", "uplink")
        run("ip", "-n", name, "link", "set", "uplink", "up")
        run("ip", "-n", name, "route", "add", "default", "via", near)

    def join(self) -> Place:
        """A new client."""
        self._count += 1
        place = Place(self._namespace(), self._router, self._count)
        self._link(place.name, f"client{self._count}", self._count)
        return place

    def second_address(self, address: str) -> None:
        """Give the server one more address."""
        run("ip", "-n", self.server, "addr", "add", f"{address}/32", "dev", "uplink")
        run("ip", "-n", self._router, "route", "add", f"{address}/32", "via", SERVER)

    def drop_address(self, address: str) -> None:
        """The server's machine has moved away from this address: what is sent there is lost."""
        run("ip", "-n", self._router, "route", "replace", "blackhole", f"{address}/32")

    def hosts(self, place: Place, text: str) -> None:
        """What /etc/hosts says to processes started here; written again, they see it too."""
        path = Path("/etc/netns") / place.name / "hosts"
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
            self._hosts.append(path)
        # In place: `ip netns exec` has mounted this very file over /etc/hosts.
        path.write_text(f"127.0.0.1 localhost\n{text}\n")

    def close(self) -> None:
        """Remove every namespace; processes in them should be gone by now."""
        for name in reversed(self._made):
            with contextlib.suppress(RuntimeError):
                run("ip", "netns", "del", name)
        for path in self._hosts:
            path.unlink(missing_ok=True)
            for folder in (path.parent, path.parent.parent):
                with contextlib.suppress(OSError):
                    folder.rmdir()


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """A network until the block ends. Skips, or in CI fails, where it cannot be made."""
    need_network()
    sweep_stale()
    try:
        net = Network()
    except RuntimeError as error:
        lacking(f"no network namespaces can be made here ({error})", "run with CAP_SYS_ADMIN")
        raise
    try:
        yield net
    finally:
        net.close()
