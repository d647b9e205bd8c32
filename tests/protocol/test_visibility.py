"""Who sees what: the specification's five rules, and the events that change what they look at."""

from __future__ import annotations

from itertools import product

import pytest

from murmuration.protocol.identifiers import UserId
from murmuration.protocol.visibility import Visibility, may_see, may_see_event, server_may_see, visibility_of

ME = UserId("@me:example.org")
MEMBERSHIPS = ("join", "invite", "leave", "ban", "knock", None)
# The memberships that may see an event: of those who don't join later, and of those who do.
ALLOWED: dict[Visibility, tuple[set[str | None], set[str | None]]] = {
    "world_readable": (set(MEMBERSHIPS), set(MEMBERSHIPS)),
    "shared": ({"join"}, set(MEMBERSHIPS)),
    "invited": ({"join", "invite"}, {"join", "invite"}),
    "joined": ({"join"}, {"join"}),
}
ALL = list(product(ALLOWED, MEMBERSHIPS, (False, True)))


@pytest.mark.parametrize(("visibility", "membership", "joined_later"), ALL)
def test_the_rules(visibility, membership, joined_later):
    expected = membership in ALLOWED[visibility][joined_later]
    assert may_see(visibility, membership, joined_later=joined_later) is expected
    event = {"type": "m.room.message", "content": {"history_visibility": "world_readable"}}
    facts = {"visibility_before": visibility, "membership_before": membership, "joined_later": joined_later}
    assert may_see_event(event, ME, **facts) is expected


@pytest.mark.parametrize(("visibility", "membership", "joined_later"), ALL)
@pytest.mark.parametrize("after", ALLOWED)
def test_a_change_of_visibility_is_seen_from_either_side(visibility, membership, joined_later, after):
    event = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": after}}
    facts = {"visibility_before": visibility, "membership_before": membership, "joined_later": joined_later}
    expected = any(membership in ALLOWED[each][joined_later] for each in (visibility, after))
    assert may_see_event(event, ME, **facts) is expected


@pytest.mark.parametrize(("visibility", "membership", "joined_later"), ALL)
@pytest.mark.parametrize("after", MEMBERSHIPS)
def test_a_change_of_the_own_membership_is_seen_from_either_side(visibility, membership, joined_later, after):
    event = {"type": "m.room.member", "state_key": ME, "content": {"membership": after}}
    facts = {"visibility_before": visibility, "membership_before": membership, "joined_later": joined_later}
    expected = any(each in ALLOWED[visibility][joined_later] for each in (membership, after))
    assert may_see_event(event, ME, **facts) is expected


@pytest.mark.parametrize(
    "event",
    [
        {"type": "m.room.member", "state_key": "@you:x", "content": {"membership": "join"}},
        {"type": "m.room.member", "content": {"membership": "join"}},
        {"type": "m.room.member", "state_key": ME, "content": {"membership": ["join"]}},
        {
            "type": "m.room.history_visibility",
            "state_key": "x",
            "content": {"history_visibility": "world_readable"},
        },
        {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}},
    ],
)
def test_events_that_only_look_like_a_change(event):
    assert not may_see_event(event, ME, visibility_before="joined", membership_before=None, joined_later=True)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "shared"),
        ({}, "shared"),
        ({"history_visibility": "secret"}, "shared"),
        ({"history_visibility": ["joined"]}, "shared"),
        ({"history_visibility": None}, "shared"),
        ({"history_visibility": "joined"}, "joined"),
        ({"history_visibility": "world_readable"}, "world_readable"),
    ],
)
def test_the_default_is_shared(content, expected):
    assert visibility_of(content) == expected


def test_servers_see_what_one_of_their_users_sees():
    assert server_may_see("world_readable", [])
    assert server_may_see("shared", [])
    assert server_may_see("invited", ["leave", "invite"])
    assert not server_may_see("invited", ["leave", None])
    assert server_may_see("joined", ["leave", "join"])
    assert not server_may_see("joined", ["invite"])
