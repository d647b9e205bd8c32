"""Thumbnails, made when first asked for and kept in the bucket.

Sizes are rounded up to a few, so that nobody can fill the bucket with thumbnails of one image. An attempt is
counted before it is made: what was refused is refused again without the work, and so is what ended functions.
https://spec.matrix.org/v1.19/client-server-api/#thumbnails
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.aws import objects
from murmuration.clock import now_ms
from murmuration.identity.tokens import Requester
from murmuration.media.repository import File, find_content, read_file
from murmuration.protocol.errors import InvalidParam, LimitExceeded, MissingParam, TooLarge, Unknown
from murmuration.storage import media as storage

if TYPE_CHECKING:
    from murmuration.media.imaging import Method, Size

SCALED_SIZES: Sequence[Size] = ((320, 240), (640, 480), (800, 600), (1600, 1200))
CROPPED_SIZES: Sequence[Size] = ((32, 32), (96, 96), (320, 320), (640, 640))
"""The only sizes that are made: those of the specification, and one or two for what is larger."""
REMEMBERED_MS = 86_400_000
"""How long it's remembered what came of an attempt."""
TRIES = 3
TRYING_MS = 60_000
"""So many attempts that nothing came of are enough, once this is over; until then others may be at it."""
AT_ONCE = 30
"""How many attempts may begin in that time."""
BUSY_MS = 2_000


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

    @property
    def name(self) -> str:
        """What tells this thumbnail from others of its image."""
        width, height = self.size
        return f"{self.method}-{width}x{height}{'-animated' * self.animated}"

    def key(self, media_id: str) -> str:
        """The thumbnail's key in the bucket."""
        return f"thumbnail/{media_id}/{self.name}"


def _edge(query: Mapping[str, str], name: str) -> int:
    text = query.get(name)
    if text is None:
        raise MissingParam(f"{name} is missing")
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) < 1:
        raise InvalidParam(f"{name} must be a number of pixels")
    return int(text)


def scaled_size(width: int, height: int) -> Size:
    """The smallest of our sizes that is no smaller than asked for in either dimension; else the largest."""
    return _rounded(SCALED_SIZES, width, height)


def cropped_size(width: int, height: int) -> Size:
    """The same for a cropped thumbnail, which is a square."""
    return _rounded(CROPPED_SIZES, width, height)


def _rounded(sizes: Sequence[Size], width: int, height: int) -> Size:
    return next((size for size in sizes if size[0] >= width and size[1] >= height), sizes[-1])


def get_content_thumbnail(
    server_name: str, media_id: str, wanted: Wanted, *, reader: Requester | None, timeout_ms: int
) -> File:
    """A thumbnail, or the image itself where it is no larger than that.

    `reader` is who asks; see `find_content`. Raises NotFound, NotYetUploaded, TooLarge, LimitExceeded, and
    Unknown for what is no image.
    """
    content = find_content(server_name, media_id, reader=reader, timeout_ms=timeout_ms)
    if kept := objects.get(wanted.key(media_id)):
        return _file(kept.data, kept.content_type)
    whole = _begin(media_id, wanted)
    original = read_file(content)
    return _file(original.data, whole) if whole else _make(media_id, wanted, original.data)


def _begin(media_id: str, wanted: Wanted) -> str:
    """Count an attempt; the image's type where the image itself is known to do.

    Raises what an attempt before raised, Unknown if several came to nothing, LimitExceeded.
    """
    now = now_ms()
    making = storage.begin_thumbnail(media_id, wanted.name, now_ms=now, lapsed_ms=now - REMEMBERED_MS)
    if making.refusal:
        refused = TooLarge if making.refusal == TooLarge.errcode else Unknown
        raise refused(making.message)
    if not making.whole and making.tries > TRIES and now - making.since_ms > TRYING_MS:
        raise Unknown("Making this thumbnail took too much, several times")
    if not making.whole and making.tries > AT_ONCE:
        raise LimitExceeded("Others are making this thumbnail", retry_after_ms=BUSY_MS)
    return making.whole


def _make(media_id: str, wanted: Wanted, data: bytes) -> File:
    """Make a thumbnail and keep it, or remember why there is none to keep."""
    from murmuration.media.imaging import make_thumbnail

    try:
        made = make_thumbnail(data, wanted.size, wanted.method, animated=wanted.animated)
    except (TooLarge, Unknown) as error:
        storage.refuse_thumbnail(media_id, wanted.name, refusal=error.errcode, message=error.message)
        raise
    if made.data is data:
        storage.keep_whole(media_id, wanted.name, made.content_type)
    else:
        objects.put(wanted.key(media_id), made.data, made.content_type)
    return _file(made.data, made.content_type)


def _file(data: bytes, content_type: str) -> File:
    return File(data, content_type, f"thumbnail.{content_type.partition('/')[2]}")
