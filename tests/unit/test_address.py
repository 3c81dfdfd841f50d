"""Reading Redis URLs, and choosing one. No Redis, no embedded server."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import parse_url

from taskq.address import Address, Resolved, resolve
from taskq.errors import ConfigError
from taskq.url import Tls

GOOD = [
    ("redis://localhost:6379/0", Address()),
    ("redis://localhost", Address()),
    ("localhost:6379", Address()),
    ("  redis://localhost:6379\n", Address()),
    ("REDIS://localhost", Address()),
    ("redis://localhost/", Address()),
    ("redis_1:6380/2", Address(host="redis_1", port=6380, db=2)),
    ("redis://h:1/99", Address(host="h", port=1, db=99)),
    ("redis://h:65535?db=3", Address(host="h", port=65535, db=3)),
    ("redis://h/3?db=3", Address(host="h", db=3)),
    ("redis://h/2147483647", Address(host="h", db=2147483647)),
    ("redis://:pw@h", Address(host="h", password="pw")),
    ("redis://u:pw@h", Address(host="h", username="u", password="pw")),
    ("redis://u@h", Address(host="h", username="u")),
    ("redis://:@h", Address(host="h")),
    ("redis://u:p%40%3A%2F%23%25%3Fw@h", Address(host="h", username="u", password="p@:/#%?w")),
    ("redis://:a@b@h", Address(host="h", password="a@b")),
    ("redis://:a:b@h", Address(host="h", password="a:b")),
    ("redis://:a/b@h:1/2", Address(host="h", port=1, db=2, password="a/b")),
    ("redis://:a#b@h", Address(host="h", password="a#b")),
    ("redis://:a?b@h", Address(host="h", password="a?b")),
    ("redis://:50%off@h", Address(host="h", password="50%off")),
    ("redis://:12/34@h", Address(host="h", password="12/34")),
    ("redis://:a+b@h", Address(host="h", password="a+b")),
    ("redis://h?password=a+b%40c&username=u", Address(host="h", username="u", password="a+b@c")),
    ("redis://h?password=a@b", Address(host="h", password="a@b")),
    ("redis://[::1]:6379", Address(host="::1")),
    ("[::1]:6379", Address(host="::1")),
    ("redis://:p@[2001:db8::2]/1", Address(host="2001:db8::2", db=1, password="p")),
    ("redis://[fe80::1%25eth0]:7000", Address(host="fe80::1%eth0", port=7000)),
    ("rediss://h:6380", Address(scheme="rediss", host="h", port=6380, tls=Tls())),
    (
        "rediss://h?ssl_ca_certs=/e/ca.pem&ssl_certfile=/e/c.pem&ssl_keyfile=/e/k.pem",
        Address(
            scheme="rediss",
            host="h",
            tls=Tls(ca_file="/e/ca.pem", cert_file="/e/c.pem", key_file="/e/k.pem"),
        ),
    ),
    (
        "rediss://h?ssl_cert_reqs=none",
        Address(scheme="rediss", host="h", tls=Tls(verify=False, check_hostname=False)),
    ),
    (
        "rediss://h?ssl_check_hostname=False",
        Address(scheme="rediss", host="h", tls=Tls(check_hostname=False)),
    ),
    ("unix:///run/redis.sock", Address(scheme="unix", path="/run/redis.sock")),
    ("unix:///run/redis.sock?db=1", Address(scheme="unix", path="/run/redis.sock", db=1)),
    ("unix:///a%20b@c/r.sock", Address(scheme="unix", path="/a b@c/r.sock")),
    (
        "unix://u:p%2Fw@/run/r.sock",
        Address(scheme="unix", path="/run/r.sock", username="u", password="p/w"),
    ),
]

THREE = (("a", 1), ("b", 26379), ("::1", 3))
GROUPS = [
    (
        "redis+sentinel://h/mymaster",
        Address(
            scheme="redis+sentinel",
            host="h",
            port=26379,
            nodes=(("h", 26379),),
            service="mymaster",
        ),
    ),
    (
        "redis+sentinel://u:p%40w@a:1,b,[::1]:3/my.master-1/2?sentinel_password=s%2Fp",
        Address(
            scheme="redis+sentinel",
            host="a",
            port=1,
            nodes=THREE,
            service="my.master-1",
            db=2,
            username="u",
            password="p@w",
            sentinel_password="s/p",
        ),
    ),
    (
        "rediss+sentinel://a:1,b/m?db=3&sentinel_username=s&sentinel_password=x&ssl_ca_certs=/c",
        Address(
            scheme="rediss+sentinel",
            host="a",
            port=1,
            nodes=THREE[:2],
            service="m",
            db=3,
            sentinel_username="s",
            sentinel_password="x",
            tls=Tls(ca_file="/c"),
        ),
    ),
    (
        "redis+cluster://h",
        Address(scheme="redis+cluster", host="h", nodes=(("h", 6379),)),
    ),
    (
        "REDISS+CLUSTER://:a/b@x:1,y:2,x:1/0?ssl_check_hostname=no",
        Address(
            scheme="rediss+cluster",
            host="x",
            port=1,
            nodes=(("x", 1), ("y", 2)),
            password="a/b",
            tls=Tls(check_hostname=False),
        ),
    ),
]

BAD = [
    ("", "empty"),
    ("   ", "empty"),
    ("redis://", "host is missing"),
    ("redis://:6379", "host is missing"),
    ("redis:///0", "host is missing"),
    ("redis://h:70000", "1 to 65535"),
    ("redis://h:0", "1 to 65535"),
    ("redis://h:-1", "1 to 65535"),
    ("redis://h:", "1 to 65535"),
    ("redis://h:\uff16\uff13\uff17\uff19", "1 to 65535"),
    ("h:port", "1 to 65535"),
    ("localhost", "host:port"),
    ("redis://h/x", "database"),
    ("redis://h/-1", "database"),
    ("redis://h/0/1", "database"),
    ("redis://h/2147483648", "database"),
    ("redis://h?db=", "database"),
    ("redis://h/1?db=2", "two databases"),
    ("redis://h?db=1&db=1", "given twice"),
    ("redis://h?socket_timeout=1", "known: db"),
    ("redis://h#x", "cannot be read"),
    ("redis://h1:1,h2:2", "1 to 65535|brackets"),
    ("redis://h1,h2", "one host"),
    ("redis://a b:1", "space"),
    ("redis://a\x00b:1", "control"),
    ("redis://:%ff@h", "UTF-8"),
    ("redis://::1", "brackets"),
    ("redis://[::1", "cannot be read"),
    ("redis://[::g]:1", "IPv6"),
    ("http://h:6379", "unknown scheme"),
    ("://h", "unknown scheme"),
    ("redis+sentinel://h", "name of the service"),
    ("redis+sentinel://h:26379,b/", "name of the service"),
    ("redis+sentinel://h/a%20b", "name of the service"),
    ("redis+sentinel:///m", "host is missing"),
    ("redis+sentinel://a,,b/m", "host is missing"),
    ("redis+sentinel://a:b,c/m", "1 to 65535"),
    ("redis+sentinel://a:1:2,c/m", "two colons"),
    ("redis+sentinel://[::g],c/m", "IPv6"),
    ("redis+sentinel://[::1]x/m", "cannot be read"),
    ("redis+sentinel://a/m/x", "database"),
    ("redis+sentinel://a/m/1?db=2", "two databases"),
    ("redis+sentinel://a/m?sentinel_username=u", "without sentinel_password"),
    ("redis+sentinel://a/m?socket_timeout=1", "known: .*sentinel_password"),
    ("redis+sentinel://a/m?ssl_ca_certs=/x", "need rediss"),
    ("redis+cluster://h/1", "only database 0"),
    ("redis+cluster://h?db=1", "only database 0"),
    ("redis+cluster://h/m", "database must be a number"),
    ("redis+cluster://h?sentinel_password=x", "unknown"),
    ("redis+cluster://", "host is missing"),
    ("sentinel://h/m", "redis.sentinel://"),
    ("redis-cluster://h", "redis.cluster://"),
    ("embedded://mem", "embedded://default"),
    ("redis://h?ssl_ca_certs=/x", "need rediss"),
    ("unix:///s?ssl_certfile=/x", "need rediss"),
    ("rediss://h?ssl_cert_reqs=maybe", "required or none"),
    ("rediss://h?ssl_check_hostname=maybe", "true or false"),
    ("rediss://h?ssl_keyfile=/k", "without ssl_certfile"),
    ("rediss://h?ssl_ca_certs=", "is empty"),
    ("unix://relative/path", "absolute path"),
    ("unix://", "absolute path"),
    ("unix:///", "path of a socket"),
    ("unix:///" + "x" * 107, "107 bytes"),
]

LEAKS = [
    "redis://u:hunter2@h:70000",
    "redis://u:hun/ter2@h:70000",
    "redis://u:hunter2@h:1/0?ssl_ca_certs=/a@b",
    "redis://:hunter2",
    "redis://user:hunter2",
    "redis://h:70000?password=hunter2",
    "redis://h:70000?password=x@hunter2",
    "u:hunter2@h:6379",
    "http://u:hunter2@h",
    "redis://u:hunter2@h:1/0?x=1",
    "redis://u:hunter2 @h",
    "redis://hunter2@h:70000",
    "unix://u:hunter2@relative",
    "redis+sentinel://u:hunter2@a:1,b:2",
    "redis+sentinel://u:hun/ter2@a:1,b:70000/m",
    "redis+sentinel://a:70000/m?sentinel_password=hunter2",
    "redis+cluster://u:hunter2@a:1,b:2/7",
    "redis+cluster://:hunter2",
    "redis+cluster://a:1,u:hunter2@b/7",
]


@pytest.mark.parametrize(("text", "address"), [*GOOD, *GROUPS])
def test_a_good_url_is_read(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize(("text", "address"), [*GOOD, *GROUPS])
def test_a_good_url_survives_the_round_trip(text: str, address: Address) -> None:
    assert Address.parse(address.url()) == address


@pytest.mark.parametrize(("text", "address"), GOOD)
def test_the_url_means_the_same_to_redis_py(text: str, address: Address) -> None:
    parsed = parse_url(address.url())  # type: ignore[no-untyped-call]

    assert parsed.get("db", 0) == address.db
    assert parsed.get("password") == address.password
    assert parsed.get("username") == address.username
    if address.scheme == "unix":
        assert parsed["path"] == address.path
    else:
        assert (parsed["host"], parsed["port"]) == (address.host.lower(), address.port)


@pytest.mark.parametrize(("text", "why"), BAD)
def test_a_bad_url_is_refused_in_one_line(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        Address.parse(text)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", LEAKS)
def test_a_refusal_never_shows_a_password(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Address.parse(text)

    assert "hunter2" not in str(caught.value)
    assert "ter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("value", [None, 6379, b"redis://h"])
def test_a_value_that_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="must be text"):
        Address.parse(value)  # type: ignore[arg-type]


def test_printing_an_address_masks_its_secrets() -> None:
    address = Address.parse("redis://u:hunter2@h:1/2")
    alone = Address.parse("redis://hunter2@h")

    assert address.masked == "redis://u:***@h:1/2"
    assert alone.masked == "redis://***@h:6379/0"
    assert "hunter2" not in f"{address} {address!r} {alone} {[alone]}"


def test_printing_a_group_masks_the_passwords_of_both_kinds() -> None:
    address = Address.parse("redis+sentinel://u:hunter2@a:1,b:2/m/3?sentinel_password=hunter3")

    assert address.masked == "redis+sentinel://u:***@a:1,b:2/m/3?sentinel_password=***"
    assert "hunter" not in f"{address} {address!r}"


def test_one_server_of_a_group_has_its_credentials_and_a_sentinel_its_own() -> None:
    group = Address.parse(
        "rediss+sentinel://u:p@a:1,b:2/m/3?sentinel_password=s&ssl_cert_reqs=none"
    )
    tls = Tls(verify=False, check_hostname=False)

    assert group.at("c", 9) == Address(
        scheme="rediss", host="c", port=9, db=3, username="u", password="p", tls=tls
    )
    assert group.members() == [
        Address(scheme="rediss", host="a", port=1, password="s", tls=tls),
        Address(scheme="rediss", host="b", port=2, password="s", tls=tls),
    ]
    assert (group.sentinel, group.cluster, group.secure) == (True, False, True)


def test_a_node_of_a_cluster_has_the_credentials_of_the_url() -> None:
    group = Address.parse("redis+cluster://u:p@a:1,b:2")

    assert group.members() == [group.at("a", 1), group.at("b", 2)]
    assert group.at("a", 1) == Address(host="a", port=1, username="u", password="p")
    assert (group.sentinel, group.cluster, group.secure) == (False, True, False)


@given(
    user=st.text(max_size=12),
    password=st.text(max_size=24),
    host=st.sampled_from(["h", "a.b-c_d", "::1", "10.0.0.1"]),
    port=st.integers(1, 65535),
    db=st.integers(0, 2**31 - 1),
)
def test_any_credentials_survive_the_round_trip(
    user: str, password: str, host: str, port: int, db: int
) -> None:
    address = Address(host=host, port=port, db=db, username=user or None, password=password or None)

    assert Address.parse(address.url()) == address


@given(st.text(alphabet=":/@?#%[]=&.,redisunx+0123456789 \n", max_size=40))
def test_any_text_is_read_or_refused_with_a_config_error(text: str) -> None:
    for prefix in ("", "redis://", "rediss://", "unix://", "redis+sentinel://", "redis+cluster://"):
        with contextlib.suppress(ConfigError):
            address = Address.parse(prefix + text)

            assert Address.parse(address.url()) == address


class World:
    """Stands in for the probe and the embedded server; counts what was asked of them."""

    def __init__(self, *, local: bool = False) -> None:
        self.local = local
        self.probed: list[tuple[str, int, float]] = []
        self.started = 0

    def probe(self, host: str, port: int, seconds: float) -> bool:
        self.probed.append((host, port, seconds))
        return self.local

    def start(self) -> str:
        self.started += 1
        return "unix:///private/s.sock"

    def resolve(
        self, configured: str | None, *, production: bool = False, embedded_allowed: bool = True
    ) -> Resolved:
        return resolve(
            configured,
            production=production,
            embedded_allowed=embedded_allowed,
            probe=self.probe,
            start_embedded=self.start,
        )


@pytest.mark.parametrize("production", [True, False])
def test_a_configured_url_is_used_without_looking_elsewhere(production: bool) -> None:
    world = World(local=True)

    resolved = world.resolve("redis://nowhere:1", production=production)

    assert resolved == Resolved(address=Address(host="nowhere", port=1), source="configured")
    assert (world.probed, world.started) == ([], 0)


@pytest.mark.parametrize("configured", ["", "redis://", "http://h", "embedded://mem"])
def test_a_wrong_configured_url_never_falls_back(configured: str) -> None:
    world = World(local=True)

    with pytest.raises(ConfigError):
        world.resolve(configured)

    assert (world.probed, world.started) == ([], 0)


def test_nothing_configured_takes_the_redis_on_this_machine() -> None:
    world = World(local=True)

    resolved = world.resolve(None)

    assert resolved == Resolved(address=Address(host="127.0.0.1"), source="local")
    assert world.probed == [("127.0.0.1", 6379, 0.3)]
    assert world.started == 0


def test_nothing_configured_and_no_redis_starts_the_embedded_one() -> None:
    world = World()

    resolved = world.resolve(None)

    assert resolved.source == "embedded"
    assert resolved.address.path == "/private/s.sock"
    assert world.started == 1


@pytest.mark.parametrize(
    "configured", ["embedded://default", "embedded://", " EMBEDDED://default/ "]
)
def test_embedded_can_be_asked_for_and_then_a_local_redis_is_not_looked_for(
    configured: str,
) -> None:
    world = World(local=True)

    resolved = world.resolve(configured)

    assert resolved.source == "embedded"
    assert world.probed == []


@pytest.mark.parametrize("configured", [None, "embedded://default"])
@pytest.mark.parametrize(
    ("options", "why"),
    [({"production": True}, "TASKQ_ENV=production"), ({"embedded_allowed": False}, "switched off")],
)
def test_a_forbidden_embedded_server_is_refused_with_three_fixes(
    configured: str | None, options: dict[str, bool], why: str
) -> None:
    world = World()

    with pytest.raises(ConfigError, match=why) as caught:
        world.resolve(configured, **options)

    assert world.started == 0
    assert all(f"({number})" in str(caught.value) for number in (1, 2, 3))
    assert "TASKQ_REDIS_URL" in str(caught.value)
    assert "\n" not in str(caught.value)
