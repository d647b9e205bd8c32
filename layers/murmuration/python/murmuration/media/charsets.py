"""Decodes web pages, by the encoding that the page's bytes, its server or the page itself names.

Python knows encodings that no web page has. Some of them take minutes to decode (`punycode`), so only those
that browsers know are used. https://encoding.spec.whatwg.org
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_IN_HEADER = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_IN_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_IN_XML = re.compile(rb"\s{0,20}<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:-]{1,40})", re.IGNORECASE)
_BEGINNING = 8_192
"""How much of a page is searched for the name of its encoding."""

_AS_BROWSERS_DO = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "utf-16": "utf-16-le",
}
"""Python's name of an encoding, and the encoding that browsers use instead: mostly one with more
characters."""
_KNOWN = frozenset(
    (
        "utf-8",
        "utf-16-le",
        "utf-16-be",
        *(f"iso8859-{number}" for number in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)),
        *(f"cp{number}" for number in (866, 874, 932, 949, *range(1250, 1259))),
        "koi8-r",
        "koi8-u",
        "mac-roman",
        "mac-cyrillic",
        "gb18030",
        "big5hkscs",
        "euc_jp",
        "iso2022_jp",
    )
)


def decode_page(data: bytes, content_type: str) -> str:
    """Return the text of a page, whose end may be missing. Bytes that can't be decoded are replaced.

    A byte order mark decides first, then the header, then the page. If the page names no encoding, it is
    UTF-8 or, if that doesn't fit, Western European.
    """
    for mark, name in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    for name in _named(data, content_type):
        return data.decode(name, "replace")
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _named(data: bytes, content_type: str) -> Iterator[str]:
    """Yield the known ones of the named encodings, in Python's names."""
    if (found := _IN_HEADER.search(content_type)) and (name := _lookup(found[1])):
        yield name
    for pattern in (_IN_META, _IN_XML):
        in_page = pattern.search(data[:_BEGINNING]) if pattern is _IN_META else pattern.match(data)
        if in_page and (name := _lookup(in_page[1].decode("ascii", "replace"))):
            # The name was readable as ASCII, so the page can't be UTF-16.
            yield "utf-8" if name.startswith("utf-16") else name


def _lookup(label: str) -> str | None:
    """Return Python's name of the encoding that browsers know by this label; None for any other label."""
    for each in (label, label.lower().removeprefix("x-")):
        try:
            name = codecs.lookup(each).name
        except (LookupError, ValueError):
            continue
        name = _AS_BROWSERS_DO.get(name, name)
        if name in _KNOWN:
            return name
    return None
