"""OTLP trace requests as bytes, taken apart: JSON lines with typed structs, protobuf with its own generated classes.

Only fields that are read are decoded (typed structs are about 3 times as fast as `json.loads`, measured 2026-11); unknown
fields are skipped, as the protocol demands. 64-bit integers come as numbers or strings, ids as hex. Judges no value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from attune.telemetry import names as n
from attune.telemetry.decode import WANTED, Span, Value

if TYPE_CHECKING:
    from collections.abc import Iterable

_ERROR: Final = 2
_ERROR_WORD: Final = "STATUS_CODE_ERROR"


class _AnyValue(msgspec.Struct, gc=False, rename="camel"):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None

    def plain(self) -> Value | None:
        """The scalar; None for lists, maps and bytes."""
        if self.string_value is not None:
            return self.string_value
        if self.double_value is not None:
            return float(self.double_value)
        if self.int_value is not None:
            return int(self.int_value)
        return self.bool_value


class _KeyValue(msgspec.Struct, gc=False):
    key: str
    value: _AnyValue = msgspec.field(default_factory=_AnyValue)


class _Status(msgspec.Struct, gc=False):
    code: int | str = 0


class _Span(msgspec.Struct, gc=False, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    name: str = ""
    start_time_unix_nano: int | str = 0
    end_time_unix_nano: int | str = 0
    attributes: list[_KeyValue] = msgspec.field(default_factory=list)
    status: _Status = msgspec.field(default_factory=_Status)


class _Scope(msgspec.Struct, gc=False):
    name: str = ""


class _ScopeSpans(msgspec.Struct, gc=False, rename="camel"):
    scope: _Scope = msgspec.field(default_factory=_Scope)
    spans: list[_Span] = msgspec.field(default_factory=list)


class _Resource(msgspec.Struct, gc=False):
    attributes: list[_KeyValue] = msgspec.field(default_factory=list)


class _ResourceSpans(msgspec.Struct, gc=False, rename="camel"):
    resource: _Resource = msgspec.field(default_factory=_Resource)
    scope_spans: list[_ScopeSpans] = msgspec.field(default_factory=list)


class _Traces(msgspec.Struct, gc=False, rename="camel"):
    resource_spans: list[_ResourceSpans] = msgspec.field(default_factory=list)


class OtlpDecoder:
    """Takes requests apart. Raises ValueError (msgspec's and protobuf's errors are some) on what is no OTLP."""

    def __init__(self) -> None:
        self._json = msgspec.json.Decoder(_Traces)

    def from_json(self, line: bytes) -> Iterator[Span]:
        """The spans of one JSON request. A line of another signal has none."""
        for group in self._json.decode(line).resource_spans:
            instance = _instance((pair.key, pair.value.plain()) for pair in group.resource.attributes)
            for scope_spans in group.scope_spans:
                for span in scope_spans.spans:
                    facts = {}
                    for pair in span.attributes:
                        if pair.key in WANTED and (value := pair.value.plain()) is not None:
                            facts[pair.key] = value
                    yield Span(
                        instance=instance,
                        scope=scope_spans.scope.name,
                        name=span.name,
                        start_ns=int(span.start_time_unix_nano),
                        end_ns=int(span.end_time_unix_nano),
                        attributes=facts,
                        failed=span.status.code in {_ERROR, _ERROR_WORD},
                        key=bytes.fromhex(span.trace_id + span.span_id),
                    )

    def from_protobuf(self, message: bytes) -> Iterator[Span]:
        """The spans of one protobuf request."""
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

        try:
            traces = TracesData.FromString(message)
        except DecodeError as error:
            raise ValueError("not an OTLP trace request") from error
        for group in traces.resource_spans:
            instance = _instance((pair.key, _scalar(pair.value)) for pair in group.resource.attributes)
            for scope_spans in group.scope_spans:
                for span in scope_spans.spans:
                    facts = {}
                    for pair in span.attributes:
                        if pair.key in WANTED and (value := _scalar(pair.value)) is not None:
                            facts[pair.key] = value
                    yield Span(
                        instance=instance,
                        scope=scope_spans.scope.name,
                        name=span.name,
                        start_ns=span.start_time_unix_nano,
                        end_ns=span.end_time_unix_nano,
                        attributes=facts,
                        failed=span.status.code == _ERROR,
                        key=span.trace_id + span.span_id,
                    )


def _instance(attributes: Iterable[tuple[str, Value | None]]) -> str:
    for key, value in attributes:
        if key == n.INSTANCE_ID and isinstance(value, str):
            return value
    return ""


def _scalar(value: Any) -> Value | None:
    kind = value.WhichOneof("value")
    if kind in {"string_value", "bool_value", "int_value", "double_value"}:
        scalar: Value = getattr(value, kind)
        return scalar
    return None
