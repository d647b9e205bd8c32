"""Values whose canonical JSON is easy to get wrong."""

from __future__ import annotations

from typing import Any

MAX_INT = 2**53 - 1

# Allowed in every room version.
STRICT: dict[str, Any] = {
    "empty object": {},
    "empty array": [],
    "empty string": "",
    "empty key": {"": 1},
    "literals": [True, False, None],
    "zero": 0,
    "largest": MAX_INT,
    "smallest": -MAX_INT,
    "nested": {"b": {"d": [1, {"f": None, "e": []}], "c": {}}, "a": [[[]]]},
    "keys by code point, not by length": {"a": 1, "aa": 2, "B": 3, "_": 4, "10": 5, "9": 6},
    "keys by code point, not by UTF-16 unit": {"\U0001f600": 1, "\ufb01": 2, "\uffff": 3, "\U00010000": 4},
    "keys by code point, not by normal form": {"e\u0301": 1, "\u00e9": 2, "e": 3},
    "quote and backslash": '"\\/',
    "short escapes": "\b\t\n\f\r",
    "other controls": "".join(map(chr, range(0x20))),
    "unescaped above the controls": "\x7f\x80\x9f\u00a0\u00ad\u2028\u2029\ufeff\ufffd\uffff",
    "control in a key": {"\x00": 1, "\x1f": 2, "\n": 3, '"': 4},
    "astral": "\U00010000\U0001f600\U0010ffff",
    "scripts": "日本語 עברית ภาษาไทย \u202eright to left",
    "text of an escape": "\\u0041",
    "number as text": "1e3",
}

# Not canonical JSON, but in rooms of versions 1 to 5 events with them must be hashed all the same.
LAX: dict[str, Any] = {
    "above the largest": MAX_INT + 1,
    "below the smallest": -MAX_INT - 1,
    "sixty-four bits": [2**63 - 1, -(2**63), 2**64 - 1],
    "beyond sixty-four bits": [2**64, -(2**63) - 1, 10**40],
    "whole floats": [1.0, -1.0, 0.0, -0.0, 1e10, 123456.0],
    "fractions": [0.5, 1.1, 3.141592653589793, 0.1],
    "exponents": [1e16, 1e22, 1e-5, 1e-7, 5e-324, 1.7976931348623157e308],
}
