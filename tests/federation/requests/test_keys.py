"""Other servers' keys are fetched in bulk and kept for ever, and false answers don't replace good ones."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from murmuration.federation.keys import fetching
from murmuration.federation.keys.fetching import verify_keys
from murmuration.protocol.identifiers import RoomId, ServerName
from murmuration.protocol.pdus.keys import VerifyKey, build_server_keys
from murmuration.protocol.pdus.signing import SigningKey, sign_json
from murmuration.protocol.room_versions import ROOM_VERSIONS
from murmuration.settings import settings
from tests.conftest import SERVER_NAME
from tests.federation.conftest import Clock
from tests.federation.network import Network, Reply
from tests.federation.remote import HOUR_MS, Remote, notary_of

NOTARY = ServerName("notary.example")
FORMER = SigningKey(b"f" * 32, "former")


def now() -> int:
    return int(time.time() * 1000)


@pytest.fixture
def remote(network: Network, fresh_name: ServerName) -> Remote:
    """Return a server with a current key `r1` and a former one."""
    made = Remote(fresh_name, old=[VerifyKey(FORMER.key_id, FORMER.public_key, expired_ts=1000)])
    made.serve(network)
    return made


def serve_notary(network: Network, monkeypatch: pytest.MonkeyPatch, documents: list[Any]) -> Any:
    """Answer with these documents as the only trusted notary. `asked` gets its requests' bodies."""
    answer = notary_of(documents)
    network.at(NOTARY, 8448, network.serve(answer, NOTARY))
    monkeypatch.setenv("MURMURATION_KEY_NOTARIES", NOTARY)
    settings.cache_clear()
    return answer


def test_current_and_former_keys(remote: Remote) -> None:
    current, former = (remote.name, "ed25519:r1"), (remote.name, FORMER.key_id)
    found = verify_keys({current: now(), former: 0})
    assert found[current].may_sign_request(now())
    assert not found[former].may_sign_request(now())
    assert found[former].may_sign_event(999, ROOM_VERSIONS[RoomId("10")])
    assert not found[former].may_sign_event(1001, ROOM_VERSIONS[RoomId("10")])
    assert remote.server is not None
    assert len(remote.server.received) == 1, "both were in one document"
    fetching.forget()
    assert verify_keys({current: now(), former: 0}) == found, "from the table"
    assert len(remote.server.received) == 1


def test_own_keys_are_not_asked_for(network: Network) -> None:
    found = verify_keys(
        {(ServerName(SERVER_NAME), "ed25519:test"): now(), (ServerName(SERVER_NAME), "ed25519:other"): now()}
    )
    assert list(found) == [(SERVER_NAME, "ed25519:test")]


def test_what_can_be_no_key_is_left_out(network: Network) -> None:
    assert (
        verify_keys(
            {
                (ServerName("a b"), "ed25519:1"): 0,
                (ServerName("a.example"), "rsa:1"): 0,
                (ServerName("a.example"), "ed25519:ü"): 0,
            }
        )
        == {}
    )


def test_validity_is_capped_at_a_week_after_receipt(remote: Remote) -> None:
    remote.valid_ms = 10**12
    (key,) = verify_keys({(remote.name, "ed25519:r1"): now()}).values()
    assert now() < (key.valid_until_ts or 0) <= now() + 7 * 24 * HOUR_MS


def test_an_old_key_is_never_forgotten(remote: Remote, moving_clock: Clock) -> None:
    """The server stops listing its former key, and replaces the current one."""
    wanted = {(remote.name, FORMER.key_id): 0, (remote.name, "ed25519:r1"): 0}
    before = verify_keys(wanted)
    remote.key, remote.old = SigningKey(b"n" * 32, "r2"), []
    moving_clock.advance(24 * 3600)
    fetching.forget()
    assert (remote.name, "ed25519:r2") in verify_keys({(remote.name, "ed25519:r2"): now()})
    fetching.forget()
    assert verify_keys(wanted) == before


