"""Thrift's compact protocol, as much of it as the metadata of a Parquet file needs.

The wire: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple, Union

I32, I64, BINARY, LIST, STRUCT = 5, 6, 8, 9, 12
_MOST_NESTED = 16
_MOST_ITEMS = 1_000_000

Value = Tuple[int, Any]
"""A type of the wire and what is written: (I32, 3), (LIST, (STRUCT, [...])), (STRUCT, {1: ...})."""
Fields = Dict[int, Value]
Read = Union[int, bytes, bool, float, List[Any], Dict[int, Any]]


class Malformed(ValueError):
    """What was read is not of this wire."""


def varint(number: int) -> bytes:
    """Write a number of 0 and more, seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def struct(fields: Fields) -> bytes:
    """Write a struct: its fields by ascending number, and the stop."""
    out = bytearray()
    last = 0
    for number, (kind, value) in sorted(fields.items()):
        out.append((number - last) << 4 | kind)  # all numbers used here are under 15
        out += _value(kind, value)
        last = number
    out.append(0)
    return bytes(out)


def _value(kind: int, value: Any) -> bytes:
    if kind in (I32, I64):
        return varint((value << 1) ^ (value >> 63))
    if kind == BINARY:
        return varint(len(value)) + bytes(value)
    if kind == LIST:
        item, values = value
        size = len(values)
        head = bytes([size << 4 | item]) if size < 15 else bytes([0xF0 | item]) + varint(size)
        return head + b"".join(_value(item, one) for one in values)
    return struct(value)


class Reader:
    """Reads structs out of bytes that may be anything; raises Malformed, never more."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def _byte(self) -> int:
        if self.at >= len(self.data):
            raise Malformed("ends early")
        self.at += 1
        return self.data[self.at - 1]

    def _take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.data):
            raise Malformed("ends early")
        self.at += size
        return self.data[self.at - size : self.at]

    def _varint(self) -> int:
        number = shift = 0
        while shift < 70:
            byte = self._byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7
        raise Malformed("a number without end")

    def _zigzag(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Return the fields of a struct by their numbers."""
        if depth > _MOST_NESTED:
            raise Malformed("nested too deep")
        out: dict[int, Any] = {}
        last = 0
        while True:
            head = self._byte()
            if head == 0:
                return out
            last = last + (head >> 4) if head >> 4 else self._zigzag()
            out[last] = self._read(head & 0x0F, depth)

    def _read(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind in (LIST, 10):
            return self._list(depth)
        if kind == STRUCT:
            return self.struct(depth + 1)
        return self._plain(kind)

    def _plain(self, kind: int) -> Any:
        if kind in (4, I32, I64):
            return self._zigzag()
        if kind == 3:
            return self._byte()
        if kind in (7, BINARY):
            return self._take(8 if kind == 7 else self._varint())
        raise Malformed(f"unknown type {kind}")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        size = head >> 4 if head >> 4 < 15 else self._varint()
        if size > min(_MOST_ITEMS, len(self.data) - self.at):
            raise Malformed("a list longer than its file")
        if depth > _MOST_NESTED:
            raise Malformed("nested too deep")
        return [self._read(head & 0x0F, depth + 1) for _ in range(size)]
