"""Spaces whose rooms are on several servers, and summaries of rooms that this server isn't in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from murmuration.clock import now_ms
from murmuration.federation.finding import spaces
from murmuration.protocol.identifiers import RoomId, UserId
from murmuration.spaces import hierarchy, summaries
from murmuration.storage.servers import space_answers
from tests.budgets.meter import Meter
from tests.federation.finding.conftest import Elsewhere
from tests.federation.finding.test_serving_hierarchy import restricted, space
from tests.federation.network import Network, Reply
from tests.in_process import Answer, Client, segment
from tests.local_cloud.waiting import PATIENCE_S
from tests.rooms.other_servers import Mirror
from tests.rooms.people import V1, create_room, join, leave, ok, path, refused, set_state

MakeElsewhere = Callable[[str], Elsewhere]


def child(client: Client, parent: str, room_id: str, *via: str, **content: Any) -> None:
    set_state(client, parent, "m.space.child", {"via": list(via), **content}, room_id)


def page(client: Client, room_id: str, **query: Any) -> Any:
    return ok(client.get(path(room_id, "hierarchy", version=V1), **query))


def names(found: Any) -> list[str]:
    return [room.get("name", "") for room in found["rooms"]]


def summary(client: Client, room: str, **query: Any) -> Answer:
    return client.get(f"{V1}/room_summary/{segment(room)}", **query)


def test_a_tree_over_three_servers(alice: Client, make_elsewhere: MakeElsewhere) -> None:
    """The walk is depth first and in order, has each room once, whichever server has it, and ends in
    loops.
    """
    far, farther = make_elsewhere("far"), make_elsewhere("farther")
    root = space(alice, "root")
    here = create_room(alice, name="here", preset="public_chat")
    deepest = farther.room("deepest")
    deeper = farther.space("deeper", [farther.child(deepest), farther.child(root, "example.org", number=1)])
    leaf = far.room("leaf")
    children = [
        far.child(leaf, number=2),
        far.child(deeper, farther.name, number=1),
        far.child(here, "example.org", number=3),
        far.child(far.id("far"), number=4),
        far.child(far.id("hidden"), number=5),
    ]
    other = far.space("far", children, [far.summary("leaf"), {**far.summary("fake"), "room_id": here}])
    far.spaces[other]["inaccessible_children"] = [far.id("hidden")]
    child(alice, root, other, far.name, order="1")
    child(alice, root, here, "example.org", order="2")
    found = page(alice, root)
    assert names(found) == ["root", "far", "deeper", "deepest", "leaf", "here"]
    assert "next_batch" not in found
    assert found["rooms"][1]["room_type"] == "m.space"
    assert [it["state_key"] for it in found["rooms"][1]["children_state"]] == [
        deeper, leaf, here, other, far.id("hidden"),
    ]  # fmt: skip
    assert (far.asked, farther.asked) == ([other], [deeper, deepest])
    assert names(page(alice, root, max_depth=1)) == ["root", "far", "here"]
    assert names(page(alice, root, max_depth=2)) == ["root", "far", "deeper", "leaf", "here"]
    assert (far.asked, farther.asked) == ([other], [deeper, deepest]), "answers are kept"


def test_what_is_suggested(alice: Client, elsewhere: Elsewhere) -> None:
    leaf, other = elsewhere.room("leaf"), elsewhere.room("other")
    children = [elsewhere.child(leaf, suggested=True), elsewhere.child(other)]
    far = elsewhere.space("far", children, [elsewhere.summary("leaf"), elsewhere.summary("other")])
    root = space(alice, "root")
    child(alice, root, far, elsewhere.name, suggested=True)
    assert names(page(alice, root)) == ["root", "far", "leaf", "other"]
    found = page(alice, root, suggested_only="true")
    assert names(found) == ["root", "far", "leaf"]
    assert [it["state_key"] for it in found["rooms"][1]["children_state"]] == [leaf]


def test_pages_go_on_over_servers(alice: Client, elsewhere: Elsewhere) -> None:
    rooms = [elsewhere.room(f"r{number}") for number in range(5)]
    inner = elsewhere.space("inner", [elsewhere.child(it, number=n) for n, it in enumerate(rooms[:3])])
    far = elsewhere.space(
        "far",
        [elsewhere.child(it, number=n) for n, it in enumerate([inner, *rooms[3:]])],
        [elsewhere.summary("r3"), elsewhere.summary("inner", room_type="m.space")],
    )
    root = space(alice, "root")
    child(alice, root, far, elsewhere.name)
    found: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    for _ in range(10):
        answer = page(alice, root, **query)
        found += names(answer)
        if "next_batch" not in answer:
            break
        query["from"] = answer["next_batch"]
    assert found == ["root", "far", "inner", "r0", "r1", "r2", "r3", "r4"]
    assert len(elsewhere.asked) == len(set(elsewhere.asked))
    assert rooms[3] not in elsewhere.asked, "the space above told of it"


def test_pages_are_cut_by_bytes(alice: Client, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = [elsewhere.room(f"r{number}", topic="t" * 1_500) for number in range(3)]
    root = space(alice, "root")
    for room_id in rooms:
        child(alice, root, room_id, elsewhere.name)
    monkeypatch.setattr(hierarchy, "LIST_BYTES", 4_000)
    first = page(alice, root)
    assert 1 < len(first["rooms"]) < 4
    rest = page(alice, root, **{"from": first["next_batch"]})
    assert names(first) + names(rest) == ["root", "r0", "r1", "r2"]


def test_a_space_of_another_server(alice: Client, elsewhere: Elsewhere, fresh_name: str) -> None:
    """The server in the space's ID is asked for the root. If no server knows the space, it is not found."""
    far = elsewhere.space("far", [elsewhere.child(elsewhere.room("leaf"))])
    assert names(page(alice, far)) == ["far", "leaf"]
    unknown = (elsewhere.id("unknown"), f"!r:nowhere.{fresh_name}", "!" + "h" * 43)
    for room_id in (*unknown, elsewhere.space("secret", [], join_rule="invite")):
        refused(alice.get(path(room_id, "hierarchy", version=V1)), 403, "M_FORBIDDEN")


