"""The codec: what crosses, what is refused and how, and that no bytes can do harm."""

from __future__ import annotations

import enum
import io
import math
import threading
import tracemalloc
from collections import OrderedDict, namedtuple
from dataclasses import InitVar, dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskq import codec
from taskq.codec import Codec
from taskq.errors import BadPayload, ConfigError, PayloadTooLarge, SerializationError

LIMIT = 1_048_576


@dataclass(frozen=True)
class Point:
    x: object
    y: object = 0


@dataclass
class Row:
    owner: object


@dataclass
class Sealed:
    key: InitVar[str]
    body: int = 0


class Colour(enum.IntEnum):
    RED = 1


Pair = namedtuple("Pair", "left right")


@pytest.fixture
def app_codec() -> Codec:
    own = Codec()
    own.register_dataclass(Point)
    own.register_dataclass(Row)
    return own


REGISTERED = Codec()
REGISTERED.register_dataclass(Point)

ZONES = st.sampled_from(["Europe/Rome", "America/New_York", "Asia/Kathmandu", "UTC"])
OFFSETS = st.integers(-86_399, 86_399).map(lambda s: timezone(timedelta(seconds=s)))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.datetimes(timezones=OFFSETS | st.just(UTC))
    | st.datetimes(timezones=ZONES.map(ZoneInfo))
)
HASHABLE = st.recursive(
    SCALARS,
    lambda inner: (
        st.frozensets(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.builds(Point, inner, inner)
    ),
    max_leaves=4,
)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(HASHABLE, max_size=3)
        | st.dictionaries(HASHABLE, inner, max_size=3)
        | st.builds(Point, inner, inner)
    ),
    max_leaves=12,
)


