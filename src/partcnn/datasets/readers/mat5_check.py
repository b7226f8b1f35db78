"""Whether a MATLAB file of version 5 is what it says, before scipy reads it: on damaged ones scipy can crash.

Names and numbers are those of MathWorks, "MAT-File Format", chapter "Level 5 MAT-File Format".
"""

import math
import struct
import zlib
from typing import NamedTuple

from partcnn.foundation.errors import DataError

_HEADER = 128
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED, _UTF8 = 1, 5, 6, 14, 15, 16
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, _UTF8: 1, 17: 2, 18: 4}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMBERS = range(6, 16)  # double to uint64; sparse arrays, objects and functions are not read
_COMPLEX = 0x0800
_MOST_AXES, _DEEPEST = 32, 32
_MOST_BYTES = 2**31  # of a variable, unpacked


class _Element(NamedTuple):
    kind: int
    data: memoryview
    end: int  # where the next one starts


def check_mat5(content: bytes) -> None:
    """Walk through all of a file.

    Raises:
        DataError: a part of it is not of the format, or leads out of the file.
    """
    order = {b"IM": "<", b"MI": ">"}.get(content[126:_HEADER])
    if order is None or struct.unpack(f"{order}H", content[124:126])[0] != 0x0100:
        raise DataError("no header of version 5 or 7.3")
    _Checker(order).check_file(memoryview(content)[_HEADER:])


class _Checker:
    """Checks of one file, of one byte order."""

    def __init__(self, order: str) -> None:
        self.order = order

    def check_file(self, data: memoryview) -> None:
        start = 0
        while start < len(data):
            element = self._element(data, start, is_padded=False)
            if element.kind == _COMPRESSED:
                inner = self._element(_unpacked(element.data), 0)
                if inner.kind != _MATRIX:
                    raise DataError(f"a compressed element of kind {inner.kind}")
                self._matrix(inner.data, 0)
            elif element.kind == _MATRIX:
                self._matrix(element.data, 0)
            else:
                raise DataError(f"an element of kind {element.kind}")
            start = element.end

    def _matrix(self, data: memoryview, depth: int) -> None:
        if not len(data):  # an empty one, as in a cell
            return
        if depth > _DEEPEST:
            raise DataError("arrays within arrays without end")
        flags = self._integers(self._expect(data, 0, _UINT32), "I")
        start = self._element(data, 0).end
        dims = self._integers(self._expect(data, start, _INT32, _UINT32), "i")
        start = self._element(data, start).end
        self._expect(data, start, _INT8, _UTF8)  # its name
        start = self._element(data, start).end
        if len(flags) != 2 or not 2 <= len(dims) <= _MOST_AXES or min(dims) < 0:
            raise DataError(f"an array of axes {list(dims)}")
        array_class, count = flags[0] & 0xFF, math.prod(dims)
        if array_class in (_CELL, _STRUCT):
            if array_class == _STRUCT:
                start, num_fields = self._field_names(data, start)
                count *= num_fields
            self._matrices(data, start, count, depth)
        elif array_class == _CHAR or array_class in _NUMBERS:
            for _ in range(2 if flags[0] & _COMPLEX else 1):
                start = self._values(data, start, count, array_class == _CHAR)
        else:
            raise DataError(f"an array of class {array_class}")

    def _field_names(self, data: memoryview, start: int) -> tuple[int, int]:
        """Where the values start, and the number of fields."""
        length = self._integers(self._expect(data, start, _INT32, _UINT32), "i")
        start = self._element(data, start).end
        names = self._expect(data, start, _INT8, _UTF8)
        if len(length) != 1 or length[0] < 1 or len(names.data) % length[0]:
            raise DataError("names of fields of a length that they do not have")
        return names.end, len(names.data) // length[0]

    def _matrices(self, data: memoryview, start: int, count: int, depth: int) -> None:
        if count > (len(data) - start) // 8:
            raise DataError(f"{count} arrays where there is no room for them")
        for _ in range(count):
            element = self._expect(data, start, _MATRIX)
            self._matrix(element.data, depth + 1)
            start = element.end

    def _values(self, data: memoryview, start: int, count: int, is_text: bool) -> int:
        element = self._element(data, start)
        item_bytes = _ITEM_BYTES.get(element.kind)
        # UTF-8 has up to four bytes a letter, and MATLAB leaves out some blank texts.
        is_loose = is_text and (element.kind == _UTF8 or not len(element.data))
        is_right = item_bytes and (is_loose or len(element.data) == count * item_bytes)
        if not is_right:
            raise DataError(f"{len(element.data)} bytes of kind {element.kind} for {count} values")
        return element.end

    def _expect(self, data: memoryview, start: int, *kinds: int) -> _Element:
        element = self._element(data, start)
        if element.kind not in kinds:
            raise DataError(f"an element of kind {element.kind} in place of {kinds[0]}")
        return element

    def _element(self, data: memoryview, start: int, *, is_padded: bool = True) -> _Element:
        if start + 8 > len(data):
            raise DataError("an end in the middle of an element")
        kind, size = struct.unpack_from(f"{self.order}II", data, start)
        if kind >> 16:  # up to four bytes stand in the tag itself
            kind, size = kind & 0xFFFF, kind >> 16
            if size > 4:
                raise DataError(f"a small element of {size} bytes")
            return _Element(kind, data[start + 4 : start + 4 + size], start + 8)
        end = start + 8 + size
        if end > len(data):
            raise DataError(f"an element of {size} bytes where there is no room for them")
        padding = -size % 8 if is_padded and kind != _COMPRESSED else 0
        return _Element(kind, data[start + 8 : end], end + padding)

    def _integers(self, element: _Element, letter: str) -> tuple[int, ...]:
        if len(element.data) % 4:
            raise DataError(f"{len(element.data)} bytes for numbers of four")
        return struct.unpack(f"{self.order}{len(element.data) // 4}{letter}", element.data)


def _unpacked(data: memoryview) -> memoryview:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(data, _MOST_BYTES)
    except zlib.error as error:
        raise DataError(f"a damaged compressed element ({error})") from error
    if not unpacker.eof:  # zlib compares its check sum at the end
        raise DataError("a compressed element without its end")
    return memoryview(content)
