"""Columns of numbers as a Parquet file, by the standard library alone.

A server where nothing may be installed writes what pandas, DuckDB and Spark read. The engines of
pandas weigh 150 MB (pyarrow) or need compiled parts (fastparquet), and neither is on that server.
Written is the smallest part of the format: required INT64 columns, plain encoding, gzip, one page
a column and row group; and read is that part only. The format: https://parquet.apache.org/docs/file-format/
"""

from __future__ import annotations

import os
import struct as binary
import sys
import zlib
from array import array
from typing import IO, Any, Dict, List, Mapping, Sequence, Tuple

from opslib.bench.probe import thrift
from opslib.bench.probe.thrift import BINARY, I32, I64, LIST, STRUCT, Fields, Malformed

MAGIC = b"PAR1"
_INT64, _REQUIRED, _PLAIN, _RLE, _GZIP = 2, 0, 0, 3, 2
ROWS = 500_000
"""Rows of one row group: 4 MB a column, so that no page and no read is large."""
_MOST_FOOTER = 64 << 20
_MOST_ROWS = 200_000_000

Columns = Dict[str, "array[int]"]


class Writer:
    """Writes row groups as they come; ``close`` makes the file whole."""

    def __init__(self, stream: IO[bytes], names: Sequence[str]) -> None:
        self._stream = stream
        self._names = tuple(names)
        self._groups: List[Fields] = []
        self._rows = 0
        self._at = 0
        self._put(MAGIC)

    def _put(self, data: bytes) -> None:
        self._stream.write(data)
        self._at += len(data)

    def write(self, columns: Mapping[str, array[int]]) -> None:
        """Append rows: one array of type "q" for each name, all of one length."""
        rows = len(columns[self._names[0]])
        for start in range(0, rows, ROWS):
            part = {name: columns[name][start : start + ROWS] for name in self._names}
            self._group(part)

    def _group(self, columns: Mapping[str, array[int]]) -> None:
        rows = len(columns[self._names[0]])
        chunks = [self._chunk(name, columns[name]) for name in self._names]
        size = sum(whole for _, whole in chunks)
        listed = (LIST, (STRUCT, [fields for fields, _ in chunks]))
        self._groups.append({1: listed, 2: (I64, size), 3: (I64, rows)})
        self._rows += rows

    def _chunk(self, name: str, values: array[int]) -> Tuple[Fields, int]:
        plain = _little(values).tobytes()
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        packed = packer.compress(plain) + packer.flush()
        page: Fields = {1: (I32, len(values)), 2: (I32, _PLAIN), 3: (I32, _RLE), 4: (I32, _RLE)}
        head = thrift.struct(
            {1: (I32, 0), 2: (I32, len(plain)), 3: (I32, len(packed)), 5: (STRUCT, page)}
        )
        at = self._at
        self._put(head + packed)
        meta: Fields = {
            1: (I32, _INT64),
            2: (LIST, (I32, [_PLAIN, _RLE])),
            3: (LIST, (BINARY, [name.encode()])),
            4: (I32, _GZIP),
            5: (I64, len(values)),
            6: (I64, len(head) + len(plain)),
            7: (I64, len(head) + len(packed)),
            9: (I64, at),
        }
        return {2: (I64, at), 3: (STRUCT, meta)}, len(head) + len(plain)

    def close(self, notes: Mapping[str, str]) -> None:
        """Write the footer with ``notes``, the file's key-value metadata."""
        root: Fields = {4: (BINARY, b"schema"), 5: (I32, len(self._names))}
        leaves: List[Fields] = [
            {1: (I32, _INT64), 3: (I32, _REQUIRED), 4: (BINARY, name.encode())}
            for name in self._names
        ]
        pairs = [{1: (BINARY, k.encode()), 2: (BINARY, v.encode())} for k, v in notes.items()]
        footer = thrift.struct(
            {
                1: (I32, 1),
                2: (LIST, (STRUCT, [root, *leaves])),
                3: (I64, self._rows),
                4: (LIST, (STRUCT, self._groups)),
                5: (LIST, (STRUCT, pairs)),
                6: (BINARY, b"opslib"),
            }
        )
        self._put(footer + binary.pack("<I", len(footer)) + MAGIC)


def _little(values: array[int]) -> array[int]:
    if sys.byteorder == "little":
        return values
    values = values[:]
    values.byteswap()
    return values


def read(stream: IO[bytes]) -> Tuple[Columns, Dict[str, str]]:
    """Return the columns and notes of a file that ``Writer`` wrote.

    Raises Malformed with the reason for anything else; sizes are checked before memory is taken.
    """
    meta = _footer(stream)
    try:
        notes = {one[1].decode(): one[2].decode() for one in meta.get(5, [])}
        names = [one[4].decode() for one in meta[2][1:]]
        rows = int(meta[3])
        if not 0 <= rows <= _MOST_ROWS:
            raise Malformed(f"{rows} rows")
        columns: Columns = {name: array("q") for name in names}
        for group in meta[4]:
            for name, chunk in zip(names, group[1]):
                columns[name] += _page(stream, chunk[3])
    except (KeyError, IndexError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise Malformed("a Parquet file, but not of the kind that a probe writes") from error
    if any(len(values) != rows for values in columns.values()):
        raise Malformed("columns of unequal length")
    return columns, notes


def _footer(stream: IO[bytes]) -> Dict[int, Any]:
    end = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if end < 12 or stream.read(4) != MAGIC:
        raise Malformed("not a Parquet file")
    stream.seek(end - 8)
    (size,), magic = binary.unpack("<I", stream.read(4)), stream.read(4)
    if magic != MAGIC:
        raise Malformed("cut off: the end of a Parquet file is missing")
    if size > min(end - 12, _MOST_FOOTER):
        raise Malformed("cut off: its footer is larger than the file")
    stream.seek(end - 8 - size)
    return thrift.Reader(stream.read(size)).struct()


def _page(stream: IO[bytes], meta: Mapping[int, Any]) -> array[int]:
    if (meta[1], meta[4]) != (_INT64, _GZIP):
        raise Malformed("a column of another type or compression")
    if not 0 <= meta[5] <= ROWS or not 0 <= meta[7] <= 16 * ROWS:
        raise Malformed("a row group larger than a probe writes")
    stream.seek(meta[9])
    reader = thrift.Reader(stream.read(meta[7]))
    head = reader.struct()
    packed = reader.data[reader.at :]
    unpacker = zlib.decompressobj(31)
    try:
        plain = unpacker.decompress(packed, 8 * meta[5] + 1)
    except zlib.error as error:
        raise Malformed("a column that cannot be unpacked") from error
    if head[1] != 0 or not unpacker.eof or len(plain) != 8 * meta[5]:
        raise Malformed("a column of another length than it says")
    values = array("q")
    values.frombytes(plain)
    return _little(values)
