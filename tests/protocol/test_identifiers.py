from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murmuration.protocol import identifiers
from murmuration.protocol.errors import InvalidParam
from murmuration.protocol.identifiers import RoomId, ServerName
from murmuration.protocol.room_versions import ROOM_VERSIONS

URLSAFE_HASH = "Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg"
STANDARD_HASH = "acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk"


# --- Server names. https://spec.matrix.org/v1.19/appendices/#server-name


@pytest.mark.parametrize(
    ("server_name", "host", "port"),
    [
        ("matrix.org", "matrix.org", None),
        ("matrix.org:8888", "matrix.org", 8888),
        ("1.2.3.4", "1.2.3.4", None),
        ("1.2.3.4:1234", "1.2.3.4", 1234),
        ("[1234:5678::abcd]", "[1234:5678::abcd]", None),
        ("[1234:5678::abcd]:5678", "[1234:5678::abcd]", 5678),
        ("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", None),
        ("localhost", "localhost", None),
        ("LOCALHOST:1", "LOCALHOST", 1),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", None),
        ("1.2.3.4.example", "1.2.3.4.example", None),
        ("a" * 255, "a" * 255, None),
    ],
)
def test_server_names(server_name: str, host: str, port: int | None) -> None:
    assert identifiers.is_valid_server_name(server_name)
    assert identifiers.parse_server_name(server_name) == (host, port)


@pytest.mark.parametrize(
    "server_name",
    [
        "",
        ":",
        ":80",
        "example.org:",
        "example.org:123456",
        "example.org:80:80",
        "example.org:x",
        "example.org:８０",
        "example.org\n",
        "example.org ",
        "exa mple.org",
        "example_org",
        "bücher.example",
        "256.0.0.1",
        "1.2.3.999:80",
        "[]",
        "[::",
        "::1",
        "[1:2]",
        "[::1%eth0]",
        "[::g]",
        "[1.2.3.4]",
        "[::1]x",
        "user@example.org",
        "example.org/path",
        "a" * 256,
        "\ud800",
    ],
)
def test_not_server_names(server_name: str) -> None:
    assert not identifiers.is_valid_server_name(server_name)
    with pytest.raises(InvalidParam):
        identifiers.parse_server_name(server_name)


# --- User IDs


@pytest.mark.parametrize(
    "user_id",
    [
        "@alice:example.org",
        "@a.b_c=d-e/f+9:example.org:8448",
        "@alice:[::1]:80",
        "@:example.org",
        "@Alice:example.org",
        "@ä \n\x01☃:example.org",
        "@@#$!:example.org",
        "@" + "a" * 242 + ":example.org",
    ],
)
def test_user_ids_historical_ones_included(user_id: str) -> None:
    localpart, server_name = identifiers.parse_user_id(user_id)
    assert f"@{localpart}:{server_name}" == user_id
    assert identifiers.is_valid_user_id(user_id)
    assert identifiers.server_name_of(user_id) == server_name


@pytest.mark.parametrize(
    "user_id",
    [
        "",
        "@",
        "@alice",
        "@alice:",
        "alice:example.org",
        "#alice:example.org",
        "@al\0ice:example.org",
        "@al\ud800ice:example.org",
        "@alice:bob:example.org",
        "@alice:example.org\n",
        "@" + "a" * 243 + ":example.org",
        "@" + "ä" * 122 + ":example.org",
    ],
)
def test_not_user_ids(user_id: str) -> None:
    assert not identifiers.is_valid_user_id(user_id)
    assert not identifiers.is_compliant_user_id(user_id)
    with pytest.raises(InvalidParam):
        identifiers.parse_user_id(user_id)


@pytest.mark.parametrize(
    ("localpart", "compliant", "new"),
    [
        ("alice", True, True),
        ("a.b_c=d-e/f+9", True, True),
        ("Alice", True, False),
        ("a!b", True, False),
        ("", False, False),
        ("a b", False, False),
        ("é", False, False),
        ("a\x7f", False, False),
        ("a" * 242, True, True),
        ("a" * 243, False, False),
        ("alice\n", False, False),
    ],
)
def test_which_localparts_may_be_shown_and_which_may_be_made(
    localpart: str, compliant: bool, new: bool
) -> None:
    assert identifiers.is_compliant_user_id(f"@{localpart}:example.org") is compliant
    assert identifiers.is_valid_new_localpart(localpart, "example.org") is new