def test_a_space_whose_id_names_no_server(alice: Client, elsewhere: Elsewhere) -> None:
    """The client names the servers that know the space, also after a first request failed."""
    room_id = "!" + "s" * 43
    told = {**elsewhere.summary("far", room_type="m.space"), "room_id": room_id, "children_state": []}
    elsewhere.spaces[room_id] = {"room": told, "children": [], "inaccessible_children": []}
    refused(alice.get(path(room_id, "hierarchy", version=V1)), 403, "M_FORBIDDEN")
    assert names(page(alice, room_id, via=elsewhere.name)) == ["far"]


def test_who_may_know_of_a_room_elsewhere(alice: Client, bob: Client, elsewhere: Elsewhere) -> None:
    club = create_room(alice, name="club", preset="public_chat")
    shown: dict[str, dict[str, Any]] = {
        "knock": {"join_rule": "knock"},
        "readable": {"join_rule": "invite", "world_readable": True},
        "members": {"join_rule": "restricted", "allowed_room_ids": [club, "!other:x.example"]},
        "private": {"join_rule": "invite"},
        "silent": {"join_rule": None},
        "too old to knock": {"join_rule": "knock", "room_version": "6"},
    }
    children = [
        elsewhere.child(elsewhere.room(name, **more), number=n)
        for n, (name, more) in enumerate(shown.items())
    ]
    told = [elsewhere.summary(name, **more) for name, more in shown.items()]
    far = elsewhere.space("far", children, told)
    assert names(page(alice, far)) == ["far", "knock", "readable", "members", "silent"]
    assert names(page(bob, far)) == ["far", "knock", "readable", "silent"], (
        "what is kept is for all, what is shown isn't"
    )
    join(bob, club)
    assert names(page(bob, far)) == ["far", "knock", "readable", "members", "silent"]


