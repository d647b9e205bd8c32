"""The rules about m.room.member. The *target user* is the one that the state key names."""

from __future__ import annotations

from murmuration.protocol.auth_rules.table import (
    ALLOW,
    Facts,
    Refusal,
    Rule,
    RuleTable,
    Verdict,
    allow,
    refuse,
)
from murmuration.protocol.auth_rules.third_party_invite import check_third_party_invite
from murmuration.protocol.event_types import MEMBER
from murmuration.protocol.identifiers import UserId, server_name_of
from murmuration.protocol.pdus.signing import key_ids_of
from murmuration.protocol.room_versions import RoomVersion


def check_membership(facts: Facts) -> Verdict:
    """If type is m.room.member: the nested rules, which decide."""
    return _MEMBERSHIP_RULES(facts) if facts.event.type == MEMBER else None


def _target(facts: Facts) -> UserId:
    """Return the target user; the first rule ensures that there is one."""
    return facts.event.member_id


def _has_target_and_membership(facts: Facts) -> Verdict:
    if facts.event.state_key is None or "membership" not in facts.event.content:
        return Refusal("A membership event needs a state key and a membership")
    return None


def _signed_by_authoriser(facts: Facts) -> Verdict:
    """Refuse an event without a signature of the authorising user's server.

    Whether the signature is valid depends on that server's keys, so `validation` has checked it with all
    other signatures when the event arrived.
    """
    if "join_authorised_via_users_server" not in facts.event.content or facts.template:
        return None
    authoriser = facts.event.content["join_authorised_via_users_server"]
    server = server_name_of(authoriser) if isinstance(authoriser, str) else None
    if server is None or not key_ids_of(facts.event.pdu, server):
        return Refusal("The server of the user who authorises the join has not signed it", (1,))
    return None


# --- If membership is join


def _first_join(facts: Facts) -> Verdict:
    created = facts.event.prev_events == (facts.create.event_id,)
    return ALLOW if created and _target(facts) in _founders(facts) else None


def _founders(facts: Facts) -> frozenset[str]:
    """Return the users who may join before there are join rules: the creator, but not additional creators."""
    return frozenset({facts.create.sender}) if facts.version.implicit_room_creator else facts.creators()


def _sender_is_target_of_join(facts: Facts) -> Verdict:
    return None if facts.event.sender == _target(facts) else Refusal("Nobody can join for someone else")


def _sender_not_banned(facts: Facts) -> Verdict:
    banned = facts.membership(facts.event.sender) == "ban"
    return Refusal("The user is banned from the room") if banned else None


def _join_by_invite(facts: Facts) -> Verdict:
    if facts.join_rule == "invite" or (facts.join_rule == "knock" and facts.version.knocking):
        return ALLOW if _invited_or_joined(facts) else None
    return None


def _restricted_join(facts: Facts) -> Verdict:
    restricted = facts.join_rule == "restricted"
    if not restricted and not (facts.join_rule == "knock_restricted" and facts.version.knock_restricted):
        return None
    return _RESTRICTED_JOIN_RULES(facts)


def _invited_already(facts: Facts) -> Verdict:
    return ALLOW if _invited_or_joined(facts) else None


def _authoriser_may_invite(facts: Facts) -> Verdict:
    authoriser = facts.event.content.get("join_authorised_via_users_server")
    if not isinstance(authoriser, str):
        return Refusal("Joining this room without an invite needs the signature of a member's server")
    vouches = UserId(authoriser)
    if facts.membership(vouches) != "join" or not facts.power_levels.can_invite(vouches):
        return Refusal("The user who authorises the join is not a member who may invite")
    return None


def _public_join(facts: Facts) -> Verdict:
    return ALLOW if facts.join_rule == "public" else None


def _invited_or_joined(facts: Facts) -> bool:
    return facts.membership(_target(facts)) in ("invite", "join")


# --- If membership is invite


def _third_party_invite(facts: Facts) -> Verdict:
    return check_third_party_invite(facts) if "third_party_invite" in facts.event.content else None


def _inviter_joined(facts: Facts) -> Verdict:
    return _sender_joined(facts, "Only members of the room can invite to it")


def _invitee_may_be_invited(facts: Facts) -> Verdict:
    current = facts.membership(_target(facts))
    if current == "join":
        return Refusal("The invited user is in the room already")
    return Refusal("The invited user is banned from the room") if current == "ban" else None


