from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murmuration.protocol.encoding import unpadded_base64

# https://spec.matrix.org/v1.19/appendices/#unpadded-base64
SPECIFICATION_EXAMPLES = {
    "": "",
    "f": "Zg",
    "fo": "Zm8",
    "foo": "Zm9v",
    "foob": "Zm9vYg",
    "fooba": "Zm9vYmE",
    "foobar": "Zm9vYmFy",
}


@pytest.mark.parametrize(("text", "encoded"), SPECIFICATION_EXAMPLES.items())
def test_the_specification_s_examples(text: str, encoded: str) -> None:
    assert unpadded_base64.encode(text.encode()) == encoded
    assert unpadded_base64.decode(encoded) == text.encode()


@given(st.binary())
def test_every_way_of_writing_is_read(data: bytes) -> None:
    padded, urlsafe = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()
    assert unpadded_base64.encode(data) == padded.rstrip("=")
    assert unpadded_base64.encode_urlsafe(data) == urlsafe.rstrip("=")
    for text in (padded, padded.rstrip("="), urlsafe, urlsafe.rstrip("=")):
        assert unpadded_base64.decode(text) == data


@pytest.mark.parametrize("text", ["A", "AAAAA", "A A=", "AAA\n", "Zm9v!", "é", "\ud800", "Zm=9v", "AA\0A"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpadded_base64.decode(text)