def wrong_documents(remote: Remote) -> dict[str, Any]:
    """Return documents that a key server may send although the server didn't sign them."""
    good = remote.document()
    other = SigningKey(b"e" * 32, "r1")
    unsigned = {name: value for name, value in good.items() if name != "signatures"}
    longer = {**copy.deepcopy(good), "valid_until_ts": 2**50}
    of_another = build_server_keys(ServerName("else.example"), [remote.key], now() + HOUR_MS)
    return {
        "unsigned": unsigned,
        "changed": longer,
        "signed by another server": sign_json(unsigned, ServerName("else.example"), remote.key),
        "signed by a key not in it": sign_json(
            unsigned, ServerName(remote.name), SigningKey(b"z" * 32, "z1")
        ),
        "signed by another key of the same ID": sign_json(unsigned, ServerName(remote.name), other),
        "of another server": of_another,
        "of another server, claimed": {**of_another, "server_name": remote.name},
        "no keys": sign_json({**unsigned, "verify_keys": {}}, ServerName(remote.name), remote.key),
        "a short key": sign_json(
            {**unsigned, "verify_keys": {"ed25519:r1": {"key": "AAAA"}}}, ServerName(remote.name), remote.key
        ),
        "a time that is none": sign_json(
            {**unsigned, "valid_until_ts": "soon"}, ServerName(remote.name), remote.key
        ),
        "lists": {"server_name": remote.name, "verify_keys": [], "old_verify_keys": [], "valid_until_ts": 1},
    }