def _may_invite(facts: Facts) -> Verdict:
    return ALLOW if facts.power_levels.can_invite(facts.event.sender) else None


# --- If membership is leave


def _own_leave(facts: Facts) -> Verdict:
    if facts.event.sender != _target(facts):
        return None
    leavable = ("invite", "join", "knock") if facts.version.knocking else ("invite", "join")
    if facts.membership(_target(facts)) in leavable:
        return ALLOW
    return Refusal("The user has no membership of this room to give up")


def _kicker_joined(facts: Facts) -> Verdict:
    return _sender_joined(facts, "Only members of the room can remove others from it")


def _may_unban(facts: Facts) -> Verdict:
    if facts.membership(_target(facts)) == "ban" and facts.sender_level < facts.power_levels.ban:
        return Refusal("The sender's power level is too low to unban")
    return None


def _may_kick(facts: Facts) -> Verdict:
    return ALLOW if facts.power_levels.can_kick(facts.event.sender, _target(facts)) else None


# --- If membership is ban


def _banner_joined(facts: Facts) -> Verdict:
    return _sender_joined(facts, "Only members of the room can ban from it")


def _may_ban(facts: Facts) -> Verdict:
    return ALLOW if facts.power_levels.can_ban(facts.event.sender, _target(facts)) else None


# --- If membership is knock


def _room_takes_knocks(facts: Facts) -> Verdict:
    if facts.join_rule == "knock":
        return None
    if facts.join_rule == "knock_restricted" and facts.version.knock_restricted:
        return None
    return Refusal("This room does not take knocks")


def _sender_is_target_of_knock(facts: Facts) -> Verdict:
    return None if facts.event.sender == _target(facts) else Refusal("Nobody can knock for someone else")


def _may_knock(facts: Facts) -> Verdict:
    return ALLOW if facts.membership(facts.event.sender) not in ("ban", "invite", "join") else None


def _sender_joined(facts: Facts, otherwise: str) -> Verdict:
    return None if facts.membership(facts.event.sender) == "join" else Refusal(otherwise)


def _knocking(version: RoomVersion) -> bool:
    return version.knocking


def _restricted(version: RoomVersion) -> bool:
    return version.restricted_join_rule


def _if_membership(membership: str, rules: RuleTable) -> Rule:
    """Return the rule that applies the rules for one membership."""

    def check(facts: Facts) -> Verdict:
        return rules(facts) if facts.event.content.get("membership") == membership else None

    return Rule(check, only_in=_knocking) if membership == "knock" else Rule(check)


_RESTRICTED_JOIN_RULES = RuleTable(Rule(_invited_already), Rule(_authoriser_may_invite), Rule(allow))

_JOIN_RULES = RuleTable(
    Rule(_first_join),
    Rule(_sender_is_target_of_join),
    Rule(_sender_not_banned),
    Rule(_join_by_invite),
    Rule(_restricted_join, only_in=_restricted),
    Rule(_public_join),
    Rule(refuse("The user is not invited to this room")),
)
_INVITE_RULES = RuleTable(
    Rule(_third_party_invite),
    Rule(_inviter_joined),
    Rule(_invitee_may_be_invited),
    Rule(_may_invite),
    Rule(refuse("The sender's power level is too low to invite")),
)
_LEAVE_RULES = RuleTable(
    Rule(_own_leave),
    Rule(_kicker_joined),
    Rule(_may_unban),
    Rule(_may_kick),
    Rule(refuse("The sender's power level is too low to remove that user")),
)
_BAN_RULES = RuleTable(
    Rule(_banner_joined),
    Rule(_may_ban),
    Rule(refuse("The sender's power level is too low to ban that user")),
)
_KNOCK_RULES = RuleTable(
    Rule(_room_takes_knocks),
    Rule(_sender_is_target_of_knock),
    Rule(_may_knock),
    Rule(refuse("The user is banned, invited or in the room already")),
)
_MEMBERSHIP_RULES = RuleTable(
    Rule(_has_target_and_membership),
    Rule(_signed_by_authoriser, only_in=_restricted),
    _if_membership("join", _JOIN_RULES),
    _if_membership("invite", _INVITE_RULES),
    _if_membership("leave", _LEAVE_RULES),
    _if_membership("ban", _BAN_RULES),
    _if_membership("knock", _KNOCK_RULES),
    Rule(refuse("This is not a membership that the room version knows")),
)
