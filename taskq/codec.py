"""Values to bytes and back: the only home of msgpack.

A call is the msgpack array `[]`, `[args]` or `[args, kwargs]`. What msgpack lacks crosses as a
numbered extension and keeps its type: 1 to 5 are `scalars`; these are arrays that begin with an
empty extension:

    6 set   7 frozenset   8 tuple   the items
    9 dataclass                     the name it is registered by, then a map of its fields

bytearray and memoryview arrive as bytes, a subclass of a scalar type as that type, and msgpack's
own timestamp, which other languages may write, as a datetime in UTC. There is no pickle and nothing
is imported: a dataclass is built only if this side registered it.
Knows no tasks and no keys; no I/O.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeGuard, TypeVar

import msgpack  # type: ignore[import-untyped]

from taskq import scalars
from taskq.errors import BadPayload, ConfigError, PayloadTooLarge, SerializationError
from taskq.unsendable import describe, parts

_T = TypeVar("_T")

_SET, _FROZENSET, _TUPLE, _DATACLASS = 6, 7, 8, 9

#: How an empty extension begins on the wire; without one, no array needs a second look.
_EMPTY_EXTENSION = b"\xc7\x00"
#: msgpack reads at most this many levels, and each takes at least a byte.
_MOST_LEVELS: Final = 1023
#: Longer payloads, in bytes, are skimmed before they are read.
_SKIM_OVER: Final = 4096
#: A packer's first buffer, in bytes. msgpack's default, 256 KiB, costs more than a small call.
_BUFFER: Final = 256

# Every call makes its own packer (0.05 us): a shared one writes wrong bytes, silently, when
# another thread or a finalizer enters it half-way.
_Packer = msgpack.Packer
_unpack = msgpack.unpackb

_CANNOT_PACK = (TypeError, ValueError, OverflowError)
_TOO_DEEP = f"the value is nested more than {_MOST_LEVELS - 3} levels deep, or contains itself"


class Codec:
    """Encodes and decodes; holds the dataclasses that one app has registered."""

    __slots__ = ("_classes", "_registered")

    def __init__(self) -> None:
        self._classes: dict[str, type] = {}
        self._registered: dict[type, tuple[str, tuple[str, ...]]] = {}

    def register_dataclass(self, cls: type[_T], name: str | None = None) -> type[_T]:
        """Let instances of `cls` cross the wire under `name` (default: the class's own name).

        The fields that `__init__` takes are sent, and decoding calls it. Both sides must register.
        Returns `cls`, so it also decorates. Raises ConfigError if `cls` is no dataclass, could
        not be built from its fields, or another class has the name.
        """
        if not isinstance(cls, type) or not dataclasses.is_dataclass(cls):
            raise ConfigError(f"{cls!r} is not a dataclass: decorate it with @dataclass first")
        name = name or cls.__name__
        if self._classes.get(name, cls) is not cls:
            raise ConfigError(f"another dataclass is registered as {name!r}: pass another name=")
        fields = tuple(field.name for field in dataclasses.fields(cls) if field.init)
        for parameter in inspect.signature(cls).parameters.values():
            if parameter.name not in fields and parameter.default is parameter.empty:
                raise ConfigError(
                    f"{cls.__qualname__} cannot be registered: its __init__ needs "
                    f"{parameter.name!r}, which is not a field, so it could not be built again"
                )
        self._classes[name] = cls
        self._registered[cls] = (name, fields)
        return cls

    def encode_call(
        self,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        *,
        limit: int,
        names: Sequence[str] = (),
    ) -> bytes:
        """The payload of a call, `limit` bytes at most, else PayloadTooLarge.

        `names` are those of the positional parameters, for messages only. Raises
        SerializationError, naming the path inside the arguments.
        """
        call = [[*args], kwargs] if kwargs else [[*args]] if args else []
        try:
            payload: bytes = _Packer(strict_types=True, buf_size=_BUFFER).pack(call)
        except _CANNOT_PACK:
            payload = self._encode_rich(call, lambda: _arguments(args, kwargs, names))
        if len(payload) > limit or len(payload) > _MOST_LEVELS:
            _check(payload, limit, "payload")
        return payload

    def decode_call(self, payload: bytes) -> tuple[tuple[object, ...], dict[str, object]]:
        """(args, kwargs) of a payload. Raises BadPayload, and nothing else, for other bytes."""
        call = self._decode(payload)
        if type(call) is list:
            if len(call) == 1 and type(call[0]) is list:
                return tuple(call[0]), {}
            if len(call) == 2 and type(call[0]) is list and _keyed_by_str(call[1]):
                return tuple(call[0]), call[1]
            if not call:
                return (), {}
        raise BadPayload("the payload is not a call: [], [arguments] or [arguments, map of names]")

    def encode_value(self, value: object, *, limit: int, what: str = "result") -> bytes:
        """One value in at most `limit` bytes, else PayloadTooLarge; `what` names it in messages.

        Raises SerializationError, naming the path inside the value.
        """
        try:
            packed: bytes = _Packer(strict_types=True, buf_size=_BUFFER).pack(value)
        except _CANNOT_PACK:
            packed = self._encode_rich(value, lambda: [(what, value)])
        if len(packed) > limit or len(packed) > _MOST_LEVELS:
            _check(packed, limit, what)
        return packed

    def decode_value(self, packed: bytes) -> object:
        """The value of `encode_value`. Raises BadPayload, and nothing else, for other bytes."""
        return self._decode(packed)

    def encode_headers(self, headers: Mapping[str, str], *, limit: int) -> bytes:
        """Names and texts that travel with a job; no headers are no bytes."""
        if not headers:
            return b""
        for name, text in headers.items():
            if not isinstance(name, str) or not isinstance(text, str):
                raise SerializationError(f"headers[{name!r}]: a header and its text must be str")
        return self.encode_value(dict(headers), limit=limit, what="headers")

    def decode_headers(self, packed: bytes) -> dict[str, str]:
        """The headers of `encode_headers`. Raises BadPayload, and nothing else, for other bytes."""
        if packed == b"":
            return {}
        headers = self._decode(packed)
        if not _keyed_by_str(headers):
            raise BadPayload("the headers are not a map of texts")
        texts = {name: text for name, text in headers.items() if isinstance(text, str)}
        if len(texts) != len(headers):
            raise BadPayload("the headers are not a map of texts")
        return texts

    def _encode_rich(
        self, value: object, roots: Callable[[], Iterable[tuple[str, object]]]
    ) -> bytes:
        try:
            return self._pack(value)
        except Exception as error:
            raise SerializationError(self._fault(roots(), error)) from error

    def _pack(self, value: object) -> bytes:
        packer = _Packer(strict_types=True, default=self._substitute, buf_size=_BUFFER)
        packed: bytes = packer.pack(value)
        return packed

    def _substitute(self, value: object) -> object:
        """What msgpack can write in place of a value that it cannot."""
        tag = _TAG_OF.get(type(value))
        if tag is not None:
            return [msgpack.ExtType(tag, b""), *_ordered(value)]
        registered = self._registered.get(type(value))
        if registered is not None:
            name, names = registered
            fields = {field: getattr(value, field) for field in names}
            return [msgpack.ExtType(_DATACLASS, b""), name, fields]
        scalar = scalars.write(value)
        if scalar is not None:
            return msgpack.ExtType(*scalar)
        plain = scalars.plain(value)
        if plain is None:
            raise TypeError(describe(value))
        return plain

    def _fault(self, roots: Iterable[tuple[str, object]], error: Exception) -> str:
        """Walk down to the first part that cannot be sent: "path: why; what to do"."""
        path, found, value = "", False, None
        step = self._first_bad(roots)
        while step is not None and "recursion limit" not in str(step[2]):
            path, found, value = path + step[0], True, step[1]
            names = self._registered.get(type(value), ("", ()))[1]
            step = self._first_bad(parts(value, names))
        if step is not None:
            return f"{path + step[0]}: {_TOO_DEEP}"
        if found:
            return f"{path}: {describe(value)}"
        return _TOO_DEEP if "recursion limit" in str(error) else f"this cannot be sent: {error}"

    def _first_bad(
        self, candidates: Iterable[tuple[str, object]]
    ) -> tuple[str, object, Exception] | None:
        for step, part in candidates:
            try:
                self._pack(part)
            except Exception as error:
                return step, part, error
        return None

    def _decode(self, packed: bytes) -> Any:
        try:
            if len(packed) > _SKIM_OVER:
                _skim(packed)
            if 0xC7 in packed and _EMPTY_EXTENSION in packed:
                return _Tagged(self._classes).decode(packed)
            # msgpack bounds every length inside by that of the input; this is its default.
            return _unpack(packed, ext_hook=scalars.read, strict_map_key=False, timestamp=3)
        except BadPayload:
            raise
        except Exception as error:
            raise BadPayload(f"these bytes cannot be decoded: {_reason(error)}") from error


class _Tag:
    """Stands for an empty extension until the array it begins is complete."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class _Tagged:
    """Decodes one payload that may hold sets, tuples and dataclasses."""

    def __init__(self, classes: Mapping[str, type]) -> None:
        self._classes = classes
        self._open = 0

    def decode(self, packed: bytes) -> object:
        value = _unpack(
            packed,
            ext_hook=self._read_extension,
            list_hook=self._read_list,
            strict_map_key=False,
            timestamp=3,
        )
        if self._open:
            raise BadPayload("an empty extension stands where no array begins")
        return value

    def _read_extension(self, number: int, data: bytes) -> object:
        if data or not _SET <= number <= _DATACLASS:
            return scalars.read(number, data)
        self._open += 1
        return _Tag(number)

    def _read_list(self, items: list[Any]) -> object:
        if not items or type(items[0]) is not _Tag:
            return items
        self._open -= 1
        number = items[0].number
        del items[0]
        if number == _DATACLASS:
            return self._build(*items)
        kind = _KIND_OF[number]
        return kind(items)

    def _build(self, name: str, fields: dict[str, object]) -> object:
        cls = self._classes.get(name)
        if cls is None:
            raise BadPayload(f"the dataclass {name!r} is not registered here")
        unknown = fields.keys() - {field.name for field in dataclasses.fields(cls) if field.init}
        if unknown:
            raise BadPayload(f"the dataclass {name!r} has no field {min(unknown)!r} here")
        return cls(**fields)


_TAG_OF: dict[type, int] = {set: _SET, frozenset: _FROZENSET, tuple: _TUPLE}
_KIND_OF: dict[int, Callable[[list[Any]], object]] = {
    _SET: set,
    _FROZENSET: frozenset,
    _TUPLE: tuple,
}


def _ordered(items: Any) -> list[object]:
    """Sets in one order, so that equal calls are equal bytes in every process."""
    if type(items) is tuple:
        return list(items)
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=lambda item: (type(item).__qualname__, str(item)))