CASES = [
    "unsigned", "changed", "signed by another server", "signed by a key not in it",
    "signed by another key of the same ID", "of another server", "of another server, claimed", "no keys",
    "a short key", "a time that is none", "lists",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_lying_key_server(network: Network, remote: Remote, case: str) -> None:
    document = wrong_documents(remote)[case]
    assert remote.server is not None
    remote.server.handler = lambda _: Reply(document)
    assert verify_keys({(remote.name, "ed25519:r1"): now()}) == {}


@pytest.mark.parametrize("case", CASES)
def test_a_lying_notary(
    network: Network, fresh_name: ServerName, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """The notary's signature doesn't prove that a document is the server's."""
    gone = Remote(fresh_name)
    document = sign_json(wrong_documents(gone)[case], NOTARY, SigningKey(b"n" * 32, "n1"))
    serve_notary(network, monkeypatch, [document])
    assert verify_keys({(gone.name, "ed25519:r1"): now()}) == {}


@pytest.mark.parametrize(
    "answer", [b"[]", b"{}", b'{"server_keys":{}}', b'{"server_keys":[1,[],{}]}', b"<html>", b""]
)
def test_a_notary_that_talks_nonsense(
    network: Network, fresh_name: str, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    serve_notary(network, monkeypatch, [])
    network.at(NOTARY, 8448, network.serve(lambda _: Reply(answer), NOTARY))
    assert verify_keys({(ServerName(fresh_name), "ed25519:r1"): now()}) == {}


def test_a_notary_knows_servers_that_are_gone(
    network: Network, fresh_name: ServerName, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Remote(fresh_name, valid_ms=-HOUR_MS)
    notary = serve_notary(network, monkeypatch, [gone.document()])
    (key,) = verify_keys({(gone.name, "ed25519:r1"): 5000}).values()
    assert key.may_sign_event(5000, ROOM_VERSIONS[RoomId("10")])
    assert not key.may_sign_request(now())
    assert notary.asked == [{"server_keys": {gone.name: {"ed25519:r1": {"minimum_valid_until_ts": 5000}}}}]


def test_a_notary_gives_no_keys_that_were_not_asked_for(
    network: Network, remote: Remote, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a notary can't insert a key of a server that is reachable."""
    forged = build_server_keys(ServerName(remote.name), [SigningKey(b"e" * 32, "evil")], now() + HOUR_MS)
    serve_notary(network, monkeypatch, [forged])
    verify_keys({(ServerName(f"gone-{fresh_name}"), "ed25519:1"): now()})
    evil = (remote.name, "ed25519:evil")
    assert evil not in fetching.known_keys({evil: 0})


def test_a_notary_does_not_replace_what_the_server_said(
    network: Network, remote: Remote, monkeypatch: pytest.MonkeyPatch, moving_clock: Clock
) -> None:
    """A notary can neither give another key for the same ID, nor make a key a former one."""
    wanted = {(remote.name, "ed25519:r1"): now()}
    (good,) = verify_keys(wanted).values()
    evil = SigningKey(b"e" * 32, "r1")
    forged = build_server_keys(ServerName(remote.name), [evil], now() + 99 * HOUR_MS)
    x = SigningKey(b"x" * 32, "x")
    retired = build_server_keys(
        ServerName(remote.name),
        [x],
        now() + HOUR_MS,
        [VerifyKey("ed25519:r1", good.public_key, expired_ts=1)],
    )
    serve_notary(network, monkeypatch, [forged, retired])
    assert remote.server is not None
    remote.server.handler = lambda _: Reply({}, 502)
    moving_clock.advance(30 * 3600)
    later = {(remote.name, "ed25519:r1"): now() + 30 * HOUR_MS}
    assert verify_keys(later) == {(remote.name, "ed25519:r1"): good}
    fetching.forget()
    assert verify_keys(wanted) == {(remote.name, "ed25519:r1"): good}, "the table has it still"


def test_a_shorter_validity_replaces_no_longer_one(remote: Remote, moving_clock: Clock) -> None:
    wanted = {(remote.name, "ed25519:r1"): now()}
    (good,) = verify_keys(wanted).values()
    remote.valid_ms = HOUR_MS
    fetching.fetch_from_origin(ServerName(remote.name))
    fetching.forget()
    assert verify_keys(wanted) == {(remote.name, "ed25519:r1"): good}


def test_the_server_replaces_what_a_notary_said(
    network: Network, fresh_name: ServerName, monkeypatch: pytest.MonkeyPatch, moving_clock: Clock
) -> None:
    remote = Remote(fresh_name)
    forged = build_server_keys(fresh_name, [SigningKey(b"e" * 32, "r1")], now() + HOUR_MS)
    serve_notary(network, monkeypatch, [forged])
    wanted = {(ServerName(fresh_name), "ed25519:r1"): now()}
    assert verify_keys(wanted)[fresh_name, "ed25519:r1"].public_key != remote.key.public_key
    remote.serve(network)
    moving_clock.advance(7200)
    assert verify_keys({(ServerName(fresh_name), "ed25519:r1"): now() + 7_200_000})[
        fresh_name, "ed25519:r1"
    ].public_key == (remote.key.public_key)


def test_keys_of_eight_hundred_servers_take_two_requests_to_notaries(
    network: Network, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers that the notaries don't know are asked directly."""
    remotes = [Remote(ServerName(f"s{number}.{fresh_name}")) for number in range(800)]
    notary = serve_notary(network, monkeypatch, [remote.document() for remote in remotes[5:]])
    for remote in remotes[:5]:
        remote.serve(network)
    wanted = {(remote.name, "ed25519:r1"): now() for remote in remotes}
    assert verify_keys(wanted).keys() == wanted.keys()
    assert len(notary.asked) <= 2
    fetching.forget()
    assert verify_keys(wanted).keys() == wanted.keys()
    assert len(notary.asked) <= 2


def test_a_server_that_fails_is_left_alone(
    network: Network, fresh_name: ServerName, moving_clock: Clock
) -> None:
    remote = Remote(fresh_name)
    server = remote.serve(network)
    server.handler = lambda _: Reply({}, 503)
    wanted = {(ServerName(fresh_name), "ed25519:r1"): now()}
    for _ in range(3):
        assert verify_keys(wanted) == {}
        fetching.forget()
    first = len(server.received)
    assert first <= fetching.ORIGIN_TRIES
    moving_clock.advance(5 * 60 + 1)
    assert verify_keys(wanted) == {}
    assert len(server.received) > first
    server.handler = remote.answer
    moving_clock.advance(24 * 3600)
    assert verify_keys(wanted).keys() == wanted.keys()


# -- Keys that this server gives out ------------------------------------------------------------------------


def query(target: str, body: Any = None) -> Any:
    from tests.in_process import Client

    client = Client()
    answer = client.get(target) if body is None else client.post(target, body)
    assert answer.status == 200, answer.body
    return answer.json["server_keys"]


def test_as_a_notary(network: Network, remote: Remote) -> None:
    """The answer is the server's document with its signature and ours."""
    (document,) = query(f"/_matrix/key/v2/query/{remote.name}")
    assert set(document["signatures"]) == {remote.name, SERVER_NAME}
    assert {name: document[name] for name in document if name != "signatures"} == {
        name: value for name, value in remote.document().items() if name != "signatures"
    } | {"valid_until_ts": document["valid_until_ts"]}
    criteria: dict[str, Any] = {
        remote.name: {},
        "gone.example": {"ed25519:1": {}},
        SERVER_NAME: {},
        "not a name": {},
    }
    found = query("/_matrix/key/v2/query", {"server_keys": criteria})
    assert [each["server_name"] for each in found] == [SERVER_NAME, remote.name]
    assert query("/_matrix/key/v2/query", {"server_keys": {}}) == []
    assert remote.server is not None
    assert len(remote.server.received) == 1


def test_as_a_notary_of_a_server_that_is_gone(network: Network, remote: Remote, moving_clock: Clock) -> None:
    """The last known keys are returned, even if expired; former keys with the document that had them."""
    query(f"/_matrix/key/v2/query/{remote.name}")
    remote.key = SigningKey(b"n" * 32, "r2")
    moving_clock.advance(30 * 3600)
    latest, older = query(
        f"/_matrix/key/v2/query/{remote.name}?minimum_valid_until_ts={now() + 29 * HOUR_MS}"
    )
    assert (list(latest["verify_keys"]), list(older["verify_keys"])) == (["ed25519:r2"], ["ed25519:r1"])
    assert remote.server is not None
    remote.server.handler = lambda _: Reply({}, 502)
    moving_clock.advance(60 * 3600)
    assert len(query(f"/_matrix/key/v2/query/{remote.name}")) == 2


@pytest.mark.parametrize("name", ["127.0.0.1:22", "10.0.0.1", "[::1]", "169.254.169.254:80"])
def test_the_notary_is_no_port_scanner(network: Network, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    import socket

    monkeypatch.setenv("MURMURATION_FEDERATION_LOOPBACK", "off")
    settings.cache_clear()
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("connects"))
    network.hosts |= {(host, port): (host, port) for host, port in (
        ("127.0.0.1", 22), ("10.0.0.1", 8448), ("::1", 8448), ("169.254.169.254", 80))}  # fmt: skip
    assert query(f"/_matrix/key/v2/query/{name}") == []


def test_the_notary_is_limited_by_address(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    from murmuration.federation.keys import notary
    from murmuration.protocol.errors import LimitExceeded

    monkeypatch.setenv("MURMURATION_RATE_LIMITS", "on")
    settings.cache_clear()

    def flood() -> None:
        for _ in range(100):
            notary.query_keys({SERVER_NAME: {}}, "198.51.100.77")

    with pytest.raises(LimitExceeded):
        flood()
    assert notary.query_keys({SERVER_NAME: {}}, "198.51.100.78")["server_keys"]


def test_rotation(network: Network, monkeypatch: pytest.MonkeyPatch, moving_clock: Clock) -> None:
    """The former key stays valid for a day, since warm functions still sign with it. Then it is for old
    events only.
    """
    from murmuration import server_keys
    from murmuration.federation.keys.published import get_server_keys

    line = "ed25519 new " + "B" * 43
    text = server_keys.rotated("ed25519 test " + "A" * 43, line, now())
    monkeypatch.setattr(server_keys, "_read", lambda: text)
    moving_clock.advance(server_keys.FRESH_MS // 1000 + 1)
    document = get_server_keys()
    assert (
        set(document["verify_keys"])
        == set(document["signatures"][SERVER_NAME])
        == {"ed25519:new", "ed25519:test"}
    )
    assert document["valid_until_ts"] >= moving_clock.now_ms() + 24 * HOUR_MS
    moving_clock.advance(86_400 + 1)
    document = get_server_keys()
    assert set(document["verify_keys"]) == {"ed25519:new"}
    assert set(document["old_verify_keys"]) == {"ed25519:test"}
    server_keys.signing_key.cache_clear()
