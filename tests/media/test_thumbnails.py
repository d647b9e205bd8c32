"""Thumbnails: of the size asked for or a little more, never larger than the image, never an error of ours."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from murmuration import clock
from murmuration.aws import objects
from murmuration.media import imaging, thumbnails
from murmuration.media.thumbnails import CROPPED_SIZES, SCALED_SIZES, Wanted, cropped_size, scaled_size
from murmuration.protocol.errors import MatrixError, TooLarge, Unknown
from murmuration.settings import settings as settings_of_the_server
from tests.media.test_media import create, upload

THUMBNAILS = ["/_matrix/client/v1/media/thumbnail", "/_matrix/media/v3/thumbnail"]


def picture(width, height, image_format="PNG", mode="RGB", **options):
    """Return a picture with four quarters of different colours."""
    image = Image.new("RGB", (width, height), "red")
    for left, top, colour in ((1, 0, "green"), (0, 1, "blue"), (1, 1, "white")):
        box = (left * width // 2, top * height // 2, (left + 1) * width // 2, (top + 1) * height // 2)
        image.paste(colour, box)
    output = BytesIO()
    image.convert(mode).save(output, image_format, **options)
    return output.getvalue()


def animation(width, height, frames, image_format="GIF"):
    images = [Image.new("RGB", (width, height), (number * 40 % 256, 0, 99)) for number in range(frames)]
    output = BytesIO()
    images[0].save(output, image_format, save_all=True, append_images=images[1:], duration=70, loop=0)
    return output.getvalue()


def opened(data):
    image = Image.open(BytesIO(data))
    image.load()
    return image


def thumbnail(client, name, query, base=THUMBNAILS[0]):
    return client.get(f"{base}/{name}?{query}")


@pytest.mark.parametrize("base", THUMBNAILS)
def test_a_thumbnail_is_made_once_and_kept(alice, base, open_media):
    name = upload(alice, picture(1000, 500), "image/png")
    first = thumbnail(alice, name, "width=300&height=200&method=scale", base)
    assert first.status == 200
    assert opened(first.body).size == (320, 160)
    assert first.headers["Content-Type"] == "image/png"
    assert first.headers["Content-Disposition"] == 'inline; filename="thumbnail.png"'
    key = f"thumbnail/{name.split('/')[1]}/scale-320x240"
    kept = objects.get(key)
    assert kept is not None
    assert kept.data == first.body
    objects.put(key, b"kept", "image/webp")
    again = thumbnail(alice, name, "width=320&height=240", base)
    assert (again.body, again.headers["Content-Type"]) == (b"kept", "image/webp")


def test_small_images_are_served_as_they_are_but_for_what_they_claim_to_be(alice):
    data = picture(40, 30)
    name = upload(alice, data, "text/html", filename="evil.html")
    answer = thumbnail(alice, name, "width=64&height=64&method=crop")
    assert (answer.body, answer.headers["Content-Type"]) == (data, "image/png")
    assert answer.headers["Content-Disposition"] == 'inline; filename="thumbnail.png"'


@pytest.mark.parametrize(
    "data", [b"", b"no image", b"<svg/>", picture(50, 50)[:100], b"GIF89a", picture(50, 50, "TIFF")]
)
def test_what_is_no_image_has_no_thumbnail(alice, data):
    answer = thumbnail(alice, upload(alice, data, "image/png"), "width=32&height=32")
    assert (answer.status, answer.json["errcode"]) == (400, "M_UNKNOWN")


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ("height=32", "M_MISSING_PARAM"),
        ("width=32", "M_MISSING_PARAM"),
        ("width=a&height=32", "M_INVALID_PARAM"),
        ("width=0&height=32", "M_INVALID_PARAM"),
        ("width=-5&height=32", "M_INVALID_PARAM"),
        ("width=1.5&height=32", "M_INVALID_PARAM"),
        ("width=%C2%B2&height=32", "M_INVALID_PARAM"),
        ("width=99999999999999&height=32", "M_INVALID_PARAM"),
        ("width=32&height=32&method=stretch", "M_INVALID_PARAM"),
        ("width=32&height=32&animated=maybe", "M_INVALID_PARAM"),
        ("width=32&height=32&timeout_ms=x", "M_INVALID_PARAM"),
    ],
)
@pytest.mark.parametrize("base", THUMBNAILS)
def test_bad_requests_are_refused(alice, query, errcode, base):
    answer = thumbnail(alice, "example.org/any", query, base)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)


def test_media_that_are_not_there_have_no_thumbnail(alice):
    query = "width=32&height=32&timeout_ms=0"
    assert thumbnail(alice, "example.org/none", query).json["errcode"] == "M_NOT_FOUND"
    answer = thumbnail(alice, create(alice), query)
    assert (answer.status, answer.json["errcode"]) == (504, "M_NOT_YET_UPLOADED")


def test_the_new_path_needs_a_token(alice, open_media):
    name = upload(alice, picture(40, 30))
    alice.token = None
    assert thumbnail(alice, name, "width=32&height=32", THUMBNAILS[0]).status == 401
    assert thumbnail(alice, name, "width=32&height=32", THUMBNAILS[1]).status == 200


# -- Sizes -----------------------------------------------------------------------------------------------


@given(st.integers(1, 5000), st.integers(1, 5000))
@pytest.mark.parametrize(("rounded", "sizes"), [(cropped_size, CROPPED_SIZES), (scaled_size, SCALED_SIZES)])
def test_a_size_is_one_of_few_and_no_smaller_unless_it_is_the_largest(rounded, sizes, width, height):
    size = rounded(width, height)
    assert size in sizes
    assert len(sizes) <= 4
    assert (size[0] >= width and size[1] >= height) or size == sizes[-1]


def test_the_sizes_of_the_specification_are_ours():
    assert [cropped_size(edge, edge) for edge in (32, 96)] == [(32, 32), (96, 96)]
    for size in ((320, 240), (640, 480), (800, 600)):
        assert scaled_size(*size) == size


def test_the_default_is_to_scale_without_animation():
    assert Wanted.parse({"width": "30", "height": "30"}) == Wanted((320, 240), "scale", False)


@given(
    image=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    size=st.tuples(st.integers(1, 1600), st.integers(1, 1600)),
    method=st.sampled_from(["crop", "scale"]),
)
def test_no_thumbnail_is_larger_than_its_image_or_than_asked(image, size, method):
    result = imaging.scaled(image, size, method)
    for edge, limit, original in zip(result, size, image, strict=True):
        assert 1 <= edge <= min(limit, original)


# -- What is known is not done again ---------------------------------------------------------------------


@pytest.fixture
def makings(monkeypatch):
    """Return the list of attempts to make a thumbnail."""
    seen = []
    make_thumbnail = imaging.make_thumbnail

    def record(*arguments, **named):
        seen.append(arguments)
        return make_thumbnail(*arguments, **named)

    monkeypatch.setattr(imaging, "make_thumbnail", record)
    return seen


@pytest.fixture
def later(monkeypatch):
    """Return a function that advances the time, in milliseconds."""
    passed: list[int] = []
    monkeypatch.setattr(thumbnails, "now_ms", lambda: clock.now_ms() + sum(passed))
    return passed.append


def refusal(answer):
    return answer.status, answer.json["errcode"], answer.json["error"]


SMALL = "width=32&height=32"


@pytest.mark.parametrize("kind", ["no image", "bomb"])
def test_a_refusal_is_remembered_for_a_day(alice, makings, later, kind):
    data = b"no image" if kind == "no image" else bomb(20_000, 20_000)
    name = upload(alice, data, "image/png")
    answers = [thumbnail(alice, name, SMALL) for _ in range(5)]
    assert len({refusal(answer) for answer in answers}) == 1
    assert refusal(answers[0])[:2] == ((400, "M_UNKNOWN") if kind == "no image" else (413, "M_TOO_LARGE"))
    assert len(makings) == 1
    later(thumbnails.REMEMBERED_MS + 1)
    assert [refusal(thumbnail(alice, name, SMALL)) for _ in range(2)] == [refusal(answers[0])] * 2
    assert len(makings) == 2


def test_an_image_that_is_small_as_it_is_is_decoded_once(alice, makings):
    data = picture(20, 20)
    name = upload(alice, data)
    answers = [thumbnail(alice, name, SMALL) for _ in range(thumbnails.AT_ONCE + 2)]
    assert {(answer.status, answer.body, answer.headers["Content-Type"]) for answer in answers} == {
        (200, data, "image/png")
    }
    assert len(makings) == 1


def test_what_ends_functions_is_not_tried_for_ever(alice, monkeypatch, later):
    """A function that ran out of time or memory records nothing. The attempt was counted before."""
    tried = []

    def die(*arguments, **named):
        tried.append(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(imaging, "make_thumbnail", die)
    name = upload(alice, picture(400, 400))
    for _ in range(thumbnails.TRIES):
        with pytest.raises(KeyboardInterrupt):
            thumbnail(alice, name, SMALL)
    later(thumbnails.TRYING_MS + 1)
    for _ in range(3):
        assert refusal(thumbnail(alice, name, SMALL))[:2] == (400, "M_UNKNOWN")
    assert len(tried) == thumbnails.TRIES
    monkeypatch.undo()
    assert thumbnail(alice, name, "width=96&height=96").status == 200


def test_so_many_try_at_once(alice, monkeypatch):
    monkeypatch.setattr(imaging, "make_thumbnail", lambda *_, **__: 1 / 0)
    name = upload(alice, picture(400, 400))
    statuses = [thumbnail(alice, name, SMALL).status for _ in range(thumbnails.AT_ONCE + 2)]
    assert statuses == [500] * thumbnails.AT_ONCE + [429] * 2


def test_an_image_has_few_thumbnails(alice):
    name = upload(alice, picture(900, 900))
    for method in ("crop", "scale"):
        for edge in (1, 20, 32, 33, 96, 100, 300, 500, 640, 800, 1000, 9999):
            for other in (edge, 7 * edge):
                assert thumbnail(alice, name, f"width={edge}&height={other}&method={method}").status == 200
    prefix = f"thumbnail/{name.split('/')[1]}/"
    kept = objects.client().list_objects_v2(Bucket=settings_of_the_server().media_bucket, Prefix=prefix)
    assert kept["KeyCount"] <= len(CROPPED_SIZES) + len(SCALED_SIZES)


# -- Pictures --------------------------------------------------------------------------------------------


def make(data, size=(96, 96), method="scale", *, animated=False):
    return imaging.make_thumbnail(data, size, method, animated=animated)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
@pytest.mark.parametrize("image_format", ["PNG", "GIF"])
def test_formats_and_modes(image_format, mode):
    made = make(picture(400, 200, image_format, mode))
    assert opened(made.data).size == (96, 48)
    assert made.content_type in ("image/png", "image/jpeg")


def grey_png(values, transparent=None):
    """Return a PNG with 16 bits of grey: a column of 200 rows for each value."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + b"".join(struct.pack(">H", value) * 100 for value in values)
    header = struct.pack(">IIBBBBB", 100 * len(values), 200, 16, 0, 0, 0, 0)
    clear = chunk(b"tRNS", struct.pack(">H", transparent)) if transparent is not None else b""
    picture = clear + chunk(b"IDAT", zlib.compress(row * 200))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + picture + chunk(b"IEND", b"")


