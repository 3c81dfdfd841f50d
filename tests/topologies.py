"""Real servers that belong together: a primary with replicas, a Sentinel group, a Cluster.

Each is a context manager. What it starts dies with the block, and with pytest. Nodes (nodes.py)
can be killed, stopped (SIGSTOP) and started again; the groups know who is primary.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis

from tests.helpers import wait_until
from tests.nodes import HOST, Node, folder_of_nodes, free_port

SERVICE = "mymaster"
SLOTS = 16384
#: Sentinel's own periods, ms: the defaults (1 to 10 s) would make every test wait.
_SENTINEL_PACE = {
    "info-period": 300,
    "ping-period": 100,
    "ask-period": 100,
    "publish-period": 200,
    "default-down-after": 1000,
    "tilt-period": 1000,
    "slave-reconf-timeout": 1000,
    "election-timeout": 1000,
}


class Replicated:
    """A primary and its replicas, without anything that fails over."""

    def __init__(self, primary: Node, replicas: Sequence[Node]) -> None:
        self.nodes = [primary, *replicas]
        self.replicas = list(replicas)
        self.primary = primary

    @property
    def url(self) -> str:
        return self.primary.url

    def wait_for_replicas(self, count: int) -> None:
        """Wait until so many replicas are online at the primary."""
        wait_until(
            lambda: str(self.primary.info("replication")).count("'state': 'online'") >= count,
            15,
            f"{count} replicas online",
        )


@contextlib.contextmanager
def replicated(kind: str = "redis", replicas: int = 1, **settings: str) -> Iterator[Replicated]:
    """A primary with replicas; `settings` are words for all of them (`_` for `-`)."""
    with folder_of_nodes() as (folder, nodes):
        group = _replicated(kind, folder, nodes, replicas, settings)
        group.wait_for_replicas(replicas)
        yield group


def _replicated(
    kind: str, folder: Any, nodes: list[Node], replicas: int, settings: dict[str, str]
) -> Replicated:
    for _ in range(1 + replicas):
        nodes.append(Node(kind, folder, **settings))
    for node in nodes[1:]:
        node.configure(f"replicaof {HOST} {nodes[0].port}")
    for node in nodes:
        node.launch()
    for node in nodes:
        node.wait()
    return Replicated(nodes[0], nodes[1:])


class SentinelGroup(Replicated):
    """A primary, replicas, and sentinels that make a replica primary when the primary is down."""

    def __init__(self, group: Replicated, sentinels: Sequence[Node]) -> None:
        super().__init__(group.primary, group.replicas)
        self.sentinels = list(sentinels)

    @property
    def url(self) -> str:
        hosts = ",".join(f"{HOST}:{node.port}" for node in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def told(self) -> Node | None:
        """The node that the sentinels which answer call primary; None while they disagree."""
        ports = set()
        for sentinel in self.sentinels:
            if sentinel.running:
                with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
                    found = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                    ports.add(int(found[1]))
        found = [node for node in self.nodes if ports == {node.port}]
        return found[0] if found else None

    def wait_for_failover(self, old: Node, timeout: float = 20.0) -> Node:
        """Wait until all sentinels name another primary than `old`, and it says so itself."""

        def new() -> Node | None:
            node = self.told()
            return node if node and node is not old and node.role() == "master" else None

        found = wait_until(new, timeout, "a new primary")
        assert found is not None
        self.primary = found
        return found

    def knows_all(self) -> bool:
        """Does every sentinel know all replicas and the other sentinels?"""
        for sentinel in self.sentinels:
            flat = sentinel.ask("SENTINEL", "MASTER", SERVICE)
            if not isinstance(flat, dict):  # redis-py gives a dict or the flat list, by its version
                flat = dict(zip(flat[::2], flat[1::2], strict=True))
            about = {_text(name): _text(value) for name, value in flat.items()}
            if int(about["num-slaves"]) < len(self.nodes) - 1:
                return False
            if int(about["num-other-sentinels"]) < len(self.sentinels) - 1:
                return False
        return True


@contextlib.contextmanager
def sentinel_group(
    kind: str = "redis",
    replicas: int = 2,
    sentinels: int = 3,
    *,
    down_after_ms: int = 1000,
    sentinel_password: str = "",
    **settings: str,
) -> Iterator[SentinelGroup]:
    """A Sentinel group with quorum 2. With `requirepass` among the settings the sentinels use it
    too; `sentinel_password` is the one they themselves ask for.
    """
    lines = []
    if "requirepass" in settings:
        settings = {"masterauth": settings["requirepass"], **settings}
        lines.append(f"sentinel auth-pass {SERVICE} {settings['requirepass']}")
    with folder_of_nodes() as (folder, nodes):
        group = _replicated(kind, folder, nodes, replicas, settings)
        watchers = []
        for _ in range(sentinels):
            secret = {"requirepass": sentinel_password} if sentinel_password else {}
            node = Node(kind, folder, sentinel=True, **secret)
            node.configure(
                f"sentinel monitor {SERVICE} {HOST} {group.primary.port} {min(2, sentinels)}",
                f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
                f"sentinel failover-timeout {SERVICE} 1000",
                f"sentinel parallel-syncs {SERVICE} 2",
                *lines,
            )
            nodes.append(node)
            watchers.append(node)
            node.launch()
        for node in watchers:
            node.wait()
            with contextlib.suppress(redis.ResponseError):  # a server that has no such command
                words = [word for pair in _SENTINEL_PACE.items() for word in pair]
                node.ask("SENTINEL", "DEBUG", *words)
        found = SentinelGroup(group, watchers)
        group.wait_for_replicas(replicas)
        wait_until(found.knows_all, 20, "the sentinels know each other")
        yield found


class Migration:
    """One slot on its way to another node, as far as the test drives it."""

    def __init__(self, cluster: Cluster, slot: int, source: Node, target: Node) -> None:
        self.slot, self.source, self.target = slot, source, target
        self._cluster = cluster

    def begin(self) -> Migration:
        """From now on the source answers ASK or TRYAGAIN for what it lacks."""
        ids = self._cluster.ids
        self.target.ask("CLUSTER", "SETSLOT", self.slot, "IMPORTING", ids[self.source.port])
        self.source.ask("CLUSTER", "SETSLOT", self.slot, "MIGRATING", ids[self.target.port])
        return self

    def keys(self, node: Node | None = None) -> list[bytes]:
        """Keys of the slot that are still at the source (or at another node)."""
        node = node or self.source
        count = node.ask("CLUSTER", "COUNTKEYSINSLOT", self.slot)
        return list(node.ask("CLUSTER", "GETKEYSINSLOT", self.slot, max(count, 1)))

    def move(self, wanted: Callable[[bytes], bool] = lambda key: True, most: int = 100) -> int:
        """Move up to `most` keys that are wanted to the target; how many were moved."""
        chosen = [key for key in self.keys() if wanted(key)][:most]
        if chosen:
            where = (HOST, self.target.port, "", 0, 5000)
            self.source.ask("MIGRATE", *where, "KEYS", *chosen, socket_timeout=10.0)
        return len(chosen)

    def move_all(self) -> None:
        """Move everything that is left, a hundred keys at a time."""
        while self.move():
            pass

    def finish(self) -> None:
        """Give the slot to the target; every node is told."""
        assert not self.keys(), "there are keys left at the source: move_all() first"
        owner = self._cluster.ids[self.target.port]
        others = [n for n in self._cluster.primaries if n not in (self.source, self.target)]
        for node in (self.target, self.source, *others):
            if node.running:
                node.ask("CLUSTER", "SETSLOT", self.slot, "NODE", owner)


class Cluster:
    """Nodes that share the slots. `primaries` are those of the start; a failover changes roles."""

    def __init__(self, nodes: Sequence[Node], primaries: int) -> None:
        self.nodes = list(nodes)
        self.primaries = self.nodes[:primaries]
        self.replicas = self.nodes[primaries:]
        self.ids = {node.port: node.ask("CLUSTER", "MYID").decode() for node in self.nodes}

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"{HOST}:{node.port}" for node in self.nodes[:3])

    def slot_of(self, key: str) -> int:
        """The slot of a key, as a server says."""
        node = next(node for node in self.nodes if node.running)
        return int(node.ask("CLUSTER", "KEYSLOT", key))

    def owner(self, slot: int) -> Node | None:
        """The primary that owns a slot, as the first node that answers sees it."""
        for node in self.nodes:
            if node.running:
                with contextlib.suppress(redis.RedisError):
                    for start, end, primary, *_ in _ranges(node):
                        if start <= slot <= end:
                            return next(n for n in self.nodes if n.port == int(primary[1]))
        return None

    def migration(self, slot: int, target: Node) -> Migration:
        """A live migration of a slot to `target`, not begun yet."""
        source = self.owner(slot)
        assert source is not None
        assert source is not target
        return Migration(self, slot, source, target)

    def settled(self) -> bool:
        """Do all running nodes agree on who owns what, and is every slot served?"""
        views = []
        for node in self.nodes:
            if node.running:
                about = node.ask("CLUSTER", "INFO").decode()
                if "cluster_state:ok" not in about:
                    return False
                views.append(sorted((int(r[0]), int(r[1]), int(r[2][1])) for r in _ranges(node)))
        return all(view == views[0] for view in views)

    def wait_until_settled(self, timeout: float = 20.0) -> None:
        wait_until(self.settled, timeout, "a settled cluster")

    def wait_for_failover(self, old: Node, slot: int, timeout: float = 20.0) -> Node:
        """Wait until another node than `old` owns `slot`, and the cluster has settled."""

        def new() -> Node | None:
            node = self.owner(slot)
            return node if node and node is not old and self.settled() else None

        found = wait_until(new, timeout, "a new owner")
        assert found is not None
        return found


def _ranges(node: Node) -> list[Any]:
    """CLUSTER SLOTS as the wire has it: redis-py would make a dict of it."""
    with node.client() as client:
        client.set_response_callback("CLUSTER SLOTS", lambda reply, **_: reply)
        reply: list[Any] = client.execute_command("CLUSTER SLOTS")
        return reply


@contextlib.contextmanager
def cluster(
    kind: str = "redis",
    primaries: int = 3,
    replicas: int | Sequence[int] = 0,
    *,
    node_timeout_ms: int = 1500,
    **settings: str,
) -> Iterator[Cluster]:
    """A Cluster with its slots spread evenly. `replicas`: how many of the first primaries have one,
    or the number of the primary of each: (0, 0) gives two to the first.
    """
    followed = tuple(range(replicas)) if isinstance(replicas, int) else tuple(replicas)
    words = {
        "cluster_enabled": "yes",
        "cluster_config_file": "nodes.conf",
        "cluster_node_timeout": str(node_timeout_ms),
        "cluster_replica_validity_factor": "0",
        "cluster_migration_barrier": "99",
    }
    with folder_of_nodes() as (folder, nodes):
        for _ in range(primaries + len(followed)):
            node = Node(kind, folder, cluster_port=str(free_port()), **words, **settings)
            nodes.append(node)
            node.launch()
        for node in nodes:
            node.wait()
        group = Cluster(nodes, primaries)
        _join(group, followed)
        yield group


def _join(group: Cluster, followed: Sequence[int]) -> None:
    first, *rest = group.nodes
    share = SLOTS // len(group.primaries)
    for number, node in enumerate(group.nodes):
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for number, node in enumerate(group.primaries):
        end = SLOTS - 1 if node is group.primaries[-1] else (number + 1) * share - 1
        node.ask("CLUSTER", "ADDSLOTSRANGE", number * share, end)
    for node in rest:
        node.ask("CLUSTER", "MEET", HOST, first.port, first.settings["cluster-port"])

    wait_until(lambda: all(_known(node) == len(group.nodes) for node in group.nodes), 20)
    for number, node in zip(followed, group.replicas, strict=True):
        node.ask("CLUSTER", "REPLICATE", group.ids[group.primaries[number].port])
    group.wait_until_settled()
    for node in group.replicas:
        wait_until(functools.partial(_linked, node), 20, "a replica with its primary")


def _linked(node: Node) -> bool:
    return node.info("replication")["master_link_status"] == "up"


def _known(node: Node) -> int:
    about = node.ask("CLUSTER", "INFO").decode()
    return next(
        int(line.partition(":")[2])
        for line in about.splitlines()
        if line.startswith("cluster_known_nodes")
    )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
