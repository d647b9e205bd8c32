"""The description that a web page gives of itself: OpenGraph properties, or else its title and description.

Pages are untrusted: they are read up to a maximum size, and nothing in them is executed. Each character is
read once, so no page takes long. That is why Python's own parser isn't used: it starts again at a tag or a
comment without an end, and raises errors of its own. https://ogp.me,
https://html.spec.whatwg.org/multipage/parsing.html
"""

from __future__ import annotations

import re
from html import unescape

from murmuration.media.charsets import decode_page

MAX_PAGE_BYTES = 393_216
"""How much of a page is read: the properties are in its head."""
MOST_PROPERTIES = 30
MAX_VALUE = 1_000
_MAX_ESCAPED = 4_000
"""How much of a text with character references is decoded. Python refuses a longer number in one of them."""
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
"""Other names for properties, used if the page lacks the OpenGraph property."""

# `++`, `*+` and `?+` never give characters back, so each pattern takes a time that is linear in its match.
_NAME = re.compile(r"[a-z][^\s/>]*+", re.IGNORECASE)
_REST_OF_TAG = re.compile(r"""(?:[^=>]++|=\s*+(?:"[^"]*+"|'[^']*+')?+)*+>""")
_ATTRIBUTE = re.compile(r"""([^\s/=>"']++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>]*+)))?+""")
_OF_TEXT = ("script", "style", "textarea", "title", "iframe", "xmp", "noembed", "noframes", "template")
"""Elements whose whole content, up to the end tag, is skipped."""
_ENDS = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in _OF_TEXT}


def read_page(data: bytes, content_type: str) -> dict[str, str]:
    """Return the properties of a page, such as `og:title`; {} if it has none."""
    reader = _PageReader(decode_page(data, content_type))
    reader.run()
    return reader.properties()


class _PageReader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._said: dict[str, str] = {}
        self._otherwise: dict[str, str] = {}
        self._title = ""

    def run(self) -> None:
        """Read tag by tag, until the page ends or enough properties are found."""
        place = self._text.find("<")
        while place >= 0 and len(self._said) < MOST_PROPERTIES:
            place = self._text.find("<", self._pass(place + 1))

    def _pass(self, start: int) -> int:
        """Read the tag or comment that begins right before `start`, and return where it ends."""
        text = self._text
        if text.startswith("!--", start):
            return _behind(text, "-->", start + 1)  # `<!-->` is a whole comment
        if text.startswith(("!", "?", "/"), start):
            return _behind(text, ">", start)
        name = _NAME.match(text, start)
        if name is None:
            return start
        rest = _REST_OF_TAG.match(text, name.end())
        if rest is None:
            return len(text)
        return self._take(name[0].lower(), rest)

    def _take(self, tag: str, rest: re.Match[str]) -> int:
        """Read an element, and return where its tag ends or, if its content is skipped, where its end tag
        begins.
        """
        if tag == "meta":
            self._note(_attributes(rest[0]))
        elif tag == "link":
            self._note_link(_attributes(rest[0]))
        elif tag in _ENDS:
            end = _ENDS[tag].search(self._text, rest.end())
            last = end.start() if end else len(self._text)
            if tag == "title" and not self._title:
                self._title = _tidy(self._text[rest.end() : min(last, rest.end() + _MAX_ESCAPED)])
            return last
        return rest.end()

    def _note(self, values: dict[str, str]) -> None:
        name = (values.get("property") or values.get("name") or "").strip().lower()
        value = _tidy(values.get("content", ""))
        if not value:
            return
        if _OG.fullmatch(name):
            self._said.setdefault(name, value)
        elif name in _OTHER_NAMES:
            self._otherwise.setdefault(_OTHER_NAMES[name], value)

    def _note_link(self, values: dict[str, str]) -> None:
        if "image_src" in values.get("rel", "").lower().split():
            self._otherwise.setdefault("og:image", _tidy(values.get("href", "")))

    def properties(self) -> dict[str, str]:
        found = {**self._otherwise, **self._said}
        if self._title:
            found.setdefault("og:title", self._title)
        return {name: value for name, value in found.items() if value}


def _behind(text: str, end: str, start: int) -> int:
    """Return the position after the next `end`; the text's end if there is none."""
    found = text.find(end, start)
    return found + len(end) if found >= 0 else len(text)


def _attributes(rest: str) -> dict[str, str]:
    """Return the attributes of a tag. Character references in their values aren't decoded."""
    values: dict[str, str] = {}
    for found in _ATTRIBUTE.finditer(rest):
        values.setdefault(found[1].lower(), found[2] or found[3] or found[4] or "")
    return values


def _tidy(escaped: str) -> str:
    """Return the text as one line of limited length that a JSON string can hold."""
    text = unescape(escaped[:_MAX_ESCAPED])
    return " ".join(text.encode("utf-8", "replace").decode().split())[:MAX_VALUE]
