"""Thumbnails, which are made when they are first requested and kept in the bucket.

Sizes are rounded up to one of a few, so that nobody can fill the bucket with thumbnails of one image. An
attempt is counted before it is made, so that a refused or crashed one isn't repeated forever.
https://spec.matrix.org/v1.19/client-server-api/#thumbnails
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from murmuration.aws import objects
from murmuration.clock import now_ms
from murmuration.media.asking import Asked
from murmuration.media.finding import find_again, find_content, find_own_content
from murmuration.media.serving import File, Served, serve, serve_file
from murmuration.protocol.errors import (
    InvalidParam,
    LimitExceeded,
    MatrixError,
    MissingParam,
    NotFound,
    TooLarge,
    Unknown,
)
from murmuration.settings import settings
from murmuration.storage import media as storage
from murmuration.storage.media import Content

if TYPE_CHECKING:
    from murmuration.media.imaging import Method, Size
    from murmuration.protocol.identifiers import ServerName

SCALED_SIZES: Sequence[Size] = ((320, 240), (640, 480), (800, 600), (1600, 1200))
CROPPED_SIZES: Sequence[Size] = ((32, 32), (96, 96), (320, 320), (640, 640))
"""The only sizes that are made: those of the specification, and one or two larger ones."""
NAMES = tuple(
    f"{method}-{width}x{height}{animated}"
    for method, sizes in (("scale", SCALED_SIZES), ("crop", CROPPED_SIZES))
    for width, height in sizes
    for animated in ("", "-animated")
)
"""The names of all possible thumbnails of an image (`Wanted.name`)."""
REMEMBERED_MS = 86_400_000
"""How long the result of an attempt is kept."""
TRIES = 3
TRYING_MS = 60_000
"""After this time, `TRIES` attempts without a result mean failure. Before it, they may still be
running."""
AT_ONCE = 30
"""How many attempts may begin in that time."""
BUSY_MS = 2_000
MAX_SOURCE_BYTES = 30_000_000
"""The maximum size of an image to decode, because a function holds it in memory."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A requested thumbnail, with its maximum size."""

    size: Size
    method: Method
    animated: bool

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Wanted:
        """Return the thumbnail that a request's query asks for. Raises MissingParam, InvalidParam."""
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
        """The name that distinguishes this thumbnail from others of its image."""
        width, height = self.size
        return f"{self.method}-{width}x{height}{'-animated' * self.animated}"


def _edge(query: Mapping[str, str], name: str) -> int:
    text = query.get(name)
    if text is None:
        raise MissingParam(f"{name} is missing")
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) < 1:
        raise InvalidParam(f"{name} must be a number of pixels")
    return int(text)


def scaled_size(width: int, height: int) -> Size:
    """Return the smallest of our sizes that is at least as large as the requested one, or else the
    largest.
    """
    return _rounded(SCALED_SIZES, width, height)


def cropped_size(width: int, height: int) -> Size:
    """Return the size of a cropped thumbnail, a square, by the same rule as `scaled_size`."""
    return _rounded(CROPPED_SIZES, width, height)


def _rounded(sizes: Sequence[Size], width: int, height: int) -> Size:
    return next((size for size in sizes if size[0] >= width and size[1] >= height), sizes[-1])


def get_content_thumbnail(server_name: ServerName, media_id: str, wanted: Wanted, asked: Asked) -> Served:
    """Return a thumbnail, or the image itself if that isn't larger. Raises what `find_thumbnail` raises."""
    found = find_thumbnail(server_name, media_id, wanted, asked)
    if isinstance(found, File):
        return serve_file(found, asked)
    try:
        return serve(found, asked)
    except NotFound:
        again = find_again(server_name, media_id, asked, found)
        return serve(replace(again, content_type=found.content_type, file_name=found.file_name), asked)


