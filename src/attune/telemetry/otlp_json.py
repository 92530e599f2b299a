"""OTLP protobuf messages written as OTLP JSON: ids in hex, 64-bit integers as strings, names in lowerCamelCase.

Protobuf's own JSON printer writes ids in base64, which the protocol forbids; hence this small one. Knows the mapping's
rules and no particular message.
"""

from __future__ import annotations

import base64
import math
from typing import Any, Final

import msgspec

_IDS: Final = frozenset({"trace_id", "span_id", "parent_span_id"})
# google.protobuf.descriptor.FieldDescriptor: int64, uint64, fixed64, sfixed64 and sint64 are strings in JSON.
_WIDE: Final = frozenset({3, 4, 6, 16, 18})
_BYTES: Final = 12
_MESSAGE: Final = 11
_FLOATS: Final = frozenset({1, 2})


def encode(message: Any) -> bytes:
    """One JSON line of a protobuf message, without the newline."""
    return msgspec.json.encode(_plain(message))


def _plain(message: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for field, value in message.ListFields():
        kind = field.type
        if _repeated(field, value):
            out[field.json_name] = [_scalar(field, kind, item) for item in value]
        else:
            out[field.json_name] = _scalar(field, kind, value)
    return out


def _repeated(field: Any, value: Any) -> bool:
    return bool(field.is_repeated) if hasattr(field, "is_repeated") else not isinstance(value, (str, bytes, int, float))


def _scalar(field: Any, kind: int, value: Any) -> Any:
    if kind == _MESSAGE:
        return _plain(value)
    if kind in _WIDE:
        return str(value)
    if kind == _BYTES:
        return value.hex() if field.name in _IDS else base64.b64encode(value).decode("ascii")
    if kind in _FLOATS and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value