def same(left: object, right: object) -> bool:
    """Equal in value and in type, at every depth."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left == right and all(
            same(a, b) for a, b in zip(left.items(), right.items(), strict=True)
        )
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Point) and isinstance(right, Point):
        return same(left.x, right.x) and same(left.y, right.y)
    if isinstance(left, datetime) and isinstance(right, datetime):
        zones = [getattr(value.tzinfo, "key", None) for value in (left, right)]
        return (
            left.replace(tzinfo=None) == right.replace(tzinfo=None)
            and left.utcoffset() == right.utcoffset()
            and zones[0] == zones[1]
        )
    return left == right


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(VALUES, max_size=4), st.dictionaries(st.text(max_size=5), VALUES, max_size=3))
def test_every_supported_value_comes_back_equal_and_of_the_same_type(
    args: list[object], kwargs: dict[str, object]
) -> None:
    payload = REGISTERED.encode_call(tuple(args), kwargs, limit=LIMIT)

    back_args, back_kwargs = REGISTERED.decode_call(payload)

    assert same(tuple(args), back_args)
    assert same(kwargs, back_kwargs)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(VALUES)
def test_a_value_comes_back_from_encode_value(value: object) -> None:
    packed = REGISTERED.encode_value(value, limit=LIMIT)

    assert same(value, REGISTERED.decode_value(packed))


def test_a_call_without_arguments_is_one_byte() -> None:
    assert codec.encode_call((), {}, limit=1) == b"\x90"
    assert codec.decode_call(b"\x90") == ((), {})


def test_a_call_without_keywords_spends_two_bytes_on_the_frame() -> None:
    assert len(codec.encode_call((1,), {}, limit=LIMIT)) == 3
    assert codec.decode_call(codec.encode_call((), {"a": 1}, limit=LIMIT)) == ((), {"a": 1})


def test_nan_and_infinity_cross() -> None:
    packed = codec.encode_value([math.nan, math.inf, -math.inf], limit=LIMIT)

    back = codec.decode_value(packed)

    assert isinstance(back, list)
    assert math.isnan(back[0])
    assert back[1:] == [math.inf, -math.inf]


def test_a_daylight_saving_fold_keeps_its_instant_and_its_zone() -> None:
    rome = ZoneInfo("Europe/Rome")
    moments = [datetime(2024, 10, 27, 2, 30, tzinfo=rome, fold=fold) for fold in (0, 1)]

    back = codec.decode_value(codec.encode_value(moments, limit=LIMIT))

    assert isinstance(back, list)
    assert [moment.utcoffset() for moment in back] == [timedelta(hours=2), timedelta(hours=1)]
    assert [moment.fold for moment in back] == [0, 1]
    assert all(moment.tzinfo is rome for moment in back)


def test_equal_sets_give_equal_bytes_whatever_their_history() -> None:
    there, back_again = set(), set()
    for number in range(2000):
        there.add(f"key-{number}")
    for number in reversed(range(2000)):
        back_again.add(f"key-{number}")

    assert codec.encode_value(there, limit=LIMIT) == codec.encode_value(back_again, limit=LIMIT)


def test_a_set_of_mixed_types_crosses() -> None:
    mixed = {1, "a", None, (1, 2), b"x"}

    assert codec.decode_value(codec.encode_value(mixed, limit=LIMIT)) == mixed


def test_subclasses_of_scalars_arrive_plain() -> None:
    class Text(str):
        pass

    class Number(int):
        pass

    back = codec.decode_value(codec.encode_value([Text("a"), Number(7)], limit=LIMIT))

    assert isinstance(back, list)
    assert back == ["a", 7]
    assert [type(item) for item in back] == [str, int]


def test_a_timestamp_written_by_another_language_is_a_datetime_in_utc() -> None:
    foreign = b"\xd6\xff" + (86_400).to_bytes(4, "big")

    assert codec.decode_value(foreign) == datetime(1970, 1, 2, tzinfo=UTC)


def a_generator() -> object:
    return (number for number in [1])


UNSENDABLE = [
    (threading.Lock(), "a threading.Lock cannot be sent; send an id or a path instead"),
    (threading.RLock(), "a threading.RLock cannot be sent"),
    (lambda: 1, "a lambda cannot be sent"),
    (a_generator, "a function cannot be sent"),
    (a_generator(), "a generator cannot be sent; send list(...) of it"),
    (io.BytesIO(), "an open file cannot be sent"),
    (Path("x"), "a path object cannot be sent; send str(...) of it"),
    (Point, "a class cannot be sent"),
    (ValueError("x"), "an exception cannot be sent; send str(...) of it"),
    (object(), "an object cannot be sent"),
    (Colour.RED, "is an enum member and cannot be sent; send its .value"),
    (Point(1), "is a dataclass that is not registered; register it with register_dataclass"),
    (OrderedDict(a=1), "a collections.OrderedDict would lose its type and cannot be sent; "),
    (Pair(1, 2), "would lose its type and cannot be sent; send tuple(...)"),
    (datetime(2024, 1, 1), "a datetime needs a timezone"),
    (2**64, "an int of 65 bits cannot be sent"),
    (-(2**63) - 1, "an int of 64 bits cannot be sent"),
    ("\ud800", "a str with a lone surrogate is not valid text"),
]


@pytest.mark.parametrize(("value", "words"), UNSENDABLE, ids=[words for _, words in UNSENDABLE])
def test_what_cannot_be_sent_is_named_with_its_place_and_a_remedy(
    value: object, words: str
) -> None:
    with pytest.raises(SerializationError) as caught:
        codec.encode_call((), {"rows": [0, (1, {"k": value})]}, limit=LIMIT)

    message = str(caught.value)
    assert message.startswith("argument 'rows'[1][1]['k']: ")
    assert words in message
    assert "\n" not in message


def test_a_coroutine_is_named() -> None:
    async def work() -> None: ...

    coroutine = work()
    try:
        with pytest.raises(SerializationError, match="a coroutine cannot be sent; await it"):
            codec.encode_value(coroutine, limit=LIMIT)
    finally:
        coroutine.close()


def test_the_path_leads_through_dataclasses_and_positional_names(app_codec: Codec) -> None:
    rows = [Row(1), Row(2), Row(3), Row(threading.Lock())]

    with pytest.raises(SerializationError) as caught:
        app_codec.encode_call((0, rows), {}, limit=LIMIT, names=("ctx", "rows"))
    with pytest.raises(SerializationError) as unnamed:
        app_codec.encode_call((0, rows), {}, limit=LIMIT)

    assert str(caught.value) == (
        "argument 'rows'[3].owner: a threading.Lock cannot be sent; send an id or a path instead"
    )
    assert str(unnamed.value).startswith("argument #2[3].owner: ")


def test_a_bad_key_and_a_bad_element_have_a_place() -> None:
    lock = threading.Lock()

    with pytest.raises(SerializationError, match=r"^result \(a key\): a threading.Lock"):
        codec.encode_value({lock: 1}, limit=LIMIT)
    with pytest.raises(SerializationError, match=r"^result\['s'\] \(an element\): a threading"):
        codec.encode_value({"s": {lock}}, limit=LIMIT)


def test_a_message_never_shows_the_value_itself() -> None:
    class Token:
        def __repr__(self) -> str:
            return "hunter2"

        __str__ = __repr__

    with pytest.raises(SerializationError) as caught:
        codec.encode_call((Token(),), {}, limit=LIMIT)

    assert "hunter2" not in str(caught.value)


def nested(levels: int, wrap: type = list) -> object:
    value: object = wrap()  # empty: the one level that msgpack writes but does not read
    for _ in range(levels - 1):
        value = wrap([value])
    return value


@pytest.mark.parametrize("wrap", [list, tuple, frozenset])
def test_what_is_encoded_can_be_decoded_however_deep(wrap: type) -> None:
    deepest = 0
    for levels in [*range(1, 40), *range(1000, 1040)]:
        try:
            payload = codec.encode_call((nested(levels, wrap),), {}, limit=LIMIT)
        except SerializationError as error:
            assert "nested more than" in str(error)  # noqa: PT017
            continue
        deepest = levels
        assert codec.encode_call(*codec.decode_call(payload), limit=LIMIT) == payload

    assert deepest >= 1000


def test_a_value_that_contains_itself_is_refused() -> None:
    ring: list[object] = []
    ring.append(ring)
    knot: dict[str, object] = {}
    knot["list"] = [knot]

    with pytest.raises(SerializationError, match=r"argument 'x': .*contains itself"):
        codec.encode_call((), {"x": ring}, limit=LIMIT)
    with pytest.raises(SerializationError, match=r"argument #1: .*contains itself"):
        codec.encode_call((knot,), {}, limit=LIMIT)


def test_the_limit_itself_fits_and_one_byte_more_does_not() -> None:
    frame = len(codec.encode_call((b"x" * 5000,), {}, limit=LIMIT)) - 5000
    exact = b"x" * (10_000 - frame)

    assert len(codec.encode_call((exact,), {}, limit=10_000)) == 10_000
    with pytest.raises(PayloadTooLarge) as caught:
        codec.encode_call((exact + b"x",), {}, limit=10_000)

    assert "10,001 bytes, over the limit of 10,000 (setting max_payload)" in str(caught.value)


def test_a_result_over_the_limit_names_its_own_setting() -> None:
    with pytest.raises(PayloadTooLarge, match=r"the result is .* \(setting max_result\)"):
        codec.encode_value("x" * 100, limit=100)


GOOD = REGISTERED.encode_call(
    (1, "text", (1, (2,)), {3}, Point(1, b"x")),
    {"when": datetime(2024, 1, 1, tzinfo=UTC)},
    limit=LIMIT,
)


def test_every_truncation_and_every_trailing_byte_is_a_bad_payload() -> None:
    for length in range(len(GOOD)):
        with pytest.raises(BadPayload):
            REGISTERED.decode_call(GOOD[:length])
    for byte in range(256):
        with pytest.raises(BadPayload):
            REGISTERED.decode_call(GOOD + bytes([byte]))


BAD_CALLS = {
    "not a list": b"\x80",
    "args not a list": b"\x91\x01",
    "args a tuple": b"\x91\x91\xc7\x00\x08",
    "kwargs not a map": b"\x92\x90\x90",
    "kwargs keyed by int": b"\x92\x90\x81\x01\x01",
    "three parts": b"\x93\x90\x80\x01",
    "unknown extension": b"\x91\x91\xd4\x2a\x00",
    "a tag alone": b"\x91\x91\x92\x01\xc7\x00\x08",
    "a tag as a key": b"\x91\x91\x81\xc7\x00\x08\x01",
    "two tags": b"\x91\x91\x92\xc7\x00\x08\xc7\x00\x08",
    "an unhashable key": b"\x91\x91\x81\x90\x01",
    "an unhashable element": b"\x91\x91\x92\xc7\x00\x06\x90",
    "a naive datetime": b"\x91\x91\xc7\x13\x01" + b"2024-01-01T00:00:00",
    "an unknown zone": b"\x91\x91\xc7\x22\x01" + b"2024-01-01T00:00:00+00:00[No/Where]",
    "a zone that is a path": b"\x91\x91\xc7\x26\x01"
    + b"2024-01-01T00:00:00+00:00[../../etc/pa]"[:38],
    "a short uuid": b"\x91\x91\xd4\x05\x00",
    "a word for a decimal": b"\x91\x91\xd5\x04no",
    "a lone surrogate": b"\x91\x91\xa3\xed\xa0\x80",
    "the never used byte": b"\xc1",
    "pickle": b"\x80\x04K\x01.",
}


@pytest.mark.parametrize("payload", BAD_CALLS.values(), ids=BAD_CALLS)
def test_bytes_that_are_no_call_are_a_bad_payload(payload: bytes) -> None:
    with pytest.raises(BadPayload) as caught:
        codec.decode_call(payload)

    assert "\n" not in str(caught.value)


@settings(max_examples=1000, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_bad_payload(payload: bytes) -> None:
    for decode in (REGISTERED.decode_call, REGISTERED.decode_value, REGISTERED.decode_headers):
        try:
            decode(payload)
        except BadPayload as error:
            assert "\n" not in str(error)  # noqa: PT017


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_a_good_payload_with_bytes_changed_gives_a_value_or_a_bad_payload(
    data: st.DataObject,
) -> None:
    payload = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(GOOD) - 1))] = data.draw(st.integers(0, 255))

    try:
        REGISTERED.decode_call(bytes(payload))
    except BadPayload as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_headers_that_promise_more_than_follows_reserve_no_memory() -> None:
    size = 1_000_000
    promise = b"\xdd" + (size - 1).to_bytes(4, "big")
    hostile = (promise * 1000).ljust(size, b"\xc0")

    tracemalloc.start()
    try:
        with pytest.raises(BadPayload):
            codec.decode_call(hostile)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 8 * size


def test_an_unregistered_dataclass_is_not_built() -> None:
    payload = REGISTERED.encode_call((Point(1),), {}, limit=LIMIT)

    with pytest.raises(BadPayload, match="the dataclass 'Point' is not registered here"):
        codec.decode_call(payload)


def test_a_field_this_side_does_not_know_is_named() -> None:
    @dataclass
    class Newer:
        x: int
        extra: int

    newer, older = Codec(), Codec()
    newer.register_dataclass(Newer, name="point")
    older.register_dataclass(Point, name="point")

    with pytest.raises(BadPayload, match="the dataclass 'point' has no field 'extra' here"):
        older.decode_value(newer.encode_value(Newer(1, 2), limit=LIMIT))


def test_a_field_the_sender_did_not_know_takes_its_default() -> None:
    @dataclass
    class Older:
        x: int

    older, newer = Codec(), Codec()
    older.register_dataclass(Older, name="point")
    newer.register_dataclass(Point, name="point")

    assert newer.decode_value(older.encode_value(Older(1), limit=LIMIT)) == Point(1, 0)


def test_registering_refuses_what_is_no_dataclass_and_a_taken_name() -> None:
    own = Codec()
    own.register_dataclass(Point)
    own.register_dataclass(Point)

    with pytest.raises(ConfigError, match="is not a dataclass"):
        own.register_dataclass(int)
    with pytest.raises(ConfigError, match="needs 'key', which is not a field"):
        own.register_dataclass(Sealed)
    with pytest.raises(ConfigError, match="another dataclass is registered as 'Point'"):
        own.register_dataclass(Row, name="Point")


def test_headers_cross_and_none_cost_nothing() -> None:
    headers = {"traceparent": "00-ab-cd-01"}

    assert codec.encode_headers({}, limit=0) == b""
    assert codec.decode_headers(b"") == {}
    assert codec.decode_headers(codec.encode_headers(headers, limit=LIMIT)) == headers
    with pytest.raises(SerializationError, match="a header and its text must be str"):
        codec.encode_headers({"n": 1}, limit=LIMIT)  # type: ignore[dict-item]
    with pytest.raises(BadPayload):
        codec.decode_headers(codec.encode_value({"n": 1}, limit=LIMIT))


def test_a_call_encoded_inside_another_leaves_the_outer_one_whole() -> None:
    class Meddling(str):
        def __str__(self) -> str:
            raise AssertionError("not asked for")

    inner: list[bytes] = []

    class Zone(tzinfo):
        def utcoffset(self, moment: datetime | None) -> timedelta:
            inner.append(codec.encode_call((1, 2, 3), {}, limit=LIMIT))
            return timedelta(0)

        def dst(self, moment: datetime | None) -> None: ...

        def tzname(self, moment: datetime | None) -> None: ...

    value = [9, datetime(2024, 1, 1, tzinfo=Zone()), Meddling("a"), date(2024, 1, 1), UUID(int=1)]
    back = codec.decode_value(codec.encode_value([*value, Decimal("1.10")], limit=LIMIT))

    assert back == [*value, Decimal("1.10")]
    assert inner
