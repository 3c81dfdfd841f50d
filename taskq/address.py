"""Where Redis is: reading a Redis URL, and choosing one when none is configured.

Pure but for `resolve`, whose two doors to the world (`probe`, `start_embedded`) can be replaced.
No connection pools and no environment here: the store connects, settings read variables.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

from taskq.errors import ConfigError

#: Bytes a socket path may have on Linux (`sun_path` is 108 with its NUL).
MAX_SOCKET_PATH = 107
#: Seconds a Redis on the local port has to answer before it counts as absent.
PROBE_SECONDS = 0.3
LOCAL_HOST, LOCAL_PORT = "127.0.0.1", 6379
MAX_DB = 2**31 - 1

_TAIL = re.compile(
    r"(?P<host>\[[^\]/?#@]*\]|[^:/?#@\[\]]*)(?::(?P<port>[^/?#@]*))?"
    r"(?:/(?P<db>[^?#@]*))?(?:\?(?P<query>[^#]*))?"
)
_TLS_OPTIONS = (
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
)
_OPTIONS = ("db", "username", "password", *_TLS_OPTIONS)
_STARTS_OPTION = re.compile(rf"[?&](?:{'|'.join(_OPTIONS)})=")
_SHOWABLE = re.compile(r"(?:\[[^\]]*\]|[\w.-]+)(?::\d{0,5})?(?:/[^?#]*)?(?:\?[^#]*)?|/.*")
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_NOT_YET = re.compile(r"rediss?\+(sentinel|cluster)|(sentinel|cluster)|rediss?-(sentinel|cluster)")

Scheme = Literal["redis", "rediss", "unix"]
Source = Literal["configured", "local", "embedded"]
#: host, port, seconds -> does a Redis answer there?
Probe = Callable[[str, int, float], bool]
#: -> the URL of a running embedded server
StartEmbedded = Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How a `rediss://` connection checks the other side, and shows itself."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    check_hostname: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Address:
    """One Redis server. `path` is set for `unix`, `tls` for `rediss`. Printing it masks secrets."""

    scheme: Scheme = "redis"
    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = None
    path: str | None = None
    tls: Tls | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `redis://`, `rediss://`, `unix://` or plain `host:port[/db]`.

        A password may hold `@ : / # ? %` percent-encoded, or as they are where only one reading
        is possible. Raises ConfigError, one line, credentials masked.
        """
        if not isinstance(text, str):
            raise ConfigError(f"Redis URL: must be text, not {type(text).__name__}")
        text = text.strip()
        if not text:
            raise ConfigError("Redis URL: is empty; give redis://host:6379 or leave it unset")
        if any(char.isspace() or not char.isprintable() for char in text):
            raise _bad(text, "has a space or control character inside; write it as %20")
        scheme, sep, rest = text.partition("://")
        scheme = scheme.lower()
        if not sep:
            return _parse_plain(text)
        if scheme == "unix":
            return _parse_unix(text, rest)
        if scheme in ("redis", "rediss"):
            return _parse_tcp(text, "rediss" if scheme == "rediss" else "redis", rest)
        if _NOT_YET.fullmatch(scheme):
            raise _bad(
                text, f"{scheme}:// is not supported yet; use redis://host:6379 of the primary"
            )
        if scheme == "embedded":
            raise _bad(text, "only embedded://default can be used, and only as the configured URL")
        raise _bad(text, "unknown scheme; use redis://, rediss:// (TLS) or unix:///path")

    def url(self) -> str:
        """The full URL, password included; `Address.parse` of it gives this address again."""
        return self._url(self._userinfo(quote(self.password or "", safe="")))

    @property
    def masked(self) -> str:
        """The URL for messages and logs: no password, nor a user name that stands alone."""
        if self.username and not self.password:
            return self._url("***@")
        return self._url(self._userinfo("***"))

    def __repr__(self) -> str:
        return f"Address({self.masked!r})"

    __str__ = __repr__

    def _userinfo(self, password: str) -> str:
        user = quote(self.username or "", safe="")
        if self.password:
            return f"{user}:{password}@"
        return f"{user}@" if user else ""

    def _url(self, userinfo: str) -> str:
        if self.path is not None:
            return f"unix://{userinfo}{quote(self.path)}" + (f"?db={self.db}" if self.db else "")
        host = f"[{quote(self.host, safe=':')}]" if ":" in self.host else self.host
        query = "&".join(f"{name}={quote(value)}" for name, value in self._tls_options())
        url = f"{self.scheme}://{userinfo}{host}:{self.port}/{self.db}"
        return f"{url}?{query}" if query else url

    def _tls_options(self) -> list[tuple[str, str]]:
        tls = self.tls or Tls()
        verify = None if tls.verify else "none"
        check = "false" if tls.verify and not tls.check_hostname else None
        values = (tls.ca_file, tls.cert_file, tls.key_file, verify, check)
        return [(n, v) for n, v in zip(_TLS_OPTIONS, values, strict=True) if v is not None]


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


def _parse_plain(text: str) -> Address:
    if "@" in text:
        raise _bad(text, "write credentials in a URL: redis://user:password@host:6379")
    match = _TAIL.fullmatch(text)
    if match is None or match["port"] is None:
        raise _bad(text, "give host:port or a URL such as redis://localhost:6379")
    return _parse_tail(text, "redis", "", text)