def test_our_own_word_comes_before_others(alice: Client, bob: Client, elsewhere: Elsewhere) -> None:
    """If this server is in a room, it asks no other server, and ignores what other servers say of the
    room.
    """
    private = create_room(alice, name="private", preset="private_chat")
    public = create_room(alice, name="true", preset="public_chat")
    lies = [{**elsewhere.summary("lie"), "room_id": room_id} for room_id in (private, public)]
    children = [elsewhere.child(room_id, elsewhere.name) for room_id in (private, public)]
    far = elsewhere.space("far", children, lies)
    elsewhere.spaces[far]["inaccessible_children"] = [public]
    assert sorted(names(page(alice, far))) == ["far", "private", "true"]
    assert names(page(bob, far)) == ["far", "true"]
    assert elsewhere.asked == [far]


def test_a_room_that_we_have_left_is_asked_of_others(
    alice: Client, bob: Client, elsewhere: Elsewhere
) -> None:
    room_id = RoomId(create_room(alice, name="old", preset="public_chat"))
    mirror = Mirror(room_id)
    rory = UserId(f"@rory:{elsewhere.name}")
    mirror.send(mirror.member(rory, rory, "join"))
    root = space(alice, "root")
    child(alice, root, room_id, elsewhere.name)
    assert names(page(bob, root)) == ["root", "old"]
    leave(alice, room_id)
    told = {**elsewhere.summary("new"), "room_id": room_id, "children_state": []}
    elsewhere.spaces[room_id] = {"room": told, "children": [], "inaccessible_children": []}
    assert names(page(bob, root)) == ["root", "new"]


def test_servers_that_fail(
    alice: Client, make_elsewhere: MakeElsewhere, network: Network, fresh_name: str
) -> None:
    """The next server is asked. A room that no server knows is left out, and is asked for again after a
    minute.
    """
    far = make_elsewhere("far")
    leaf, lost = far.room("leaf"), far.id("lost")
    root = space(alice, "root")
    child(alice, root, leaf, f"dead.{fresh_name}", "not a server", far.name)
    child(alice, root, lost, far.name)
    child(alice, root, create_room(alice, name="here", preset="public_chat"), "example.org")
    far.spaces[lost] = Reply({"errcode": "M_UNKNOWN"}, 500)
    assert names(page(alice, root)) == ["root", "leaf", "here"]
    assert far.asked.count(lost) == 1
    far.room("lost")
    assert names(page(alice, root)) == ["root", "leaf", "here"]
    assert far.asked.count(lost) == 1


@pytest.mark.parametrize(
    "told",
    [
        {},
        [],
        {"room": {"room_id": "!other:x.example"}, "children": []},
        {"room": 1},
        Reply(b"{"),
    ],
)
def test_answers_that_make_no_sense(alice: Client, elsewhere: Elsewhere, told: Any) -> None:
    root = space(alice, "root")
    child(alice, root, elsewhere.id("odd"), elsewhere.name)
    elsewhere.spaces[elsewhere.id("odd")] = told
    assert names(page(alice, root)) == ["root"]


def test_children_that_make_no_sense(alice: Client, elsewhere: Elsewhere) -> None:
    leaf = elsewhere.room("leaf")
    good = elsewhere.child(leaf, order="a", custom={"a": {"b": 1}})
    wrong: list[Any] = [
        1, {**good, "state_key": "x"}, {**good, "state_key": "!\ud800:x.example"}, {**good, "sender": 1},
        {**good, "type": "m.room.name"}, {**good, "content": {"via": []}}, {**good, "content": 1},
        {**good, "origin_server_ts": 2**60}, {**good, "origin_server_ts": True},
        {key: value for key, value in good.items() if key != "origin_server_ts"},
    ]  # fmt: skip
    far = elsewhere.space("far", [*wrong, good])
    elsewhere.spaces[far]["inaccessible_children"] = 7
    found = page(alice, far)
    assert found["rooms"][0]["children_state"] == [
        {**good, "content": {"via": [elsewhere.name], "order": "a"}}
    ]
    assert names(found) == ["far", "leaf"]


