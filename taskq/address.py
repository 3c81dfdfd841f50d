"""Where Redis is: one server, a Sentinel group or a Cluster; and what to use when nothing is set.

Pure but for `resolve`, whose two doors to the world (`probe`, `start_embedded`) can be replaced.
No connection pools and no environment here: the stores connect, settings read variables. Reading
the text of a URL is url.py's affair.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import quote

from taskq.errors import ConfigError
from taskq.url import TLS_OPTIONS, Scheme, Tls, read_url

#: Seconds a Redis on the local port has to answer before it counts as absent.
PROBE_SECONDS = 0.3
LOCAL_HOST, LOCAL_PORT = "127.0.0.1", 6379

Source = Literal["configured", "local", "embedded"]
#: host, port, seconds -> does a Redis answer there?
Probe = Callable[[str, int, float], bool]
#: -> the URL of a running embedded server
StartEmbedded = Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Address:
    """One Redis server, or a group of them. Printing it masks secrets.

    `path` is set for `unix`, `tls` for the `rediss` schemes. For Sentinel `nodes` are the sentinels
    and `service` what they watch; for Cluster `nodes` are some of its nodes. `host` and `port` are
    then those of the first.
    """

    scheme: Scheme = "redis"
    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = None
    path: str | None = None
    tls: Tls | None = None
    nodes: tuple[tuple[str, int], ...] = ()
    service: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `redis://`, `rediss://`, `unix://`, `redis+sentinel://`, `redis+cluster://`, the
        latter two also with `rediss`, or plain `host:port[/db]`.

        A password may hold `@ : / # ? %` percent-encoded, or as they are where only one reading
        is possible. Raises ConfigError, one line, credentials masked.
        """
        return cls(**read_url(text))

    @property
    def secure(self) -> bool:
        """Is it spoken to through TLS?"""
        return self.scheme.startswith("rediss")

    @property
    def sentinel(self) -> bool:
        """Do sentinels know where the primary is?"""
        return self.service is not None

    @property
    def cluster(self) -> bool:
        """Is it a Cluster?"""
        return self.scheme.endswith("+cluster")

    def at(self, host: str, port: int) -> Address:
        """The address of one server of this group: same credentials, database and TLS."""
        return replace(
            self,
            scheme="rediss" if self.secure else "redis",
            host=host,
            port=port,
            nodes=(),
            service=None,
            sentinel_username=None,
            sentinel_password=None,
        )

    def members(self) -> list[Address]:
        """The addresses of the sentinels, with their own credentials; or of the nodes named."""
        found = [self.at(host, port) for host, port in self.nodes]
        if self.sentinel:
            user, password = self.sentinel_username, self.sentinel_password
            found = [replace(one, db=0, username=user, password=password) for one in found]
        return found

    def url(self) -> str:
        """The full URL, password included; `Address.parse` of it gives this address again."""
        return self._url(self._userinfo(quote(self.password or "", safe="")), masked=False)

    @property
    def masked(self) -> str:
        """The URL for messages and logs: no password, nor a user name that stands alone."""
        if self.username and not self.password:
            return self._url("***@", masked=True)
        return self._url(self._userinfo("***"), masked=True)

    def __repr__(self) -> str:
        return f"Address({self.masked!r})"

    __str__ = __repr__

    def _userinfo(self, password: str) -> str:
        user = quote(self.username or "", safe="")
        if self.password:
            return f"{user}:{password}@"
        return f"{user}@" if user else ""

    def _url(self, userinfo: str, *, masked: bool) -> str:
        if self.path is not None:
            return f"unix://{userinfo}{quote(self.path)}" + (f"?db={self.db}" if self.db else "")
        hosts = ",".join(_host_port(*node) for node in self.nodes or ((self.host, self.port),))
        options = [(name, quote(value)) for name, value in self._tls_options()]
        for name in ("sentinel_username", "sentinel_password"):
            value: str | None = getattr(self, name)
            if value:
                options.append((name, "***" if masked else quote(value, safe="")))
        query = "&".join(f"{name}={value}" for name, value in options)
        service = f"/{self.service}" if self.service else ""
        url = f"{self.scheme}://{userinfo}{hosts}{service}/{self.db}"
        return f"{url}?{query}" if query else url

    def _tls_options(self) -> list[tuple[str, str]]:
        tls = self.tls or Tls()
        verify = None if tls.verify else "none"
        check = "false" if tls.verify and not tls.check_hostname else None
        values = (tls.ca_file, tls.cert_file, tls.key_file, verify, check)
        return [(n, v) for n, v in zip(TLS_OPTIONS, values, strict=True) if v is not None]


def _host_port(host: str, port: int) -> str:
    return f"[{quote(host, safe=':')}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The address to use and where it came from; say it when `source` is `embedded`."""

    address: Address
    source: Source


def is_embedded(configured: str) -> bool:
    """Does this setting ask for the embedded server (`embedded://` or `embedded://default`)?"""
    return configured.strip().lower().rstrip("/") in ("embedded:", "embedded://default")


def resolve(
    configured: str | None,
    *,
    production: bool,
    embedded_allowed: bool = True,
    probe: Probe | None = None,
    start_embedded: StartEmbedded | None = None,
) -> Resolved:
    """Choose the Redis to use.

    What is configured, and never anything else; or a Redis on 127.0.0.1:6379 that answers within
    0.3 s; or the embedded server, unless `production` or not `embedded_allowed`.
    Raises ConfigError when nothing is left, StoreUnavailable when the embedded server fails.
    """
    explicit = configured is not None and is_embedded(configured)
    if configured is not None and not explicit:
        return Resolved(address=Address.parse(configured), source="configured")
    if not explicit and (probe or _probe)(LOCAL_HOST, LOCAL_PORT, PROBE_SECONDS):
        return Resolved(address=Address(host=LOCAL_HOST, port=LOCAL_PORT), source="local")
    if production or not embedded_allowed:
        forbids = "TASKQ_ENV=production forbids it" if production else "it is switched off"
        what = "embedded:// is configured" if explicit else "no Redis is configured or running here"
        raise ConfigError(
            f"Redis URL: {what}, and the embedded server is not used because {forbids}; "
            f"(1) set TASKQ_REDIS_URL=redis://host:6379, (2) start a Redis on "
            f"{LOCAL_HOST}:{LOCAL_PORT}, or (3) for development allow the embedded server"
        )
    return Resolved(address=Address.parse((start_embedded or _start_embedded)()), source="embedded")


def _probe(host: str, port: int, seconds: float) -> bool:
    # Late: most programs have a URL configured and never need this.
    from taskq.embedded.resp import is_redis

    return is_redis((host, port), timeout=seconds)


def _start_embedded() -> str:
    if os.name == "nt":
        raise ConfigError(
            "embedded server: does not run on Windows; use WSL, or Docker and TASKQ_REDIS_URL"
        )
    from taskq.embedded import ensure

    return ensure().url