def _parse_tcp(text: str, scheme: Scheme, rest: str) -> Address:
    """The standard reading first; if it fails, an unencoded `/ ? #` may sit in the password."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    userinfo, at, _ = authority.rpartition("@")
    try:
        return _parse_tail(text, scheme, userinfo, rest[len(userinfo) + len(at) :])
    except ConfigError:
        userinfo, at, tail = rest.rpartition("@")
        # An @ inside an option's value must not turn the rest of it into a host.
        if len(userinfo) < len(authority) or not at or _STARTS_OPTION.search(userinfo):
            raise
    return _parse_tail(text, scheme, userinfo, tail)


def _parse_tail(text: str, scheme: Scheme, userinfo: str, tail: str) -> Address:
    match = _TAIL.fullmatch(tail)
    if match is None:
        raise _bad(
            text, "cannot be read; in a password write @ : / # ? % as %40 %3A %2F %23 %3F %25"
        )
    options = _options(text, match["query"])
    username, password = _credentials(text, userinfo, options)
    return Address(
        scheme=scheme,
        host=_host(text, match["host"], match["port"]),
        port=_port(text, match["port"]),
        db=_db(text, match["db"], options),
        username=username,
        password=password,
        tls=_tls(text, scheme, options),
    )


def _parse_unix(text: str, rest: str) -> Address:
    userinfo = ""
    if not rest.startswith("/"):
        userinfo, at, rest = rest.partition("@/")
        if not at:
            raise _bad(text, "needs an absolute path: unix:///run/redis.sock")
        rest = "/" + rest
    raw_path, _, query = rest.partition("?")
    path = _decode(text, raw_path)
    if path == "/" or "\0" in path:
        raise _bad(text, "needs the path of a socket: unix:///run/redis.sock")
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise _bad(text, f"a socket path has at most {MAX_SOCKET_PATH} bytes; use a shorter one")
    options = _options(text, query)
    _tls(text, "unix", options)
    username, password = _credentials(text, userinfo, options)
    db = _db(text, None, options)
    return Address(scheme="unix", path=path, db=db, username=username, password=password)


def _host(text: str, host: str, port: str | None) -> str:
    if host.startswith("["):
        try:
            return str(ipaddress.IPv6Address(_decode(text, host[1:-1])))
        except ValueError:
            raise _bad(text, "the brackets do not hold an IPv6 address") from None
    if not host and port and ":" in port:
        raise _bad(text, "an IPv6 address needs brackets: [::1]:6379")
    if not host:
        raise _bad(text, "the host is missing; write redis://localhost:6379")
    if not re.fullmatch(r"[\w.-]{1,253}", host):
        raise _bad(text, "is not the name or address of one host")
    return host


def _port(text: str, port: str | None) -> int:
    if port is None:
        return 6379
    number = _number(port)
    if ":" in port:
        raise _bad(text, "has two colons after the host; an IPv6 address needs brackets")
    # The value is not repeated: in redis://user:secret it is a password without its host.
    if number is None or not 1 <= number <= 65535:
        raise _bad(text, "the port must be a number from 1 to 65535")
    return number


def _db(text: str, from_path: str | None, options: dict[str, str]) -> int:
    from_query = options.get("db")
    if from_path and from_query is not None and from_path != from_query:
        raise _bad(text, "names two databases; keep /0 or ?db=0")
    written = from_path or (from_query if from_query is not None else "0")
    number = _number(written)
    if number is None or number > MAX_DB:
        raise _bad(text, f"the database must be a number from 0 to {MAX_DB}")
    return number


def _credentials(
    text: str, userinfo: str, options: dict[str, str]
) -> tuple[str | None, str | None]:
    user, _, password = userinfo.partition(":")
    username = _decode(text, user) or options.get("username") or None
    return username, _decode(text, password) or options.get("password") or None


def _options(text: str, query: str | None) -> dict[str, str]:
    options: dict[str, str] = {}
    for pair in (query or "").split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        if name not in _OPTIONS or name in options:
            raise _bad(text, f"an option is unknown or given twice; known: {', '.join(_OPTIONS)}")
        options[name] = _decode(text, value)
    return options


def _tls(text: str, scheme: str, options: dict[str, str]) -> Tls | None:
    ca, cert, key, reqs, check = (options.get(name) for name in _TLS_OPTIONS)
    if scheme != "rediss":
        if (ca, cert, key, reqs, check) != (None,) * 5:
            raise _bad(text, "TLS options need rediss://")
        return None
    if reqs not in (None, "required", "optional", "none"):
        raise _bad(text, "ssl_cert_reqs must be required or none")
    if check is not None and check.lower() not in _BOOLEANS:
        raise _bad(text, "ssl_check_hostname must be true or false")
    if "" in (ca, cert, key) or (key is not None and cert is None):
        raise _bad(text, "a TLS file is empty, or ssl_keyfile comes without ssl_certfile")
    verify = reqs != "none"
    return Tls(
        ca_file=ca,
        cert_file=cert,
        key_file=key,
        verify=verify,
        check_hostname=verify and _BOOLEANS[(check or "true").lower()],
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def _decode(text: str, part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise _bad(text, "a percent-encoded part is not UTF-8") from None


def _bad(text: str, why: str) -> ConfigError:
    return ConfigError(f"Redis URL {_safe(text)!r}: {why}")


def _safe(text: str) -> str:
    """What of an unreadable URL can be shown: nothing that might be a part of a password."""
    scheme, sep, rest = text.partition("://")
    if not sep:
        scheme, rest = "", text
    elif not re.fullmatch(r"[A-Za-z0-9+.-]{1,30}", scheme):
        scheme = "***"
    shown, credentials = rest, ""
    if "@" in rest and not rest.startswith("/"):
        shown, credentials = rest.rpartition("@")[2], "***@"
    if not _SHOWABLE.fullmatch(shown) or "password" in rest.lower():
        shown = "***"
    return f"{scheme}{sep}{credentials}{shown[:120]}"