@pytest.mark.parametrize("localpart", ["alice", "", "é", "a=/b"])
@pytest.mark.parametrize("server", ["example.org", "[::1]:8448"])
def test_a_user_id_is_put_together_and_taken_apart(localpart: str, server: str) -> None:
    user_id = identifiers.user_id_from(localpart, ServerName(server))
    assert (identifiers.localpart_of(user_id), identifiers.server_of(user_id)) == (localpart, server)
    assert identifiers.parse_user_id(user_id) == (localpart, server)


@pytest.mark.parametrize(
    ("value", "is_of", "is_compliant"),
    [
        ("@alice:example.org", True, True),
        ("@al ice:example.org", True, False),
        ("@:example.org", True, False),
        ("@alice:example.com", False, False),
        ("@alice:example.org:8448", False, False),
        ("alice:example.org", False, False),
        ("@alice", False, False),
        (5, False, False),
        (None, False, False),
        (["@alice:example.org"], False, False),
    ],
)
def test_whose_user_an_id_names(value: object, is_of: bool, is_compliant: bool) -> None:
    assert identifiers.is_user_of(value, ServerName("example.org")) is is_of
    assert identifiers.is_compliant_user_of(value, ServerName("example.org")) is is_compliant


# --- Rooms and aliases


@pytest.mark.parametrize(
    ("room_id", "domain", "old", "new"),
    [
        ("!abc:example.org", "example.org", True, False),
        ("!:example.org", "example.org", True, False),
        ("!ä b:example.org:80", "example.org:80", True, False),
        (f"!{URLSAFE_HASH}", None, False, True),
    ],
)
def test_room_ids_of_both_formats(room_id: str, domain: str | None, old: bool, new: bool) -> None:
    assert identifiers.parse_room_id(room_id).server_name == domain
    assert identifiers.server_name_of(room_id) == domain
    assert identifiers.is_valid_room_id(room_id)
    assert identifiers.is_valid_room_id(room_id, ROOM_VERSIONS[RoomId("11")]) is old
    assert identifiers.is_valid_room_id(room_id, ROOM_VERSIONS[RoomId("12")]) is new


@pytest.mark.parametrize(
    "room_id",
    [
        "",
        "!",
        "!abc",
        "!abc:",
        f"!{STANDARD_HASH}",
        f"!{URLSAFE_HASH}A",
        f"!{URLSAFE_HASH}\n",
        f"${URLSAFE_HASH}",
        f"!{URLSAFE_HASH[1:]}",
        "!a\0b:example.org",
        "!" + "ä" * 125 + ":a.example",
    ],
)
def test_not_room_ids(room_id: str) -> None:
    for version in (None, ROOM_VERSIONS[RoomId("1")], ROOM_VERSIONS["12"]):
        assert not identifiers.is_valid_room_id(room_id, version)
    with pytest.raises(InvalidParam):
        identifiers.parse_room_id(room_id)


def test_room_aliases() -> None:
    assert identifiers.parse_room_alias("#a room ☃:example.org:8448") == ("a room ☃", "example.org:8448")
    for alias in ("#a", "a:b", "!a:b", "#a:b:c", "#a\0:b", "#a\ud8ff:b", "#" + "é" * 127 + ":b", "#a:b c"):
        assert not identifiers.is_valid_room_alias(alias)
        with pytest.raises(InvalidParam):
            identifiers.parse_room_alias(alias)


# --- Event IDs


@pytest.mark.parametrize(
    ("event_id", "valid_in"),
    [
        ("$abc:example.org", {"1", "2"}),
        (f"${STANDARD_HASH}", {"3"}),
        (f"${URLSAFE_HASH}", {str(number) for number in range(4, 13)}),
        ("$" + "a" * 43, {str(number) for number in range(3, 13)}),
    ],
)
def test_event_ids_by_version(event_id: str, valid_in: set[str]) -> None:
    assert identifiers.is_valid_event_id(event_id)
    valid = {
        key for key, version in ROOM_VERSIONS.items() if identifiers.is_valid_event_id(event_id, version)
    }
    assert valid == valid_in


