"""Reading a Redis URL: one server, a Sentinel group or a Cluster, as the words of an Address.

Pure text in, fields out; every refusal is one line that shows no credentials. What an address means
is address.py's affair.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from taskq.errors import ConfigError

#: Bytes a socket path may have on Linux (`sun_path` is 108 with its NUL).
MAX_SOCKET_PATH = 107
MAX_DB = 2**31 - 1
REDIS_PORT, SENTINEL_PORT = 6379, 26379

Scheme = Literal[
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
]
_TCP: tuple[Scheme, ...] = ("redis", "rediss")
_SENTINEL: tuple[Scheme, ...] = ("redis+sentinel", "rediss+sentinel")
_CLUSTER: tuple[Scheme, ...] = ("redis+cluster", "rediss+cluster")

_TAIL = re.compile(
    r"(?P<host>\[[^\]/?#@]*\]|[^:/?#@\[\]]*)(?::(?P<port>[^/?#@]*))?"
    r"(?:/(?P<path>[^?#@]*))?(?:\?(?P<query>[^#]*))?"
)
_GROUP_TAIL = re.compile(
    r"(?P<hosts>[^/?#@]*)(?:/(?P<path>[^?#@]*))?(?:\?(?P<query>[^#]*))?"
)  # hosts: h1:1,h2:2
_MEMBER = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?")
TLS_OPTIONS = (
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
)
_OPTIONS = ("db", "username", "password", *TLS_OPTIONS)
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
_STARTS_OPTION = re.compile(rf"[?&](?:{'|'.join((*_OPTIONS, *_SENTINEL_OPTIONS))})=")
_ONE_HOST = r"(?:\[[^\]]*\]|[\w.-]+)(?::\d{0,5})?"
_SHOWABLE = re.compile(rf"{_ONE_HOST}(?:,{_ONE_HOST})*(?:/[^?#]*)?(?:\?[^#]*)?|/.*")
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_NEARLY = re.compile(r"rediss?-(sentinel|cluster)|(sentinel|cluster)s?|(sentinel|cluster)\+rediss?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How a TLS connection checks the other side, and shows itself."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    check_hostname: bool = True


def read_url(text: str) -> dict[str, Any]:
    """The fields of an Address. Raises ConfigError, one line, credentials masked."""
    if not isinstance(text, str):
        raise ConfigError(f"Redis URL: must be text, not {type(text).__name__}")
    text = text.strip()
    if not text:
        raise ConfigError("Redis URL: is empty; give redis://host:6379 or leave it unset")
    if any(char.isspace() or not char.isprintable() for char in text):
        raise _bad(text, "has a space or control character inside; write it as %20")
    written, sep, rest = text.partition("://")
    scheme: Any = written.lower()
    if not sep:
        return _read_plain(text)
    if scheme == "unix":
        return _read_unix(text, rest)
    if scheme in (*_TCP, *_SENTINEL, *_CLUSTER):
        return _read_tcp(text, scheme, rest)
    if _NEARLY.fullmatch(scheme):
        raise _bad(
            text,
            "unknown scheme; write redis+sentinel://h1:26379,h2:26379/SERVICE or"
            " redis+cluster://h1:6379,h2:6379",
        )
    if scheme == "embedded":
        raise _bad(text, "only embedded://default can be used, and only as the configured URL")
    raise _bad(
        text,
        "unknown scheme; use redis://, rediss:// (TLS), unix:///path, redis+sentinel:// or"
        " redis+cluster://",
    )


def _read_plain(text: str) -> dict[str, Any]:
    if "@" in text:
        raise _bad(text, "write credentials in a URL: redis://user:password@host:6379")
    match = _TAIL.fullmatch(text)
    if match is None or match["port"] is None:
        raise _bad(text, "give host:port or a URL such as redis://localhost:6379")
    return _read_tail(text, "redis", "", text)


def _read_tcp(text: str, scheme: Scheme, rest: str) -> dict[str, Any]:
    """The standard reading first; if it fails, an unencoded `/ ? #` may sit in the password."""
    read = _read_tail if scheme in _TCP else _read_group
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    userinfo, at, _ = authority.rpartition("@")
    try:
        return read(text, scheme, userinfo, rest[len(userinfo) + len(at) :])
    except ConfigError:
        userinfo, at, tail = rest.rpartition("@")
        # An @ inside an option's value must not turn the rest of it into a host.
        if len(userinfo) < len(authority) or not at or _STARTS_OPTION.search(userinfo):
            raise
    return read(text, scheme, userinfo, tail)


def _read_tail(text: str, scheme: Scheme, userinfo: str, tail: str) -> dict[str, Any]:
    match = _TAIL.fullmatch(tail)
    if match is None:
        raise _unreadable(text)
    options = _options(text, match["query"])
    username, password = _credentials(text, userinfo, options)
    return {
        "scheme": scheme,
        "host": _host(text, match["host"], match["port"]),
        "port": _port(text, match["port"], REDIS_PORT),
        "db": _db(text, match["path"], options),
        "username": username,
        "password": password,
        "tls": _tls(text, scheme, options),
    }


def _read_group(text: str, scheme: Scheme, userinfo: str, tail: str) -> dict[str, Any]:
    """Several hosts; for Sentinel the name of what they watch comes first in the path."""
    match = _GROUP_TAIL.fullmatch(tail)
    if match is None:
        raise _unreadable(text)
    sentinel = scheme in _SENTINEL
    options = _options(text, match["query"], (*_OPTIONS, *_SENTINEL_OPTIONS * sentinel))
    nodes = _nodes(text, match["hosts"], SENTINEL_PORT if sentinel else REDIS_PORT)
    path: str | None = match["path"]
    found: dict[str, Any] = {}
    if sentinel:
        service, _, path = (match["path"] or "").partition("/")
        found["service"] = _decode(text, service)
        if not re.fullmatch(r"[\w.-]{1,128}", found["service"], re.ASCII):
            raise _bad(
                text,
                "needs the name of the service the sentinels watch, of letters, digits, '_', '.',"
                " '-': redis+sentinel://host:26379/mymaster",
            )
        found["sentinel_username"] = options.get("sentinel_username") or None
        found["sentinel_password"] = options.get("sentinel_password") or None
        if found["sentinel_username"] and not found["sentinel_password"]:
            raise _bad(text, "has a sentinel_username without sentinel_password")
    db = _db(text, path, options)
    if db and not sentinel:
        raise _bad(text, "a Cluster has only database 0")
    username, password = _credentials(text, userinfo, options)
    host, port = nodes[0]
    return {
        **found,
        "scheme": scheme,
        "host": host,
        "port": port,
        "nodes": nodes,
        "db": db,
        "username": username,
        "password": password,
        "tls": _tls(text, scheme, options),
    }


def _nodes(text: str, hosts: str, default_port: int) -> tuple[tuple[str, int], ...]:
    found = []
    for member in hosts.split(","):
        match = _MEMBER.fullmatch(member)
        if match is None:
            raise _unreadable(text)
        host = _host(text, match["host"], match["port"])
        found.append((host, _port(text, match["port"], default_port)))
    return tuple(dict.fromkeys(found))


def _read_unix(text: str, rest: str) -> dict[str, Any]:
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
    return {
        "scheme": "unix",
        "path": path,
        "db": db,
        "username": username,
        "password": password,
    }


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


def _port(text: str, port: str | None, default: int) -> int:
    if port is None:
        return default
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


def _options(text: str, query: str | None, known: tuple[str, ...] = _OPTIONS) -> dict[str, str]:
    options: dict[str, str] = {}
    for pair in (query or "").split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        if name not in known or name in options:
            raise _bad(text, f"an option is unknown or given twice; known: {', '.join(known)}")
        options[name] = _decode(text, value)
    return options


def _tls(text: str, scheme: Scheme, options: dict[str, str]) -> Tls | None:
    ca, cert, key, reqs, check = (options.get(name) for name in TLS_OPTIONS)
    if not scheme.startswith("rediss"):
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


def _unreadable(text: str) -> ConfigError:
    return _bad(text, "cannot be read; in a password write @ : / # ? % as %40 %3A %2F %23 %3F %25")


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
