"""The sequence of actions in each world."""

from __future__ import annotations

from murmuration.protocol.identifiers import RoomId, UserId
from tests.fixtures_scene import PASSWORDS, Scene
from tests.fixtures_worlds import plot

# -- People --------------------------------------------------------------------------------------------------


@plot("Alice has an account and is logged in on her phone.")
def alice(scene: Scene) -> None:
    scene.register("alice", "PHONE", "Alice")


@plot("Bob has an account and is logged in on his laptop.")
def bob(scene: Scene) -> None:
    scene.register("bob", "LAPTOP", "Bob")


@plot("Carol has an account and is logged in on her watch.")
def carol(scene: Scene) -> None:
    scene.register("carol", "WATCH", "Carol")


@plot("Alice is logged in on a tablet as well, whose client refreshes its tokens.", "alice")
def alice_with_a_tablet(scene: Scene) -> None:
    scene.log_in("alice", "TABLET", "Alice's tablet", refresh_token=True)


@plot("Alice's phone has a login token for her next client.", "alice")
def alice_with_a_login_token(scene: Scene) -> None:
    from murmuration.accounts.interactive.interactive_auth import Attempt
    from murmuration.accounts.login import generate_login_token

    proof = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"}}
    attempt = Attempt(
        "POST",
        "/_matrix/client/v1/login/get_token",
        {"auth": {**proof, "password": PASSWORDS["alice"]}},
        "198.51.100.1",
    )
    answer = scene.act(generate_login_token, scene.requester("alice"), attempt)
    scene.names["login_token"] = answer["login_token"]


@plot("A browser was sent to an identity provider, which will send it back.")
def a_browser_at_an_identity_provider(scene: Scene) -> None:
    from murmuration.storage.auth.login_states import LoginState, create

    purpose = {"for": "client", "redirect_url": "https://client.example.org/"}
    pending = LoginState("cedar", "nonce-of-the-fixtures", "verifier-of-the-fixtures", "0" * 64, purpose)
    scene.act(create, "state-of-the-fixtures", pending)


@plot("Alice's client was told where she chooses an identity provider for her login.", "alice")
def a_login_at_the_choice_of_a_provider(scene: Scene) -> None:
    from murmuration.storage.auth.login_states import LoginState, create

    session = "c2Vzc2lvbi1vZi1maXh0dXJl.ZGlnZXN0LTEyMzQ1"
    purpose = {"for": "login stage", "session": session, "user": "alice", "operation": "login"}
    scene.act(create, "choice-of-the-fixtures", LoginState("", "", "", "", purpose))


@plot("Alice has an e-mail address.", "alice")
def alice_with_an_address(scene: Scene) -> None:
    from murmuration.accounts.threepids import binding

    scene.act(binding.add, scene.user_id("alice"), "email", "alice@mail.example", validated_ms=scene.clock)


@plot("A link was sent to somebody's address.")
def a_link_in_a_mail(scene: Scene) -> None:
    _send_link(scene, "login")


@plot(
    "A link was sent to Alice's address, which she wants to add to her account, and she followed it.", "alice"
)
def alice_proved_an_address(scene: Scene) -> None:
    _send_link(scene, "add", followed=True)


@plot(
    "Alice forgot her password: a link was sent to her address, and she followed it.", "alice_with_an_address"
)
def alice_forgot_her_password(scene: Scene) -> None:
    _send_link(scene, "password", followed=True)


@plot("A link was sent to the address of somebody who wants to register, and they followed it.")
def somebody_proved_an_address(scene: Scene) -> None:
    _send_link(scene, "register", followed=True)


def _send_link(scene: Scene, purpose: str, *, followed: bool = False) -> None:
    from murmuration.identity.tokens import hash_secret
    from murmuration.storage.users.threepids import begin_validation, record_validation

    kept = {
        "medium": "email",
        "address": "alice@mail.example",
        "purpose": purpose,
        "secret_hash": hash_secret("secret-of-the-fixtures"),
        "token_hash": hash_secret("token-of-the-fixtures"),
    }
    scene.act(begin_validation, "session-of-the-fixtures", kept, send_attempt=1)
    if followed:
        scene.act(record_validation, "session-of-the-fixtures", kept["token_hash"])


@plot("Alice has a name, an avatar and a field of her own in her profile.", "alice")
def alice_with_a_profile(scene: Scene) -> None:
    from murmuration.profiles import set_profile_field

    for key, value in (
        ("displayname", "Alice Liddell"),
        ("avatar_url", "mxc://example.org/rabbit"),
        ("m.tz", "Europe/London"),
    ):
        scene.act(set_profile_field, scene.requester("alice"), scene.user_id("alice"), key, {key: value})


@plot("Carol has closed her account.", "carol")
def carol_deactivated(scene: Scene) -> None:
    from murmuration.storage.users import accounts

    def close(user_id: UserId) -> None:
        accounts.begin_closing(user_id, at_ms=scene.clock, erase=False)
        accounts.end_closing(user_id)

    scene.act(close, scene.user_id("carol"))