def _arguments(
    args: tuple[object, ...], kwargs: Mapping[str, object], names: Sequence[str]
) -> Iterable[tuple[str, object]]:
    for index, value in enumerate(args):
        known = index < len(names)
        yield f"argument {names[index]!r}" if known else f"argument #{index + 1}", value
    for name, value in kwargs.items():
        yield f"argument {name!r}", value


def _keyed_by_str(value: object) -> TypeGuard[dict[str, object]]:
    return type(value) is dict and all(type(key) is str for key in value)


def _check(packed: bytes, limit: int, what: str) -> None:
    if len(packed) > limit:
        setting = f" (setting max_{what})" if what in ("payload", "result") else ""
        raise PayloadTooLarge(
            f"the {what} is {len(packed):,} bytes, over the limit of {limit:,}{setting}: "
            "keep the data elsewhere and send a reference to it"
        )
    try:
        _skim(packed)  # msgpack writes one level more than it reads
    except msgpack.StackError as error:
        raise SerializationError(f"{what}: {_TOO_DEEP}") from error


def _skim(packed: bytes) -> None:
    """Check the structure without building it.

    Building trusts an array's header and reserves its room at once: nested headers with nothing
    behind them could ask for 8 KiB for every byte sent.
    """
    reader = msgpack.Unpacker(None, max_buffer_size=len(packed), read_size=1)
    reader.feed(packed)
    reader.skip()


def _reason(error: Exception) -> str:
    if isinstance(error, msgpack.OutOfData) or "incomplete" in str(error):
        return "they are cut short"
    if isinstance(error, msgpack.ExtraData):
        return "more bytes follow the value"
    if isinstance(error, msgpack.StackError):
        return "they are nested too deep"
    if isinstance(error, msgpack.FormatError):
        return "they are not msgpack"
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


_PLAIN = Codec()  # nothing is ever registered in it

encode_call = _PLAIN.encode_call
decode_call = _PLAIN.decode_call
encode_value = _PLAIN.encode_value
decode_value = _PLAIN.decode_value
encode_headers = _PLAIN.encode_headers
decode_headers = _PLAIN.decode_headers
