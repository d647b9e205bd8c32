"""The headers of media: nothing that runs is shown inline, no name breaks out of its header."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murmuration.media.headers import INLINE_TYPES, content_type_of, disposition, file_headers


@pytest.mark.parametrize("content_type", sorted(INLINE_TYPES))
def test_safe_types_are_shown_inline(content_type):
    assert disposition(content_type, None) == "inline"
    assert disposition(f"{content_type.upper()}; charset=utf-8", None) == "inline"


@pytest.mark.parametrize(
    "content_type", ["text/html", "image/svg+xml", "application/pdf", "application/octet-stream", "", "text"]
)
def test_other_types_are_attachments(content_type):
    assert disposition(content_type, None) == "attachment"
    assert disposition(content_type, "a.txt").startswith("attachment; ")


def test_names_are_quoted_or_encoded():
    assert disposition("text/plain", "a file (1).txt") == 'inline; filename="a file (1).txt"'
    assert disposition("text/plain", "é.txt") == "inline; filename*=utf-8''%C3%A9.txt"
    assert disposition("text/plain", 'a"; b="') == "inline; filename*=utf-8''a%22%3B%20b%3D%22"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_any_name_comes_back_and_stays_in_its_header(name):
    header = disposition("text/plain", name)
    assert header.isascii()
    assert header.isprintable()
    kind, _, value = header.partition("; ")
    assert kind == "inline"
    if value.startswith("filename*="):
        assert unquote(value.removeprefix("filename*=utf-8''"), errors="strict") == name
    else:
        assert value == f'filename="{name}"'
        assert '"' not in name
        assert "\\" not in name


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("image/png", "image/png"),
        (" text/plain; charset=utf-8 ", "text/plain; charset=utf-8"),
        (None, "application/octet-stream"),
        ("", "application/octet-stream"),
        ("nonsense", "application/octet-stream"),
        ("text/plain; a=é", "application/octet-stream"),
        ("text/plain\r\nX-Evil: 1", "application/octet-stream"),
        ("text/" + "x" * 300, "application/octet-stream"),
    ],
)
def test_what_is_no_content_type_is_not_repeated(sent, stored):
    assert content_type_of(sent) == stored


def test_media_are_sandboxed():
    headers = file_headers("image/png", None)
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'; script-src 'none'")
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"].startswith("private")
