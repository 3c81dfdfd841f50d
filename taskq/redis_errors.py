"""What Redis's refusals mean, in one place: try again, ask an operator, or report a bug. Used by
both stores.

No other room looks at error codes; everything above sees the classes of taskq.errors.
"""

from __future__ import annotations

from taskq.errors import ScriptBug, ServerUnsupported, StoreError, StoreRefused, StoreUnavailable

#: The server cannot serve right now; the same call may work later. Never charged to a job.
PASSING = frozenset(
    {
        "BUSY",
        "LOADING",
        "MISCONF",
        "OOM",
        "READONLY",
        "CLUSTERDOWN",
        "TRYAGAIN",
        "NOREPLICAS",
        "MASTERDOWN",
        "UNBLOCKED",
        "NOTBUSY",
        "MOVED",
        "ASK",
    }
)
#: What a script hears of a key whose slot is on its way to another node; Redis and Valkey say it
#: without a code.
_NOT_LOCAL = "access a non local key"
#: What a script hears in a Cluster that has lost its majority, or some slots.
_DOWN = "while the cluster is down"
#: This server is the wrong one by now; another may be right.
DEMOTED = ("READONLY", "MASTERDOWN")
#: A person has to change something; trying again is no use.
REFUSED = {
    "NOAUTH": "give the password in the URL: redis://:password@host:6379",
    "WRONGPASS": "check user name and password in the URL",
    "NOPERM": "give this Redis user the missing permission",
    "WRONGTYPE": "a key taskq owns holds another type; see `taskq doctor`",
}
_HINTS = {
    "OOM": "the server is out of memory; free some or raise maxmemory",
    "MISCONF": "the server cannot write to its disk",
    "READONLY": "this is a replica; connect to the primary",
    "LOADING": "the server is loading its data",
    "BUSY": "a slow script is running on the server",
    "MOVED": "the server belongs to a Cluster; use redis+cluster://",
    "ASK": "a slot is moving to another node; its queues wait until it is there",
    "TRYAGAIN": "a slot is moving to another node; its queues wait until it is there",
    "CLUSTERDOWN": "the Cluster has lost a node, or its majority",
    "MASTERDOWN": "this replica has lost its primary",
    "NOREPLICAS": "the primary has fewer good replicas than it must have",
}


class Moved(StoreUnavailable):
    """A node of a Cluster said that a slot belongs to another; the call was not run. `host` may be
    empty: the same as before. Seen by the stores only.
    """

    def __init__(self, message: str, *, slot: int = 0, host: str = "", port: int = 0) -> None:
        super().__init__(message)
        self.slot = slot
        self.host = host
        self.port = port


def _moved(line: str, text: str) -> StoreUnavailable:
    words = line.split()
    if len(words) >= 3 and words[1].isdigit():
        host, _, port = words[2].rpartition(":")
        if port.isdigit():
            return Moved(text, slot=int(words[1]), host=host.strip("[]"), port=int(port))
    return StoreUnavailable(text)


def server_error(message: str, where: str) -> StoreError:
    """The taskq error for an error reply; `where` is the server, masked."""
    code, _, rest = message.partition(" ")
    # An error raised inside a script may carry its code further in: "ERR ... script: hash, on
    # @user_script:1."
    if code == "ERR":
        for word in (*PASSING, *REFUSED):
            if f"{word} " in rest:
                code = word
                break
    line = " ".join(message.split())[:300]
    if code in PASSING:
        hint = _HINTS.get(code, "try again")
        text = f"Redis at {where} cannot serve now: {line} ({hint})"
        return _moved(line, text) if code == "MOVED" else StoreUnavailable(text)
    if _NOT_LOCAL in message or _DOWN in message:
        hint = _HINTS["TRYAGAIN" if _NOT_LOCAL in message else "CLUSTERDOWN"]
        return StoreUnavailable(f"Redis at {where} cannot serve now: {line} ({hint})")
    if code in REFUSED:
        return StoreRefused(f"Redis at {where} refused: {line} ({REFUSED[code]})")
    if "user_script" in message or "script" in rest:
        if "user executing the script can't" in message or "no permissions" in message.lower():
            return StoreRefused(f"Redis at {where} refused: {line} ({REFUSED['NOPERM']})")
        return ScriptBug(f"a script failed on Redis at {where}: {line}; please report this")
    if "max number of clients" in message:
        return StoreUnavailable(f"Redis at {where} cannot serve now: {line} (raise maxclients)")
    if "AUTH" in message or "invalid username-password" in message:
        return StoreRefused(f"Redis at {where} refused: {line} ({REFUSED['WRONGPASS']})")
    if "out of range" in message or "DB index" in message:
        return StoreRefused(f"Redis at {where} refused: {line} (no such database number)")
    return StoreError(f"Redis at {where} answered: {line}")


def unreachable(where: str, cause: BaseException | str) -> StoreUnavailable:
    """The error for a connection that cannot be made, or broke; the outcome of a sent call is
    unknown.
    """
    detail = str(cause) or type(cause).__name__
    return StoreUnavailable(
        f"Redis at {where} is not reachable: {detail}; is it running, and is the URL right?"
    )


def check_version(server: str, version: str, where: str) -> None:
    """ServerUnsupported below Redis 7.0 and Valkey 7.2."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    least = (7, 2) if server == "valkey" else (7, 0)
    if len(numbers) < 2 or numbers < least:
        raise ServerUnsupported(
            f"{server} {version} at {where} is too old: taskq needs Redis >= 7.0 or Valkey >= 7.2"
        )


def check_eviction(policy: str, where: str) -> None:
    """ServerUnsupported when the server may throw keys away."""
    if policy and policy != "noeviction":
        raise ServerUnsupported(
            f"Redis at {where} has maxmemory-policy {policy}, which may drop jobs:"
            " run `CONFIG SET maxmemory-policy noeviction`, and set it in redis.conf"
        )
