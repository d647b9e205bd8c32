"""A room of a Synapse and ours with a policy server, which allows and refuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_cloud.federate.certificates import Authority
from murmuration.protocol.room_versions import get_room_version

from .conftest import Pair
from .people import RequestRefused, eventually
from .policy_server import PolicyServer
from .servers import Ours, Theirs
from .test_talking import shared_room

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("synapse")]


@pytest.fixture(scope="module")
def policy(
    servers: tuple[Ours, Theirs], authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PolicyServer]:
    made = PolicyServer(tmp_path_factory.mktemp("policy"), authority, get_room_version("11"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_a_policy_server_allows_and_refuses(pair: Pair, policy: PolicyServer) -> None:
    """Signed events are seen on both sides. Refused events aren't sent, and their senders get an error."""
    host, guest, room_id = shared_room(pair, "11")
    warden = policy.homeserver.person("warden")
    warden.join(room_id, host.server_name)
    for person in (host, guest):
        person.sees_member(room_id, warden.user_id, "join")
    host.put_state(room_id, "m.room.policy", policy.content)
    guest.sees_state(room_id, "m.room.policy", policy.content)
    for speaker, listener in ((host, guest), (guest, host)):
        with pytest.raises(RequestRefused) as refused:
            speaker.say(room_id, f"spam of {speaker.user_id}")
        assert refused.value.errcode == "M_FORBIDDEN"
        text = f"A word of {speaker.user_id}"
        event_id = speaker.say(room_id, text)
        listener.hears(room_id, text)
        assert any(text in judged for judged in policy.judged)
        listener.event(room_id, event_id)
    for person in (host, guest, warden):
        eventually(lambda person=person: len(person.history_texts(room_id)) == 2, "both words")  # type: ignore[misc]
    # Nobody is held up once the room has no policy server any more.
    host.put_state(room_id, "m.room.policy", {})
    guest.sees_state(room_id, "m.room.policy", {})
    guest.say(room_id, "spam may be spoken of again")
    host.hears(room_id, "spam may be spoken of again")