@pytest.mark.parametrize("method", ["scale", "crop"])
def test_grey_of_16_bits_keeps_its_brightness(method):
    made = opened(make(grey_png([0, 300, 40_000, 65_535]), (64, 32), method).data)
    middles = [made.convert("L").getpixel((made.width * (2 * n + 1) // 8, 16)) for n in range(4)]
    assert middles == [0, 1, 156, 255]


def test_grey_of_16_bits_keeps_its_transparency():
    made = opened(make(grey_png([40_000, 40_001], transparent=40_000), (64, 64)).data).convert("RGBA")
    assert made.getpixel((made.width // 4, 8))[3] == 0
    assert made.getpixel((made.width * 3 // 4, 8)) == (156, 156, 156, 255)


def test_photographs_stay_jpeg():
    for mode in ("RGB", "L", "CMYK"):
        made = make(picture(4000, 3000, "JPEG", mode), (640, 480))
        assert (made.content_type, opened(made.data).size) == ("image/jpeg", (640, 480))


def test_transparency_is_kept():
    for image_format, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        output = BytesIO()
        Image.new("RGBA", (300, 300), (0, 0, 0, 0)).save(output, image_format, **options)
        made = make(output.getvalue())
        assert made.content_type == "image/png"
        assert opened(made.data).convert("RGBA").getpixel((5, 5))[3] == 0


def test_cropping_takes_the_middle_in_the_aspect_asked_for():
    made = opened(make(picture(1000, 500), (96, 96), "crop").data).convert("RGB")
    assert made.size == (96, 96)
    corners = [made.getpixel(position) for position in ((2, 2), (93, 2), (2, 93), (93, 93))]
    assert corners == [(255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)]
    assert opened(make(picture(50, 1000), (96, 96), "crop").data).size == (50, 50)


def test_a_photograph_taken_sideways_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    made = opened(make(picture(800, 400, "JPEG", exif=exif)).data)
    assert made.size == (48, 96)
    red, _, blue = made.convert("RGB").getpixel((2, 2))
    assert (red < 80, blue > 180) == (True, True), "the lower left corner is the upper left"


def test_metadata_are_left_out():
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    data = picture(800, 400, "JPEG", exif=exif, comment=b"where I live")
    assert b"where I live" in data
    assert b"where I live" not in make(data).data


# -- Animations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG"])
def test_animations_move_if_asked_to(image_format):
    data = animation(300, 200, 5, image_format)
    made = make(data, animated=True)
    moving = opened(made.data)
    assert (made.content_type, moving.size, moving.n_frames) == ("image/webp", (96, 64), 5)
    still = make(data)
    assert (still.content_type, getattr(opened(still.data), "n_frames", 1)) == (
        "image/jpeg" if image_format == "WEBP" else "image/png",
        1,
    )


def test_a_small_animation_stands_still_too():
    made = make(animation(20, 20, 3))
    assert getattr(opened(made.data), "n_frames", 1) == 1


def test_still_images_cannot_move():
    assert make(picture(300, 200), animated=True).content_type == "image/png"


def test_animations_too_long_or_too_large_stand_still(monkeypatch):
    data = animation(100, 100, 5)
    for name, value in (("MAX_FRAMES", 4), ("MAX_ANIMATED_PIXELS", 49_999)):
        with monkeypatch.context() as patch:
            patch.setattr(imaging, name, value)
            assert make(data, (32, 32), animated=True).content_type == "image/png"
    assert make(data, (32, 32), animated=True).content_type == "image/webp"


# -- Hostile input ---------------------------------------------------------------------------------------


def bomb(width, height):
    """Return a small PNG whose header says that it is huge."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(6000, 6000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_decompression_bombs_are_too_large(size):
    with pytest.raises(TooLarge):
        make(bomb(*size))


def test_a_bomb_is_refused_with_413(alice):
    answer = thumbnail(alice, upload(alice, bomb(20_000, 20_000)), "width=32&height=32")
    assert (answer.status, answer.json["errcode"]) == (413, "M_TOO_LARGE")


def test_a_thumbnail_too_large_to_send_is_refused(monkeypatch):
    monkeypatch.setattr(imaging, "MAX_BYTES", 50)
    with pytest.raises(TooLarge):
        make(picture(300, 300))


SAMPLES = [
    picture(60, 40),
    picture(60, 40, "JPEG"),
    picture(60, 40, "GIF"),
    picture(60, 40, "WEBP"),
    animation(40, 40, 3),
    animation(40, 40, 3, "WEBP"),
    animation(40, 40, 3, "PNG"),
]


@pytest.mark.filterwarnings("ignore")  # Pillow's, of what is broken
@settings(max_examples=300)
@given(
    sample=st.sampled_from(SAMPLES),
    changes=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 400),
    animated=st.booleans(),
)
def test_broken_images_are_the_clients_error(sample, changes, cut, animated):
    data = bytearray(sample[: len(sample) - cut])
    for place, value in changes:
        if data:
            data[place % len(data)] = value
    try:
        made = make(bytes(data), (32, 32), animated=animated)
    except MatrixError as error:
        assert isinstance(error, Unknown | TooLarge)  # noqa: PT017 - either an error or a picture
    else:
        assert max(opened(made.data).size) <= 32