def find_thumbnail(server_name: ServerName, media_id: str, wanted: Wanted, asked: Asked) -> File | Content:
    """Return a thumbnail of a local or remote image, or the image's metadata if the image itself is small
    enough.

    Raises NotFound, NotYetUploaded, TooLarge, LimitExceeded, and Unknown if it isn't an image.
    """
    if server_name == settings().server_name:
        return find_own_thumbnail(media_id, wanted, asked)
    from murmuration.media import remote

    content = find_content(server_name, media_id, asked)
    # Thumbnails of remote images are stored in the same folder, and expire with them.
    image = _Image(remote.folder(server_name, media_id), f"{server_name}/{media_id}")
    try:
        return _find(image, content, wanted)
    except _Lost:
        return _find(image, find_again(server_name, media_id, asked, content), wanted)


def find_own_thumbnail(media_id: str, wanted: Wanted, asked: Asked) -> File | Content:
    """Return what `find_thumbnail` returns, for local images only."""
    content = find_own_content(media_id, asked)
    # Thumbnails of temporary images, such as those of previews, are stored in the same folder.
    folder = "thumbnail" if content.object.startswith("media/") else "remote"
    return _find(_Image(f"{folder}/{media_id}", media_id), content, wanted)


@dataclass(frozen=True, slots=True)
class _Image:
    """Where an image's thumbnails are stored, and the key that counts their attempts."""

    folder: str
    counted_as: str


class _Lost(NotFound):
    """The bucket has lost the image."""


def _find(image: _Image, content: Content, wanted: Wanted) -> File | Content:
    """Return a stored thumbnail, or make one now. Raises _Lost and what `find_thumbnail` raises."""
    if kept := objects.get(f"{image.folder}/{wanted.name}"):
        return _file(kept.data, kept.content_type)
    if whole := _begin(image, wanted):
        return replace(content, content_type=whole, file_name=_file_name(whole))
    if content.size > MAX_SOURCE_BYTES:
        raise _refuse(image, wanted, TooLarge(f"A file of {content.size:,} bytes is too large for that"))
    original = objects.get(content.object)
    if original is None:
        raise _Lost("The media are gone")
    return _make(image, wanted, content, original.data)


def _begin(image: _Image, wanted: Wanted) -> str:
    """Count an attempt. Returns the image's type if the image itself is known to be small enough.

    Raises the error of an earlier attempt, Unknown if several attempts stopped without a result,
    LimitExceeded.
    """
    now = now_ms()
    making = storage.begin_thumbnail(
        image.counted_as,
        wanted.name,
        now_ms=now,
        lapsed_ms=now - REMEMBERED_MS,
        expires_ms=now + 2 * REMEMBERED_MS,
    )
    if making.refusal:
        refused = TooLarge if making.refusal == TooLarge.errcode else Unknown
        raise refused(making.message)
    if not making.whole and making.tries > TRIES and now - making.since_ms > TRYING_MS:
        raise Unknown("Making this thumbnail failed several times: it takes too much memory or time")
    if not making.whole and making.tries > AT_ONCE:
        raise LimitExceeded("This thumbnail is being made; try again", retry_after_ms=BUSY_MS)
    return making.whole


def _make(image: _Image, wanted: Wanted, content: Content, data: bytes) -> File | Content:
    """Make a thumbnail and store it, or store why there is none."""
    from murmuration.media.imaging import make_thumbnail

    try:
        made = make_thumbnail(data, wanted.size, wanted.method, animated=wanted.animated)
    except (TooLarge, Unknown) as error:
        raise _refuse(image, wanted, error) from error
    if made.data is data:
        storage.keep_whole(image.counted_as, wanted.name, made.content_type)
        return replace(content, content_type=made.content_type, file_name=_file_name(made.content_type))
    objects.put(f"{image.folder}/{wanted.name}", made.data, made.content_type)
    return _file(made.data, made.content_type)


def _refuse(image: _Image, wanted: Wanted, error: MatrixError) -> MatrixError:
    """Store an error, so that the next request is refused without work, and return it."""
    storage.refuse_thumbnail(image.counted_as, wanted.name, refusal=error.errcode, message=error.message)
    return error


def _file(data: bytes, content_type: str) -> File:
    return File(data, content_type, _file_name(content_type))


def _file_name(content_type: str) -> str:
    return f"thumbnail.{content_type.partition('/')[2]}"