@pytest.mark.parametrize(
    "event_id",
    ["", "$", "$abc", "abc:example.org", "!abc:example.org", "$" + "a" * 42, "$" + "a" * 44, "$" + "é" * 43],
)
def test_not_event_ids(event_id: str) -> None:
    for version in (None, *ROOM_VERSIONS.values()):
        assert not identifiers.is_valid_event_id(event_id, version)


# --- Keys, devices, and the common grammars


def test_key_ids() -> None:
    assert identifiers.parse_key_id("ed25519:abc") == ("ed25519", "abc")
    assert identifiers.parse_key_id("signed_curve25519:AAAA-é") == ("signed_curve25519", "AAAA-é")
    for key_id in ("", ":", "ed25519", "ed25519:", ":abc", "ed25519:a:b", "ED:a", "ed25519:\0"):
        with pytest.raises(InvalidParam):
            identifiers.parse_key_id(key_id)


def test_server_key_ids_have_letters_digits_and_underscores() -> None:
    assert identifiers.is_valid_server_key_id("ed25519:a_Bc9")
    for key_id in ("ed25519:", "ed25519:a-b", "ed25519:a\n", "curve25519:a", "ed25519:é"):
        assert not identifiers.is_valid_server_key_id(key_id)


def test_device_ids() -> None:
    for device_id in ("ABCDEFGHIJ", "a", "my phone ☃", "/+=", "a" * 255):
        assert identifiers.is_valid_device_id(device_id)
    for device_id in ("", "a\nb", "\0", "\x7f", "\ud800", "a" * 256, "é" * 128):
        assert not identifiers.is_valid_device_id(device_id)


def test_opaque_and_namespaced_identifiers() -> None:
    for identifier in ("a", "AZaz09-._~", "a" * 255):
        assert identifiers.is_opaque_identifier(identifier)
    for identifier in ("", "a b", "a/b", "a" * 256, "a\n", "é"):
        assert not identifiers.is_opaque_identifier(identifier)
    for identifier in ("m.room", "a", "org.example.a-b_c", "a" * 255):
        assert identifiers.is_namespaced_identifier(identifier)
    for identifier in ("", "A", "9a", ".a", "a" * 256, "aB", "a\n"):
        assert not identifiers.is_namespaced_identifier(identifier)


# --- Any string

PARSERS: list[Callable[[str], Any]] = [
    identifiers.parse_server_name,
    identifiers.parse_user_id,
    identifiers.parse_room_alias,
    identifiers.parse_room_id,
    identifiers.parse_key_id,
]
CHECKS: list[tuple[Callable[[str], Any], Callable[[str], bool]]] = [
    (identifiers.parse_server_name, identifiers.is_valid_server_name),
    (identifiers.parse_user_id, identifiers.is_valid_user_id),
    (identifiers.parse_room_alias, identifiers.is_valid_room_alias),
    (identifiers.parse_room_id, identifiers.is_valid_room_id),
]
# Surrogates included, which hypothesis leaves out of text() by default.
ANY_TEXT = st.text(
    st.characters(categories=None, min_codepoint=0) | st.sampled_from("\0:.[]\ud800\udfff09af")
)
LIKELY = st.builds(
    lambda sigil, local, server: f"{sigil}{local}:{server}",
    st.sampled_from("@!#$"),
    ANY_TEXT,
    st.sampled_from(["example.org", "[::1]:8448", "1.2.3.4", "[::", "256.1.1.1"]) | ANY_TEXT,
)


@given(ANY_TEXT | LIKELY)
def test_no_string_crashes_and_checks_agree_with_parsers(text: str) -> None:
    for parse, is_valid in CHECKS:
        try:
            parse(text)
        except InvalidParam:
            assert not is_valid(text)
        else:
            assert is_valid(text)
            assert len(text.encode()) <= (261 if parse is identifiers.parse_server_name else 255)
    for check in (
        identifiers.is_compliant_user_id,
        identifiers.is_valid_server_key_id,
        identifiers.is_valid_device_id,
        identifiers.is_opaque_identifier,
        identifiers.is_namespaced_identifier,
    ):
        assert check(text) in (True, False)
    for version in ROOM_VERSIONS.values():
        assert identifiers.is_valid_event_id(text, version) <= identifiers.is_valid_event_id(text)
        assert identifiers.is_valid_room_id(text, version) <= identifiers.is_valid_room_id(text)
