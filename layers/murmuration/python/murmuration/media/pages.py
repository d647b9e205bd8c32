"""The description that a web page gives of itself: OpenGraph properties, or else its title and description.

Pages are untrusted: they are read up to a size and a time, and nothing in them is executed.
https://ogp.me
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser

MAX_PAGE_BYTES = 393_216
"""How much of a page is read: what is asked for is in its head."""
PARSING_S = 2.0
MOST_PROPERTIES = 30
MAX_VALUE = 1_000
_PIECE = 4_096
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_HEADER_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_OG = re.compile(r"(?:og|article|profile|book|video|music):[a-z0-9_:]{1,60}", re.ASCII)
_OTHER_NAMES = {
    "title": "og:title",
    "twitter:title": "og:title",
    "description": "og:description",
    "twitter:description": "og:description",
    "twitter:image": "og:image",
    "twitter:image:src": "og:image",
    "application-name": "og:site_name",
}
"""What pages say in other words, for what they don't say in OpenGraph's."""


def read_page(data: bytes, content_type: str) -> dict[str, str]:
    """Return the properties of a page, such as `og:title`; {} if it has none."""
    reader = _PageReader()
    end = time.monotonic() + PARSING_S
    for piece in _pieces(_decode(data, content_type)):
        reader.feed(piece)
        if reader.is_done or time.monotonic() > end:
            break
    else:
        reader.close()  # a tag that the page's end cut off
    return reader.properties()


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]


def _decode(data: bytes, content_type: str) -> str:
    """Return the text, in the encoding that the header or the page names, else in UTF-8."""
    names = []
    if found := _HEADER_CHARSET.search(content_type):
        names.append(found[1])
    if in_page := _META_CHARSET.search(data[:8_192]):
        names.append(in_page[1].decode("ascii", "replace"))
    for name in names:
        try:
            return data.decode(name, "replace")
        except (LookupError, ValueError):
            continue
    return data.decode("utf-8", "replace")


class _PageReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.is_done = False
        self._said: dict[str, str] = {}
        self._otherwise: dict[str, str] = {}
        self._in_title = False
        self._title: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "title" and not self._title:
            self._in_title = True
        elif tag == "meta":
            self._note(values)
        elif tag == "link" and "image_src" in values.get("rel", "").split():
            self._otherwise.setdefault("og:image", values.get("href", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title and sum(map(len, self._title)) < MAX_VALUE:
            self._title.append(data)

    def _note(self, values: dict[str, str]) -> None:
        name = (values.get("property") or values.get("name") or "").strip().lower()
        value = _tidy(values.get("content", ""))
        if not value or self.is_done:
            return
        if _OG.fullmatch(name):
            self._said.setdefault(name, value)
            self.is_done = len(self._said) >= MOST_PROPERTIES
        elif name in _OTHER_NAMES:
            self._otherwise.setdefault(_OTHER_NAMES[name], value)

    def properties(self) -> dict[str, str]:
        found = {**self._otherwise, **self._said}
        if title := _tidy("".join(self._title)):
            found.setdefault("og:title", title)
        return {name: value for name, value in found.items() if value}


def _tidy(text: str) -> str:
    """Return the text as one line of bounded length that a JSON string can hold."""
    return " ".join(text.encode("utf-8", "replace").decode().split())[:MAX_VALUE]