def test_ten_are_asked_at_once(alice: Client, elsewhere: Elsewhere) -> None:
    """Each server waits until nine others have been asked. Asked one after the other, they would never
    answer.
    """
    rooms = [elsewhere.room(f"r{number}") for number in range(10)]
    gate = threading.Barrier(10, timeout=PATIENCE_S)
    answers = dict(elsewhere.spaces)

    class _Waiting(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            if key in rooms:
                gate.wait()
            return answers.get(key, default)

    elsewhere.spaces = _Waiting()
    root = space(alice, "root")
    for number, room_id in enumerate(rooms):
        child(alice, root, room_id, elsewhere.name, order=str(number))
    assert names(page(alice, root)) == ["root", *(f"r{number}" for number in range(10))]


def test_a_page_ends_with_its_time(
    alice: Client, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rooms for which there was no time come with the next page. None is taken for missing."""
    root = space(alice, "root")
    child(alice, root, elsewhere.room("far"), elsewhere.name)
    with monkeypatch.context() as patch:
        patch.setattr(hierarchy, "SECONDS", 0.0)
        first = page(alice, root)
    assert (names(first), elsewhere.asked) == (["root"], [])
    assert names(page(alice, root, **{"from": first["next_batch"]})) == ["far"]


def test_without_federation_others_have_no_rooms(alice: Client, elsewhere: Elsewhere, configure: Any) -> None:
    root = space(alice, "root")
    child(alice, root, elsewhere.room("far"), elsewhere.name)
    configure(FEDERATION="off")
    assert names(page(alice, root)) == ["root"]
    refused(summary(alice, elsewhere.id("far"), via=elsewhere.name), 404, "M_NOT_FOUND")
    assert elsewhere.asked == []


def test_a_large_answer_is_not_kept(
    alice: Client, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = elsewhere.room("far")
    monkeypatch.setattr(space_answers, "MOST_BYTES", 10)
    assert names(page(alice, far)) == names(page(alice, far)) == ["far"]
    assert elsewhere.asked == [far, far]


def test_an_answer_is_kept_for_five_minutes(
    alice: Client, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = elsewhere.room("far")
    page(alice, far)
    later = now_ms() + 1000 * spaces.LIFETIME_S
    monkeypatch.setattr(space_answers, "now_ms", lambda: later)
    page(alice, far)
    assert elsewhere.asked == [far, far]


def test_a_walk_by_an_older_release_goes_on(alice: Client) -> None:
    """Tokens of the previous release have no servers and no parent space."""
    from murmuration.storage.rooms import hierarchy_places
    from murmuration.storage.rooms.hierarchy_places import Walk

    room_id = create_room(alice, name="here", preset="public_chat")
    places: Any = [(room_id, 1)]
    name = hierarchy_places.write(
        UserId(alice.user_id), Walk("!root:example.org", 20, False, places, {room_id})
    )
    assert names(page(alice, "!root:example.org", **{"from": name})) == ["here"]


def test_a_walk_is_kept_whatever_its_size(monkeypatch: pytest.MonkeyPatch, deployment: None) -> None:
    from murmuration.storage.rooms import hierarchy_places
    from murmuration.storage.rooms.hierarchy_places import Place, Walk

    stack = [Place(RoomId(f"!r{number}:x.example"), 1, [f"s{number}.example"]) for number in range(50)]
    monkeypatch.setattr(hierarchy_places, "MOST_BYTES", 30)
    name = hierarchy_places.write(UserId("@a:b"), Walk("!root:x.example", 1, False, stack, set()))
    kept = hierarchy_places.read(UserId("@a:b"), name)
    assert kept is not None
    assert kept.stack == [place._replace(via=[]) for place in stack]


class TestSummaries:
    def test_a_summary_of_another_servers_room(self, alice: Client, elsewhere: Elsewhere) -> None:
        more = {"encryption": "m.megolm.v1.aes-sha2", "room_version": "11", "topic": "t"}
        far = elsewhere.room("far", **more)
        found = ok(summary(alice, far))
        assert found == {**elsewhere.summary("far"), **more, "membership": "leave"}
        assert ok(summary(Client(), far)) == {**elsewhere.summary("far"), **more}
        assert elsewhere.asked == [far]

    def test_by_via_and_by_alias(self, alice: Client, elsewhere: Elsewhere, fresh_name: str) -> None:
        room_id = f"!r:nowhere.{fresh_name}"
        told = {**elsewhere.summary("far"), "room_id": room_id, "children_state": []}
        elsewhere.spaces[room_id] = {"room": told, "children": [], "inaccessible_children": []}
        refused(summary(alice, room_id), 404, "M_NOT_FOUND")
        query = f"via=nowhere.example&via={elsewhere.name}"
        found = ok(alice.get(f"{V1}/room_summary/{segment(room_id)}?{query}"))
        assert found["name"] == "far"
        alias = f"#far:{elsewhere.name}"
        elsewhere.aliases[alias] = room_id
        assert ok(summary(alice, alias))["room_id"] == room_id
        refused(summary(alice, f"#other:{elsewhere.name}"), 404, "M_NOT_FOUND")
        refused(summary(alice, f"#far:gone.{fresh_name}"), 404, "M_NOT_FOUND")

    def test_older_paths_ask_too(self, alice: Client, elsewhere: Elsewhere) -> None:
        far = elsewhere.room("far")
        for where in ("im.nheko.summary/rooms/{}/summary", "im.nheko.summary/summary/{}"):
            found = ok(alice.get(f"/_matrix/client/unstable/{where.format(segment(far))}"))
            assert found["name"] == "far"

    def test_who_may_know(self, alice: Client, elsewhere: Elsewhere) -> None:
        club = create_room(alice)
        private = elsewhere.room("private", join_rule="invite")
        members = elsewhere.room("members", join_rule="restricted", allowed_room_ids=[club])
        refused(summary(alice, private), 404, "M_NOT_FOUND")
        assert ok(summary(alice, members))["allowed_room_ids"] == [club]
        refused(summary(Client(), members), 404, "M_NOT_FOUND")

    def test_our_own_rooms_are_asked_of_nobody(
        self, alice: Client, bob: Client, elsewhere: Elsewhere
    ) -> None:
        room_id = restricted(alice, "members", "!elsewhere:x.example")
        refused(summary(bob, room_id, via=elsewhere.name), 404, "M_NOT_FOUND")
        assert ok(summary(alice, room_id, via=elsewhere.name))["membership"] == "join"
        assert elsewhere.asked == []

    def test_time_that_is_over(
        self, alice: Client, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(summaries, "SECONDS", 0.0)
        refused(summary(alice, elsewhere.room("far")), 404, "M_NOT_FOUND")
        assert elsewhere.asked == []


def test_a_known_answer_costs_no_request(alice: Client, elsewhere: Elsewhere) -> None:
    """A page of ten remote rooms with known answers takes two round trips more than a page of local rooms."""
    rooms = [elsewhere.room(f"r{number}") for number in range(10)]
    far = elsewhere.space("far", [elsewhere.child(room_id, number=n) for n, room_id in enumerate(rooms)])
    assert len(page(alice, far)["rooms"]) == 11
    with Meter() as meter:
        page(alice, far)
    assert meter.spent.round_trips <= 9, str(meter.spent)
