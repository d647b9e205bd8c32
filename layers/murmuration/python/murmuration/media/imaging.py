"""Making images smaller with Pillow, which is imported only if a thumbnail has to be made.

Anyone may have uploaded the image: its size is checked before a pixel is decoded, only the formats below are
tried, and any error of a decoder becomes Unknown.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

from PIL import Image, ImageOps

from murmuration.protocol.errors import TooLarge, Unknown

Method = Literal["crop", "scale"]
Size = tuple[int, int]

TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
"""The formats that are decoded. Browsers show all of them, so small images can stay unchanged."""
MAX_PIXELS = 32_000_000
MAX_FRAMES = 150
MAX_ANIMATED_PIXELS = 30_000_000
"""The maximum number of pixels, of all frames together, that a function can decode, scale and encode
in time."""
MAX_BYTES = 4_400_000
"""The maximum size of a function's response, which has 6 MB with Base64."""
JPEG_QUALITY = 85
WEBP_QUALITY = 75
_BROKEN = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    MemoryError,
    struct.error,
)
"""Errors that decoders raise for broken images."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    data: bytes
    content_type: str


def make_thumbnail(data: bytes, size: Size, method: Method, *, animated: bool) -> Thumbnail:
    """Return a thumbnail of an image, never larger than the image; `data` itself if it is small enough
    already.

    `scale` fits the image into `size` and keeps the aspect ratio, `crop` fills the ratio of `size`. Raises
    Unknown if it isn't an image, TooLarge.
    """
    with _decoding(data) as image:
        if animated and (frames := _frames(image)):
            return _checked(_animation(image, frames, size, method))
        still = not getattr(image, "is_animated", False)
        if still and image.format in TYPES and _fits(image.size, size):
            image.load()
            return Thumbnail(data, TYPES[image.format])
        return _checked(_still(image, size, method))


@dataclass(frozen=True, slots=True)
class Described:
    """The type and the size that an image's first bytes declare."""

    content_type: str
    size: Size


def describe(data: bytes) -> Described:
    """Return the type and the size of an image, without decoding it. Raises Unknown if it isn't an image,
    TooLarge.
    """
    with _decoding(data) as image:
        return Described(TYPES[str(image.format)], image.size)


@contextmanager
def _decoding(data: bytes) -> Iterator[Image.Image]:
    """Open the image in `data` without decoding it. Decoder errors within the block become Unknown. Raises
    TooLarge.
    """
    try:
        with Image.open(BytesIO(data), formats=tuple(TYPES)) as image:
            _check_pixels(image.size)
            yield image
    except Image.DecompressionBombError as error:
        raise TooLarge("The image is too large to make a thumbnail of it") from error
    except _BROKEN as error:
        raise Unknown("Cannot generate thumbnails for the requested content") from error


def _check_pixels(size: Size) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise TooLarge(f"An image of more than {MAX_PIXELS:,} pixels is too large to make a thumbnail of it")


def _checked(thumbnail: Thumbnail) -> Thumbnail:
    if len(thumbnail.data) > MAX_BYTES:
        raise TooLarge("The thumbnail would be too large to be sent")
    return thumbnail


# -- Geometry --------------------------------------------------------------------------------------------


def _fits(image: Size, size: Size) -> bool:
    return image[0] <= size[0] and image[1] <= size[1]


def scaled(image: Size, size: Size, method: Method) -> Size:
    """Return the size of the thumbnail: within `size`, and never larger than the image in either
    dimension.
    """
    if method == "crop":
        ratio = min(1.0, image[0] / size[0], image[1] / size[1])
        return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))
    ratio = min(1.0, size[0] / image[0], size[1] / image[1])
    return max(1, round(image[0] * ratio)), max(1, round(image[1] * ratio))


def _resized(image: Image.Image, size: Size, method: Method) -> Image.Image:
    target = scaled(image.size, size, method)
    if method == "crop":
        return ImageOps.fit(image, target, Image.Resampling.LANCZOS)
    return image.resize(target, Image.Resampling.LANCZOS, reducing_gap=2.0)


# -- Still images ----------------------------------------------------------------------------------------


def _still(image: Image.Image, size: Size, method: Method) -> Thumbnail:
    """Return the first frame, upright: a photograph as JPEG, and images with transparency or few colours
    as PNG.
    """
    source = image.format
    # A JPEG can be decoded at a fraction of its size, which saves most of the memory.
    edge = 2 * max(size)
    image.draft(image.mode, (edge, edge))
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
    upright = ImageOps.exif_transpose(_eight_bits(image))
    has_alpha = upright.has_transparency_data
    result = _resized(upright.convert("RGBA" if has_alpha else "RGB"), size, method)
    options: dict[str, bytes] = {"icc_profile": profile} if profile else {}
    if has_alpha or source in ("PNG", "GIF"):
        return Thumbnail(_encoded(result, "PNG", **options), "image/png")
    return Thumbnail(
        _encoded(result, "JPEG", quality=JPEG_QUALITY, progressive=True, **options), "image/jpeg"
    )


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return the image with 8 bits a channel. Pillow would turn most of a 16-bit grey image white.

    A grey that stands for transparency stays transparent.
    """
    if not image.mode.startswith("I"):
        return image
    image, values = image.convert("I"), range(1 << 16)
    grey = image.point([value >> 8 for value in values], "L")
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return grey
    opaque = image.point([0 if value == clear else 255 for value in values], "L")
    return Image.merge("LA", (grey, opaque))


def _encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    output = BytesIO()
    image.info = {}  # otherwise Pillow copies comments and other metadata
    image.save(output, image_format, **options)
    return output.getvalue()


# -- Animations ------------------------------------------------------------------------------------------


def _frames(image: Image.Image) -> int:
    """Return the number of frames to animate; 0 for a still image, or an animation that is too long
    or large.
    """
    if not getattr(image, "is_animated", False):
        return 0
    most = min(MAX_FRAMES, MAX_ANIMATED_PIXELS // (image.width * image.height))
    # Pillow may have to read millions of frames to count them.
    try:
        image.seek(most)
    except EOFError:
        return image.n_frames  # type: ignore[attr-defined,no-any-return]
    finally:
        image.seek(0)
    return 0


def _animation(image: Image.Image, frames: int, size: Size, method: Method) -> Thumbnail:
    pictures, durations = [], []
    for number in range(frames):
        image.seek(number)
        _check_pixels(image.size)
        pictures.append(_resized(image.convert("RGBA"), size, method))
        durations.append(int(image.info.get("duration", 100)))
    data = _encoded(
        pictures[0],
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=int(image.info.get("loop", 0)),
        quality=WEBP_QUALITY,
    )
    return Thumbnail(data, "image/webp")
