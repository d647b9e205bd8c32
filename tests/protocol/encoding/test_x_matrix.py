"""The Authorization header of federation requests: written, read in each form, checked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murmuration.protocol.encoding import x_matrix
from murmuration.protocol.encoding.x_matrix import ABSENT, Credentials
from murmuration.protocol.errors import Unauthorized
from murmuration.protocol.identifiers import ServerName
from murmuration.protocol.pdus.signing import SigningKey

KEY = SigningKey(b"k" * 32, "k1")
SIGNATURE = bytes(range(64))
TEXT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw"
FULL = Credentials(ServerName("a.example:8448"), ServerName("b.example"), "ed25519:k1", SIGNATURE)


@pytest.mark.parametrize(
    "header",
    [
        f'X-Matrix origin="a.example:8448",destination="b.example",key="ed25519:k1",sig="{TEXT}"',
        f'X-Matrix   origin="a.example:8448" , \t destination="b.example",key="ed25519:k1"  ,sig="{TEXT}"',
        f'x-mAtRiX sig="{TEXT}",key="ed25519:k1",destination="b.example",origin="a.example:8448"',
        f'X-Matrix Origin="a.example:8448",DESTINATION="b.example",Key="ed25519:k1",SIG="{TEXT}"',
        f"X-Matrix origin=a.example:8448,destination=b.example,key=ed25519:k1,sig={TEXT}",
        rf'X-Matrix origin="\a.example:8448",destination="b\.example",key="ed25519\:k1",sig="{TEXT}"',
        f'X-Matrix n="a,\\"=",origin="a.example:8448",destination="b.example",key="ed25519:k1",sig="{TEXT}"',
        f'X-Matrix ,origin="a.example:8448",,destination="b.example",key="ed25519:k1",sig="{TEXT}",',
        f'X-Matrix origin = "a.example:8448",destination="b.example",key="ed25519:k1",sig="{TEXT}"',
    ],
)
def test_each_form_is_read(header: str) -> None:
    assert x_matrix.parse_authorization([header]) == [FULL]


def test_an_older_server_names_no_destination() -> None:
    header = f'X-Matrix origin=a.example,key="ed25519:k1",sig="{TEXT}"'
    assert x_matrix.parse_authorization([header]) == [
        Credentials(ServerName("a.example"), None, "ed25519:k1", SIGNATURE)
    ]


def test_several_signatures() -> None:
    """Each signature is in a header of its own, or a proxy has joined the headers."""
    one = f'X-Matrix origin="a",key="ed25519:1",sig="{TEXT}"'
    two = f'X-Matrix origin="a",key="ed25519:2",sig="{TEXT}"'
    apart = x_matrix.parse_authorization([one, two])
    assert [each.key_id for each in apart] == ["ed25519:1", "ed25519:2"]
    assert (
        x_matrix.parse_authorization([f"{one}, {two}"])
        == x_matrix.parse_authorization([f"{one},{two}"])
        == apart
    )


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [""],
        ["X-Matrix"],
        ["Bearer token"],
        ["origin=a,key=b,sig=AAAA"],
        ["X-Matrix origin=a,key=ed25519:k1"],
        ["X-Matrix origin=a,sig=AAAA"],
        ["X-Matrix key=ed25519:k1,sig=AAAA"],
        ["X-Matrix origin=,key=ed25519:k1,sig=AAAA"],
        ["X-Matrix origin=a,key=ed25519:k1,sig=*"],
        ["X-Matrix origin=a,origin=b,key=ed25519:k1,sig=AAAA"],
        ['X-Matrix origin="a,key=ed25519:k1,sig=AAAA'],
        ['X-Matrix origin="a"key=ed25519:k1,sig=AAAA'],
        ["X-Matrix origin=a key=ed25519:k1,sig=AAAA"],
        ["X-Matrix origin=a,key=ed25519:k1,sig=AAAA"] * 11,
    ],
)
def test_what_is_refused(headers: list[str]) -> None:
    with pytest.raises(Unauthorized):
        x_matrix.parse_authorization(headers)


def test_what_is_written() -> None:
    header = x_matrix.authorization(KEY, "GET", "/a", ServerName("us.example"), ServerName("them.example"))
    start, _, signature = header.partition(',sig="')
    assert start == 'X-Matrix origin="us.example",destination="them.example",key="ed25519:k1"'
    assert len(signature) == 87


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_uris = st.lists(
    st.sampled_from(["%21", "!", "%2F", "+", "/", "?", "a", "%20", "&", "=", "%c3%a4", "$"])
).map(lambda parts: "/_matrix/" + "".join(parts))


@given(st.sampled_from(["GET", "PUT", "POST"]), _uris, _json | st.just(ABSENT))
def test_what_is_written_is_read_and_right(method: str, uri: str, content: Any) -> None:
    header = x_matrix.authorization(
        KEY, method, uri, ServerName("us.example:1"), ServerName("them.example"), content
    )
    (found,) = x_matrix.parse_authorization([header])
    message = x_matrix.signed_bytes(method, uri, found.origin, ServerName("them.example"), content)
    assert x_matrix.is_signed(KEY.public_key, found.signature, [message])
    other = x_matrix.signed_bytes(method, uri + "x", found.origin, ServerName("them.example"), content)
    assert not x_matrix.is_signed(KEY.public_key, found.signature, [other])


@given(st.text(max_size=80))
def test_any_header_is_read_or_refused(text: str) -> None:
    try:
        x_matrix.parse_authorization([f"X-Matrix {text}"])
    except Unauthorized:
        return
