"""A user's presence as a combination of their devices' presence."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from murmuration.protocol.presence import (
    FREE_FOR_CHAT,
    HIDDEN,
    OFFLINE,
    ONLINE,
    STATES,
    TODAYS,
    UNAVAILABLE,
    Device,
    Presence,
    as_today,
    availability,
)

NOW = 1_000_000
devices = st.dictionaries(
    st.text(max_size=3),
    st.builds(Device, st.sampled_from(STATES), st.integers(NOW - 5, NOW + 5)),
    max_size=5,
)


@given(devices)
def test_the_most_available_device_counts_unless_one_hides(found: dict[str, Device]) -> None:
    live = [device.presence for device in found.values() if device.until_ms > NOW]
    presence = Presence(found)
    if HIDDEN in live:
        assert presence.own(NOW) == HIDDEN
        assert presence.shown(NOW) == OFFLINE
    else:
        best = max((availability(state) for state in live), default=0)
        assert availability(presence.shown(NOW)) == best
        assert presence.own(NOW) == presence.shown(NOW)
    assert presence.watches(NOW) == bool(live)


@given(devices)
def test_what_is_shown_stays_until_it_is_said_to_end(found: dict[str, Device]) -> None:
    presence = Presence(found)
    ends = presence.ends_ms(NOW)
    if presence.shown(NOW) == OFFLINE:
        assert ends == 0
        return
    shown = {presence.shown(moment) for moment in range(NOW, ends)}
    assert shown == {presence.shown(NOW)}
    assert presence.shown(ends) != presence.shown(NOW)


@given(devices, st.integers(NOW - 20, NOW))
def test_a_device_that_is_gone_says_nothing(found: dict[str, Device], until: int) -> None:
    assert Presence({**found, "gone": Device(FREE_FOR_CHAT, until)}).own(NOW) == Presence(
        {name: device for name, device in found.items() if name != "gone"}
    ).own(NOW)


def test_someone_who_came_since_counts_as_having_been_there() -> None:
    assert Presence({"A": Device(ONLINE, NOW + 5)}).watched(NOW)
    assert not Presence({"A": Device(ONLINE, NOW)}).watched(NOW)
    assert Presence({"A": Device(ONLINE, NOW + 99)}, away_ms=NOW + 1).watched(NOW)


def test_the_content_of_the_event() -> None:
    presence = Presence(status_msg="at lunch", last_active_ms=NOW - 59_999)
    assert presence.content(ONLINE, NOW) == {
        "presence": ONLINE, "last_active_ago": 59_999, "currently_active": True, "status_msg": "at lunch",
    }  # fmt: skip
    assert presence.content(ONLINE, NOW + 1)["currently_active"] is False
    assert presence.content(UNAVAILABLE, NOW) == {
        "presence": UNAVAILABLE, "last_active_ago": 59_999, "status_msg": "at lunch",
    }  # fmt: skip
    assert Presence().content(OFFLINE, NOW) == {"presence": OFFLINE}


def test_todays_words() -> None:
    assert {as_today(state) for state in STATES} == set(TODAYS)
    assert as_today(FREE_FOR_CHAT) == ONLINE
    assert as_today(HIDDEN) == OFFLINE