@plot("The operator has made a registration token for one user.")
def a_registration_token(scene: Scene) -> None:
    from murmuration.accounts.registration_tokens import create_registration_token

    scene.act(create_registration_token, "fizzbuzz", uses_allowed=1)
    scene.names["registration_token"] = "fizzbuzz"


# -- Rooms ---------------------------------------------------------------------------------------------------


@plot(
    "Alice and Bob are in #lounge, a published public room that Alice made; each has said hello.",
    "alice",
    "bob",
)
def alice_and_bob_in_a_public_room(scene: Scene) -> None:
    lounge = scene.create_room(
        "alice",
        "lounge",
        preset="public_chat",
        visibility="public",
        room_alias_name="lounge",
        name="The lounge",
        topic="Tea and talk",
    )
    scene.join("bob", lounge)
    scene.say("bob", lounge, "Hello Alice!", "greeting")
    scene.say("alice", lounge, "Hello Bob!", "reply")


@plot("Bob has invited Alice to his private room, the study.", "alice", "bob")
def alice_invited_to_bobs_room(scene: Scene) -> None:
    from murmuration.storage.users.memberships import read_membership

    study = RoomId(
        scene.create_room(
            "bob", "study", preset="private_chat", name="Bob's study", invite=[scene.user_id("alice")]
        )
    )
    invite = read_membership(UserId(scene.user_id("alice")), study)
    assert invite is not None
    scene.names["study_invite"] = invite.event_id


@plot("Alice has left Bob's public room, the porch.", "alice", "bob")
def alice_left_a_room(scene: Scene) -> None:
    from murmuration.rooms.membership.operations import leave_room

    porch = scene.create_room("bob", "porch", preset="public_chat", name="The porch")
    scene.join("alice", porch)
    scene.act(leave_room, scene.user_id("alice"), porch, reason="Late for tea")


@plot("Alice has banned Bob from her public room, the gallery.", "alice", "bob")
def bob_banned_from_a_room(scene: Scene) -> None:
    from murmuration.rooms.membership.operations import ban_user

    gallery = scene.create_room("alice", "gallery", preset="public_chat", name="The gallery")
    scene.join("bob", gallery)
    scene.act(ban_user, scene.user_id("alice"), gallery, scene.user_id("bob"), reason="Touched the art")


@plot("Bob has a room on which others may knock, the club.", "alice", "bob")
def a_room_to_knock_on(scene: Scene) -> None:
    scene.create_room(
        "bob",
        "club",
        preset="private_chat",
        name="The club",
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}],
    )


@plot("Alice and Bob have talked in the archive: edits, a reaction, a thread, a redaction.", "alice", "bob")
def a_room_with_history(scene: Scene) -> None:
    from murmuration.rooms.writing.sending import redact_event

    archive = scene.create_room("alice", "archive", preset="private_chat", invite=[scene.user_id("bob")])
    scene.join("bob", archive)
    typo = scene.say("alice", archive, "Is there tee?", "typo")
    scene.say(
        "alice",
        archive,
        "* Is there tea?",
        "edit",
        **{
            "m.new_content": {"msgtype": "m.text", "body": "Is there tea?"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": typo},
        },
    )
    scene.send(
        "bob",
        archive,
        "m.reaction",
        {"m.relates_to": {"rel_type": "m.annotation", "event_id": typo, "key": "🍵"}},
        "reaction",
    )
    thread = scene.say("bob", archive, "On the dormouse", "thread")
    for name, text, called in (("alice", "It sleeps", "asleep"), ("bob", "Put it in the pot", "pot")):
        relation = {"rel_type": "m.thread", "event_id": thread}
        scene.say(name, archive, text, called, **{"m.relates_to": relation})
    secret = scene.say("bob", archive, "The password is builder", "redacted")
    content = {"reason": "Oops"}
    scene.names["redaction"] = scene.act(
        redact_event, scene.requester("bob"), archive, secret, "redact-1", content
    )
    scene.set_state("alice", archive, "m.room.topic", {"topic": "Tea"}, called="topic")
    scene.say("alice", archive, "Good night", "last")


# -- What people keep ----------------------------------------------------------------------------------------


@plot(
    "Alice keeps account data, a tag on the lounge and two push rules of her own.",
    "alice_and_bob_in_a_public_room",
)
def alice_with_account_data(scene: Scene) -> None:
    from murmuration import account_data, filters, push_rules

    who, alice = scene.requester("alice"), scene.user_id("alice")
    lounge = scene.names["lounge"]
    scene.act(account_data.set_account_data, who, alice, "org.example.colours", {"best": "blue"})
    scene.act(
        account_data.set_account_data_per_room, who, alice, lounge, "org.example.mood", {"mood": "merry"}
    )
    scene.act(account_data.set_room_tag, who, alice, lounge, "m.favourite", {"order": 0.25})
    for rule_id, pattern in (("tea", "tea"), ("cake", "cake")):
        body = {"actions": ["notify"], "pattern": pattern}
        scene.act(push_rules.set_push_rule, alice, "content", rule_id, body, before=None, after=None)
    definition = {"room": {"timeline": {"limit": 5, "types": ["m.room.message"]}}}
    scene.names["filter"] = scene.act(filters.define_filter, who, alice, definition)
