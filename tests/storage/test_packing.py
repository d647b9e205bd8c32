"""Long events in fewer bytes; and how many bytes a message takes."""

from __future__ import annotations

import base64
import json
import random
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murmuration.aws import packing
from murmuration.aws.attributes import from_attributes
from murmuration.aws.calls import call
from murmuration.endpoint.workers import _item
from murmuration.settings import settings
from tests.in_process import Client
from tests.rooms.people import create_room, ok, path, send

PARAGRAPH = (
    "The heron stood in the shallows until the light had gone, and nobody on the bank could say afterwards "
    "whether it had caught anything at all. "
)


def noise(size: int) -> str:
    """Return Base64 that compresses only by its alphabet, like ciphertext and keys."""
    return base64.b64encode(random.Random(size).randbytes(size)).decode().rstrip("=")


CONTENTS: dict[str, tuple[str, dict[str, Any], int]] = {
    "a short text": (
        "m.room.message",
        {"msgtype": "m.text", "body": "See you at eight", "m.mentions": {}},
        900,
    ),
    "an encrypted text": (
        "m.room.encrypted",
        {
            "algorithm": "m.megolm.v1.aes-sha2",
            "ciphertext": noise(360),
            "device_id": "JLAFKJWSCS",
            "sender_key": noise(32),
            "session_id": noise(32),
        },
        1024,
    ),
    "a long text with HTML": (
        "m.room.message",
        {
            "msgtype": "m.text",
            "body": PARAGRAPH * 4,
            "format": "org.matrix.custom.html",
            "formatted_body": f"<p>{PARAGRAPH * 4}</p>",
        },
        1024,
    ),
}


def stored(room_id: str) -> dict[str, Any]:
    """Return the newest item of a room's log, as DynamoDB has it."""
    found: list[dict[str, Any]] = call(
        "dynamodb",
        "Query",
        {
            "TableName": settings().table("room-log"),
            "KeyConditionExpression": "room_id = :room",
            "ExpressionAttributeValues": {":room": {"S": room_id}},
            "ScanIndexForward": False,
            "Limit": 1,
        },
    )["Items"]
    return found[0]


def size_of(item: dict[str, Any]) -> int:
    """Return an item's size as DynamoDB counts it, but for numbers, which it rounds."""
    sizes = {"S": lambda value: len(value.encode()), "B": lambda value: len(base64.b64decode(value))}
    return sum(
        len(name) + sizes.get(kind, lambda value: len(str(value)))(value)
        for name, attribute in item.items()
        for kind, value in attribute.items()
    )


@pytest.mark.parametrize("what", CONTENTS)
def test_a_message_of_each_kind_is_written_by_one_unit(alice: Client, what: str) -> None:
    event_type, content, most = CONTENTS[what]
    room_id = create_room(alice)
    event_id = send(alice, room_id, content, event_type)
    assert size_of(stored(room_id)) <= most
    assert ok(alice.get(path(room_id, "event", event_id)))["content"] == content


def test_packed_text_is_half(alice: Client) -> None:
    event_type, content, _ = CONTENTS["a long text with HTML"]
    room_id = create_room(alice)
    send(alice, room_id, content, event_type)
    item = stored(room_id)
    packed = base64.b64decode(item["json"]["B"])
    assert len(packed) * 2 < len(packing.unpack(packed))
    assert packing.unpack(packed) == from_attributes(item)["json"]


def test_nothing_is_packed_while_functions_of_before_read_it(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_type, content, _ = CONTENTS["a long text with HTML"]
    room_id = create_room(alice)
    send(alice, room_id, content, event_type)
    monkeypatch.setenv("MURMURATION_STORED_FORMS", "before")
    settings.cache_clear()
    try:
        event_id = send(alice, room_id, content, event_type)
        item = stored(room_id)
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert json.loads(item["json"]["S"])["content"] == content
    assert ok(alice.get(path(room_id, "event", event_id)))["content"] == content


def test_stream_records_are_read_alike(alice: Client) -> None:
    event_type, content, _ = CONTENTS["an encrypted text"]
    room_id = create_room(alice)
    send(alice, room_id, content, event_type)
    record: Any = {"eventName": "INSERT", "dynamodb": {"NewImage": stored(room_id)}}
    found = _item(record)
    assert json.loads(found["json"])["content"] == content


@given(st.text(), st.integers(0, 200))
def test_what_is_packed_is_unpacked(text: str, times: int) -> None:
    text = json.dumps([text] * times, ensure_ascii=False) if times else text
    text = text.encode("utf-8", "replace").decode()
    packed = packing.pack(text)
    assert packing.unpack(packed) == text
    assert len(packed if isinstance(packed, bytes) else text.encode()) <= len(text.encode())


def test_short_text_stays_text() -> None:
    text = "a" * (packing.SHORTEST - 1)
    assert packing.pack(text) == text
    assert isinstance(packing.pack(text + "a"), bytes)


def test_text_that_does_not_get_shorter_stays_text() -> None:
    generator = random.Random(1)
    text = "".join(chr(generator.randrange(0x4E00, 0x9FFF)) for _ in range(300))
    assert packing.unpack(packing.pack(text)) == text


@pytest.mark.parametrize("damage", [b"", b"\x02abc", b"\x01\xff\xff", zlib.compress(b"a")])
def test_what_was_never_packed(damage: bytes) -> None:
    with pytest.raises(ValueError, match="packed"):
        packing.unpack(damage)


def test_the_dictionary_is_for_good() -> None:
    """Every later release can read what an earlier release packed."""
    known = bytes.fromhex(KNOWN)
    assert packing.unpack(known) == EARLIER


EARLIER = json.dumps({"content": {"body": "a heron " * 100, "msgtype": "m.text"}, "type": "m.room.message"})
KNOWN = "01ab46785801e663052560424f05266785517a941ea53169251d054419a080280414941042a8f90c00"
