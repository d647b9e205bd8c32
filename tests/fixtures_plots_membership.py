"""The sequence of actions in worlds where another server's users join, leave, knock and invite."""

from __future__ import annotations

import json
from typing import Any

from murmuration.protocol.identifiers import RoomId, ServerName, UserId
from replay.backdrop import forget
from tests.fixtures_plots_federation import DORA, OTHER
from tests.fixtures_scene import Scene
from tests.fixtures_worlds import plot

ERIN = f"@erin:{OTHER}"


def complete(scene: Scene, template: dict[str, Any], name: str) -> None:
    """Let other.example complete and sign a template. `name` is that of the PDU, `<name>_id` of its ID."""
    from murmuration.protocol.pdus.building import complete_event
    from murmuration.protocol.room_versions import ROOM_VERSIONS
    from tests.rooms.other_servers import key_of

    version = ROOM_VERSIONS[template["room_version"]]
    event = complete_event(template["event"], ServerName(OTHER), key_of(OTHER), version)
    scene.names[name] = json.dumps(event.pdu, separators=(",", ":"))
    scene.names[f"{name}_id"] = event.event_id


@plot(
    "Erin and Dora, of another server, have made events to join and to leave the lounge, not yet sent.",
    "dora_in_the_lounge",
)
def erin_at_the_door(scene: Scene) -> None:
    from murmuration.federation.membership.serving import templates

    forget()  # other worlds have other lounges
    lounge = scene.names["lounge"]
    scene.names["erin"] = ERIN
    complete(scene, scene.act(templates.make_join, OTHER, lounge, ERIN, ["12"]), "erin_join")
    complete(scene, scene.act(templates.make_leave, OTHER, lounge, DORA), "dora_leave")


@plot("Alice's club takes knocks, and Erin has made one, not yet sent.", "alice", "another_server")
def erin_before_the_club(scene: Scene) -> None:
    from murmuration.federation.membership.serving import templates

    rules = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    club = scene.create_room("alice", "club", preset="private_chat", name="The club", initial_state=[rules])
    scene.names["erin"] = ERIN
    complete(scene, scene.act(templates.make_knock, OTHER, club, ERIN, ["12"]), "erin_knock")


def invite(scene: Scene, version_id: str, room_id: str, name: str) -> None:
    """Let Dora invite Alice to a room of her server."""
    event = {
        "type": "m.room.member",
        "sender": DORA,
        "state_key": scene.user_id("alice"),
        "room_id": room_id,
        "content": {"membership": "invite"},
        "prev_events": [],
        "auth_events": [],
        "depth": 5,
        "origin": OTHER,
        "origin_server_ts": scene.clock,
        **({"event_id": f"$invite:{OTHER}"} if version_id == "1" else {}),
    }
    complete(scene, {"room_version": version_id, "event": event}, name)
    scene.names[f"{name}_room"] = room_id


@plot(
    "Dora has invited Alice to rooms of her server, and the invites are not yet sent.",
    "alice",
    "another_server",
)
def dora_invites_alice(scene: Scene) -> None:
    scene.names["dora"] = DORA
    invite(scene, "11", f"!den:{OTHER}", "den_invite")
    invite(scene, "1", f"!attic:{OTHER}", "attic_invite")


@plot("Alice is invited to the den, a room of another server.", "dora_invites_alice")
def alice_invited_to_the_den(scene: Scene) -> None:
    from murmuration.federation.membership.serving import invites

    event = json.loads(scene.names["den_invite"])
    name = {"type": "m.room.name", "state_key": "", "sender": DORA, "content": {"name": "The den"}}
    body = {"room_version": "11", "event": event, "invite_room_state": [name]}
    scene.act(invites.invite, OTHER, scene.names["den_invite_room"], scene.names["den_invite_id"], body)


@plot(
    "Alice has invited an address to the salon, and an identity server says that it is Bob's.",
    "alice",
    "bob",
    "another_server",
)
def an_address_in_the_salon(scene: Scene) -> None:
    from murmuration.protocol.pdus.signing import SigningKey, sign_json

    key = SigningKey(b"i" * 32, "0")
    content = {
        "display_name": "b…@example.com",
        "key_validity_url": "https://id.example/valid",
        "public_key": key.public_base64,
        "public_keys": [{"public_key": key.public_base64}],
    }
    salon = scene.create_room("alice", "salon", preset="private_chat", name="The salon")
    scene.set_state("alice", salon, "m.room.third_party_invite", content, "token")
    signed = {"mxid": scene.user_id("bob"), "token": "token", "sender": scene.user_id("alice")}
    scene.names["salon_signed"] = json.dumps(
        sign_json(signed, ServerName("id.example"), key), separators=(",", ":")
    )


@plot("Alice waits to join a room of a server that the operator denies.", "alice")
def alice_waits_to_join(scene: Scene) -> None:
    from murmuration.storage.servers import join_jobs

    job = join_jobs.Job(
        UserId(scene.user_id("alice")), RoomId(f"!den:{OTHER}"), [ServerName(OTHER)], {"membership": "join"}
    )
    scene.names["den"] = job.room_id
    scene.act(join_jobs.begin, job, scene.clock)
