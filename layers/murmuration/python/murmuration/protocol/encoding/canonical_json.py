"""Canonical JSON: the one encoding of a value that is hashed and signed.

https://spec.matrix.org/v1.19/appendices/#canonical-json

Python's C encoder already writes the shortest form with keys sorted by code point. Only numbers outside the
grammar have to be refused. Checking the value for them takes a third of the time of the encoding.
"""

from __future__ import annotations

import json
import math
from typing import Any

from murmuration.protocol.errors import BadJson, NotJson

MAX_INTEGER = 2**53 - 1
"""The largest integer of canonical JSON; the smallest is its negative."""

_DIGITS = 308
"""How many digits an integer may have without a look at its size: every such integer has a binary64."""
_BLOCK = 154
"""A number of more digits fills at least one of the blocks of so many characters into which a text can be
cut. Looking at blocks is ten times as quick as a regular expression, and linear for any text."""

_encode = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False, check_circular=False
).encode


def encode(value: object, *, strict: bool = True) -> bytes:
    """Return the canonical JSON of `value`, in UTF-8.

    `strict` refuses floats and integers beyond `MAX_INTEGER`, as room versions from 6 on and every signed
    object require. Without it (room versions 1 to 5) floats are written as Python writes them, and any
    integer is accepted. Raises BadJson for values that can't be encoded: such numbers, NaN, infinities, lone
    surrogates, values that aren't JSON, too deep nesting.
    """
    try:
        encoded = _encode(value).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise BadJson("The value has no canonical JSON") from error
    if strict:
        check_numbers(value)
    return encoded


def check_numbers(value: object) -> None:
    """Raise BadJson if a number anywhere in `value` is a float, or its absolute value is beyond
    `MAX_INTEGER`.
    """
    pending: list[Any] = [(value,)]
    while pending:
        item = pending.pop()
        for child in item.values() if isinstance(item, dict) else item:
            kind = type(child)
            if kind is str:
                continue
            if kind is int:
                if not -MAX_INTEGER <= child <= MAX_INTEGER:
                    raise BadJson("An integer is outside the range of canonical JSON")
            elif isinstance(child, (dict, list, tuple)):
                pending.append(child)
            elif isinstance(child, float):
                raise BadJson("Canonical JSON has no floats")


def encode_parsable(value: object) -> bytes:
    """Return JSON that any client can parse, for what other servers sent outside of events.

    Raises BadJson for what `encode` refuses without `strict`, and for integers beyond binary64.
    """
    encoded = encode(value, strict=False)
    check_range(encoded.decode())
    return encoded


def check_range(text: str) -> None:
    """Raise BadJson if the JSON has an integer beyond the range of binary64.

    Many parsers fail on it, and with it on the whole answer that has it, as they do on `1e999`.
    """
    blocks = range(0, len(text), _BLOCK)
    if len(text) <= _DIGITS or not any(text[start : start + _BLOCK].isdecimal() for start in blocks):
        return
    try:
        _decode_integers(text)
    except ValueError as error:
        raise BadJson("An integer is too large") from error


def loads(data: bytes | str, *, whole_floats_as_integers: bool = False) -> Any:
    """Parse JSON in UTF-8. Raises NotJson, also for NaN, infinities and numbers like `1e999`.

    The last of duplicate keys is used. A number with a fraction or an exponent becomes a float, which
    `encode` then refuses if it is strict: an event with such a number breaks the format of its room version,
    even if the number is whole. For objects other than events, `whole_floats_as_integers` turns a whole
    number in any notation (`1e10`, `-0.0`) into an integer.
    """
    decode = _decode_whole_floats if whole_floats_as_integers else _decode
    try:
        return decode(data if isinstance(data, str) else data.decode())
    except (ValueError, RecursionError) as error:
        raise NotJson("The content is not JSON") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _finite(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise ValueError(literal)
    return number


def _whole_float_as_integer(literal: str) -> int | float:
    number = _finite(literal)
    return int(number) if number.is_integer() and abs(number) <= MAX_INTEGER else number


_decode = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite).decode
_decode_whole_floats = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_whole_float_as_integer
).decode
_decode_integers = json.JSONDecoder(parse_int=_finite).decode
