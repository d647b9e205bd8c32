"""Thumbnails, made when first asked for and kept in the bucket.

Sizes are snapped to a few, so that nobody can fill the bucket with thumbnails of one image.
https://spec.matrix.org/v1.19/client-server-api/#thumbnails
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import objects
from murmuration.media.repository import File, find_content, read_file
from murmuration.protocol.errors import InvalidParam, MissingParam

if TYPE_CHECKING:
    from murmuration.media.imaging import Method, Size

SCALED_SIZES = ((320, 240), (640, 480), (800, 600), (1600, 1200))
CROPPED_EDGES = (32, 96, 160, 320, 640, 800, 1600)
WHOLE = 1 << 16
"""The edge that stands for "as large as the image is"."""
ASPECTS = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """The thumbnail that a client asks for, in the size that it gets at most."""

    size: Size
    method: Method
    animated: bool

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Wanted:
        """From the query of the request. Raises MissingParam, InvalidParam."""
        width, height = (_edge(query, name) for name in ("width", "height"))
        method = query.get("method", "scale")
        animated = query.get("animated", "false")
        if animated not in ("true", "false"):
            raise InvalidParam("animated must be true or false")
        if method == "crop":
            return cls(cropped_size(width, height), "crop", animated == "true")
        if method == "scale":
            return cls(scaled_size(width, height), "scale", animated == "true")
        raise InvalidParam("method must be crop or scale")

    def key(self, media_id: str) -> str:
        """The thumbnail's key in the bucket."""
        width, height = self.size
        return f"thumbnail/{media_id}/{self.method}-{width}x{height}{'-animated' * self.animated}"


def _edge(query: Mapping[str, str], name: str) -> int:
    text = query.get(name)
    if text is None:
        raise MissingParam(f"{name} is missing")
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) < 1:
        raise InvalidParam(f"{name} must be a number of pixels")
    return int(text)


def scaled_size(width: int, height: int) -> Size:
    """The smallest of our sizes that is no smaller than asked for in either dimension."""
    for size in SCALED_SIZES:
        if size[0] >= width and size[1] >= height:
            return size
    return WHOLE, WHOLE


def cropped_size(width: int, height: int) -> Size:
    """A size of (nearly) the aspect ratio asked for, no smaller in either dimension."""
    longer = max(width, height)
    edge = next((each for each in CROPPED_EDGES if each >= longer), WHOLE)
    if edge == WHOLE:
        return WHOLE, WHOLE
    other = -(-min(width, height) * ASPECTS // longer) * edge // ASPECTS
    return (edge, other) if width >= height else (other, edge)


def get_content_thumbnail(server_name: str, media_id: str, wanted: Wanted, *, timeout_ms: int) -> File:
    """A thumbnail, or the image itself where it is no larger than that.

    Raises NotFound, NotYetUploaded, TooLarge, and Unknown for what is no image.
    """
    content = find_content(server_name, media_id, timeout_ms=timeout_ms)
    key = wanted.key(media_id)
    if kept := objects.get(key):
        return _file(kept.data, kept.content_type)
    from murmuration.media.imaging import make_thumbnail

    original = read_file(content)
    made = make_thumbnail(original.data, wanted.size, wanted.method, animated=wanted.animated)
    if made.data is not original.data:
        objects.put(key, made.data, made.content_type)
    return _file(made.data, made.content_type)


def _file(data: bytes, content_type: str) -> File:
    return File(data, content_type, f"thumbnail.{content_type.partition('/')[2]}")
