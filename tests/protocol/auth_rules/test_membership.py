"""The rules about m.room.member."""

from __future__ import annotations

from typing import Any

from tests.protocol.auth_rules.cases import LEVELS, Case, each, judge, with_extra
from tests.protocol.dag import (
    ADMIN,
    ALICE,
    BOB,
    CAROL,
    DAVE,
    EVE,
    MOD,
    Piece,
    join_rules,
    member,
    message,
    power_levels,
    state,
)

JOINS = [
    Case(
        "no target",
        BOB,
        message("m.room.member", membership="join"),
        rules="1-5: 5.1, 6-11: 4.1, 12: 5.1",
    ),
    Case("no membership", BOB, state("m.room.member", BOB), rules="1-5: 5.1, 6-11: 4.1, 12: 5.1"),
    Case(
        "an unknown membership",
        BOB,
        member(BOB, "guest"),
        rules="1-5: 5.6, 6: 4.6, 7: 4.7, 8-11: 4.8, 12: 5.8",
    ),
    Case(
        "a membership that is no string",
        BOB,
        state("m.room.member", BOB, membership={}),
        rules="1-5: 5.6, 6: 4.6, 7: 4.7, 8-11: 4.8, 12: 5.8",
    ),
    Case(
        "the creator joins first",
        ALICE,
        member(ALICE, "join"),
        state=[member(ALICE, "leave")],
        prev=("create",),
    ),
    Case(
        "the creator joins later",
        ALICE,
        member(ALICE, "join"),
        rules="1-5: 5.2.6, 6-7: 4.2.6, 8-11: 4.3.7, 12: 5.3.7",
        state=[member(ALICE, "leave")],
    ),
    Case(
        "the creator that the content names joins first",
        CAROL,
        member(CAROL, "join"),
        only="1-10",
        prev=("create",),
        create={"creator": CAROL},
    ),
    Case(
        "another user joins first",
        CAROL,
        member(CAROL, "join"),
        rules="1-5: 5.2.6, 6-7: 4.2.6, 8-11: 4.3.7, 12: 5.3.7",
        prev=("create",),
    ),
    Case(
        "an additional creator joins first",
        CAROL,
        member(CAROL, "join"),
        rules="12: 5.3.7",
        prev=("create",),
        create={"additional_creators": [CAROL]},
    ),
    Case(
        "a join for another",
        BOB,
        member(CAROL, "join"),
        rules="1-5: 5.2.2, 6-7: 4.2.2, 8-11: 4.3.2, 12: 5.3.2",
        state=[join_rules("public")],
    ),
    Case(
        "a banned user joins",
        CAROL,
        member(CAROL, "join"),
        rules="1-5: 5.2.3, 6-7: 4.2.3, 8-11: 4.3.3, 12: 5.3.3",
        state=[join_rules("public"), member(CAROL, "ban")],
    ),
    Case("by invite, invited", CAROL, member(CAROL, "join"), state=[member(CAROL, "invite")]),
    Case("by invite, joined", BOB, member(BOB, "join", displayname="Bob")),
    Case(
        "by invite, not invited",
        CAROL,
        member(CAROL, "join"),
        rules="1-5: 5.2.6, 6-7: 4.2.6, 8-11: 4.3.7, 12: 5.3.7",
    ),
    Case(
        "by knock, invited",
        CAROL,
        member(CAROL, "join"),
        only="7-12",
        state=[join_rules("knock"), member(CAROL, "invite")],
    ),
    Case("by knock, joined", BOB, member(BOB, "join"), only="7-12", state=[join_rules("knock")]),
    Case(
        "by knock, having knocked",
        CAROL,
        member(CAROL, "join"),
        rules="7: 4.2.6, 8-11: 4.3.7, 12: 5.3.7",
        state=[join_rules("knock"), member(CAROL, "knock")],
    ),
    Case(
        "by knock, before there was knocking",
        CAROL,
        member(CAROL, "join"),
        rules="1-5: 5.2.6, 6: 4.2.6",
        state=[join_rules("knock"), member(CAROL, "invite")],
    ),
    Case("a public room", CAROL, member(CAROL, "join"), state=[join_rules("public")]),
    Case(
        "a private room",
        CAROL,
        member(CAROL, "join"),
        rules="1-5: 5.2.6, 6-7: 4.2.6, 8-11: 4.3.7, 12: 5.3.7",
        state=[join_rules("private"), member(CAROL, "invite")],
    ),
    Case(
        "join rules that are no string are as none",
        CAROL,
        member(CAROL, "join"),
        state=[state("m.room.join_rules", join_rule=["public"]), member(CAROL, "invite")],
    ),
]

VOUCHED = {"join_authorised_via_users_server": MOD}
SIGNED = {"signatures": {"example.org": {"ed25519:1": "c2lnbmF0dXJl"}}}


def vouched_join(authoriser: Any = MOD) -> Piece:
    return with_extra(member(CAROL, "join", join_authorised_via_users_server=authoriser), **SIGNED)


RESTRICTED = [
    Case(
        "not signed by the authorising server",
        CAROL,
        member(CAROL, "join", **VOUCHED),
        rules="8-11: 4.2.1, 12: 5.2.1",
        state=[join_rules("restricted")],
    ),
    Case(
        "signed by another server",
        CAROL,
        with_extra(member(CAROL, "join", **VOUCHED), signatures={"other.example": {"ed25519:1": "c2ln"}}),
        rules="8-11: 4.2.1, 12: 5.2.1",
        state=[join_rules("restricted")],
    ),
    Case(
        "authorised by what is no user",
        CAROL,
        vouched_join(authoriser=7),
        rules="8-11: 4.2.1, 12: 5.2.1",
        state=[join_rules("restricted")],
    ),
    Case(
        "a template is signed later",
        CAROL,
        member(CAROL, "join", **VOUCHED),
        only="8-12",
        state=[join_rules("restricted")],
        template=True,
    ),
    Case("vouched for", CAROL, vouched_join(), only="8-12", state=[join_rules("restricted")]),
    Case(
        "vouched for, or to knock",
        CAROL,
        vouched_join(),
        only="10-12",
        state=[join_rules("knock_restricted")],
    ),
    Case(
        "restricted before there was such a rule",
        CAROL,
        vouched_join(),
        rules="1-5: 5.2.6, 6-7: 4.2.6",
        state=[join_rules("restricted")],
    ),
    Case(
        "knock_restricted before there was such a rule",
        CAROL,
        vouched_join(),
        rules="1-5: 5.2.6, 6-7: 4.2.6, 8-9: 4.3.7",
        state=[join_rules("knock_restricted")],
    ),
    Case(
        "restricted, invited",
        CAROL,
        member(CAROL, "join"),
        only="8-12",
        state=[join_rules("restricted"), member(CAROL, "invite")],
    ),
    Case("restricted, joined", BOB, member(BOB, "join"), only="8-12", state=[join_rules("restricted")]),
    Case(
        "restricted, and nobody vouches",
        CAROL,
        member(CAROL, "join"),
        rules="8-11: 4.3.5.2, 12: 5.3.5.2",
        state=[join_rules("restricted")],
    ),
    Case(
        "vouched for by one who is not a member",
        CAROL,
        vouched_join(),
        rules="8-11: 4.3.5.2, 12: 5.3.5.2",
        state=[join_rules("restricted"), member(MOD, "leave")],
    ),
    Case(
        "vouched for by one who may not invite",
        CAROL,
        vouched_join(BOB),
        rules="8-11: 4.3.5.2, 12: 5.3.5.2",
        state=[join_rules("restricted"), power_levels(LEVELS, invite=50)],
    ),
    Case(
        "vouched for by one who may just invite",
        CAROL,
        vouched_join(MOD),
        only="8-12",
        state=[join_rules("restricted"), power_levels(LEVELS, invite=50)],
    ),
    Case(
        "vouched for, but banned",
        CAROL,
        vouched_join(),
        rules="8-11: 4.3.3, 12: 5.3.3",
        state=[join_rules("restricted"), member(CAROL, "ban")],
    ),
]

INVITES = [
    Case("a member invites", BOB, member(CAROL, "invite")),
    Case("again", BOB, member(CAROL, "invite"), state=[member(CAROL, "invite")]),
    Case("one who has knocked", BOB, member(CAROL, "invite"), only="7-12", state=[member(CAROL, "knock")]),
    Case(
        "an outsider invites",
        EVE,
        member(CAROL, "invite"),
        rules="1-5: 5.3.2, 6-7: 4.3.2, 8-11: 4.4.2, 12: 5.4.2",
    ),
    *(
        Case(
            f"one of membership {membership}",
            BOB,
            member(CAROL, "invite"),
            rules="1-5: 5.3.3, 6-7: 4.3.3, 8-11: 4.4.3, 12: 5.4.3",
            state=[member(CAROL, membership)],
        )
        for membership in ("join", "ban")
    ),
    Case("with just the power", MOD, member(CAROL, "invite"), state=[power_levels(LEVELS, invite=50)]),
    Case(
        "without the power",
        BOB,
        member(CAROL, "invite"),
        rules="1-5: 5.3.5, 6-7: 4.3.5, 8-11: 4.4.5, 12: 5.4.5",
        state=[power_levels(LEVELS, invite=1)],
    ),
]

LEAVES = [
    Case("a member leaves", BOB, member(BOB, "leave")),
    Case("an invite is declined", CAROL, member(CAROL, "leave"), state=[member(CAROL, "invite")]),
    Case("a knock is withdrawn", CAROL, member(CAROL, "leave"), only="7-12", state=[member(CAROL, "knock")]),
    Case(
        "a knock before there was knocking",
        CAROL,
        member(CAROL, "leave"),
        rules="1-5: 5.4.1, 6: 4.4.1",
        state=[member(CAROL, "knock")],
    ),
    *(
        Case(
            f"one of membership {membership}",
            CAROL,
            member(CAROL, "leave"),
            rules="1-5: 5.4.1, 6-7: 4.4.1, 8-11: 4.5.1, 12: 5.5.1",
            state=[member(CAROL, membership)],
        )
        for membership in ("leave", "ban")
    ),
    Case(
        "a stranger leaves",
        CAROL,
        member(CAROL, "leave"),
        rules="1-5: 5.4.1, 6-7: 4.4.1, 8-11: 4.5.1, 12: 5.5.1",
    ),
    Case("a kick", MOD, member(BOB, "leave")),
    Case("an invite is taken back", MOD, member(CAROL, "leave"), state=[member(CAROL, "invite")]),
    Case(
        "an outsider kicks",
        EVE,
        member(BOB, "leave"),
        rules="1-5: 5.4.2, 6-7: 4.4.2, 8-11: 4.5.2, 12: 5.5.2",
        state=[power_levels({EVE: 100})],
    ),
    Case("an unban", MOD, member(CAROL, "leave"), state=[member(CAROL, "ban")]),
    Case(
        "an unban without the power to ban",
        MOD,
        member(CAROL, "leave"),
        rules="1-5: 5.4.3, 6-7: 4.4.3, 8-11: 4.5.3, 12: 5.5.3",
        state=[member(CAROL, "ban"), power_levels(LEVELS, ban=51)],
    ),
    Case(
        "an unban without the power to kick",
        MOD,
        member(CAROL, "leave"),
        rules="1-5: 5.4.5, 6-7: 4.4.5, 8-11: 4.5.5, 12: 5.5.5",
        state=[member(CAROL, "ban"), power_levels(LEVELS, kick=51)],
    ),
    Case(
        "a kick without the power",
        BOB,
        member(DAVE, "leave"),
        rules="1-5: 5.4.5, 6-7: 4.4.5, 8-11: 4.5.5, 12: 5.5.5",
    ),
    Case(
        "a kick of an equal",
        MOD,
        member(BOB, "leave"),
        rules="1-5: 5.4.5, 6-7: 4.4.5, 8-11: 4.5.5, 12: 5.5.5",
        state=[power_levels({**LEVELS, BOB: 50})],
    ),
    Case("a creator kicks whom they like", ALICE, member(ADMIN, "leave"), only="12"),
    Case(
        "a creator kicks a creator",
        ALICE,
        member(BOB, "leave"),
        rules="12: 5.5.5",
        create={"additional_creators": [BOB]},
    ),
    Case("an admin kicks a creator", ADMIN, member(ALICE, "leave"), rules="12: 5.5.5"),
]

BANS = [
    Case("a ban", MOD, member(BOB, "ban")),
    Case("of a stranger", MOD, member(CAROL, "ban")),
    Case(
        "an outsider bans",
        EVE,
        member(BOB, "ban"),
        rules="1-5: 5.5.1, 6-7: 4.5.1, 8-11: 4.6.1, 12: 5.6.1",
        state=[power_levels({EVE: 100})],
    ),
    Case(
        "without the power",
        MOD,
        member(BOB, "ban"),
        rules="1-5: 5.5.3, 6-7: 4.5.3, 8-11: 4.6.3, 12: 5.6.3",
        state=[power_levels(LEVELS, ban=51)],
    ),
    Case(
        "of an equal",
        MOD,
        member(BOB, "ban"),
        rules="1-5: 5.5.3, 6-7: 4.5.3, 8-11: 4.6.3, 12: 5.6.3",
        state=[power_levels({**LEVELS, BOB: 50})],
    ),
    Case("of a creator", ADMIN, member(ALICE, "ban"), rules="12: 5.6.3"),
]

KNOCKS = [
    Case("a knock", CAROL, member(CAROL, "knock"), only="7-12", state=[join_rules("knock")]),
    Case(
        "again",
        CAROL,
        member(CAROL, "knock"),
        only="7-12",
        state=[join_rules("knock"), member(CAROL, "knock")],
    ),
    Case(
        "or a vouched join",
        CAROL,
        member(CAROL, "knock"),
        only="10-12",
        state=[join_rules("knock_restricted")],
    ),
    Case(
        "before there was knocking",
        CAROL,
        member(CAROL, "knock"),
        rules="1-5: 5.6, 6: 4.6",
        state=[join_rules("knock")],
    ),
    *(
        Case(
            f"at a room of {rule}",
            CAROL,
            member(CAROL, "knock"),
            rules="7: 4.6.1, 8-11: 4.7.1, 12: 5.7.1",
            state=[join_rules(rule)],
        )
        for rule in ("invite", "public", "restricted")
    ),
    Case(
        "at a room of knock_restricted, too early",
        CAROL,
        member(CAROL, "knock"),
        rules="7: 4.6.1, 8-9: 4.7.1",
        state=[join_rules("knock_restricted")],
    ),
    Case(
        "for another",
        EVE,
        member(CAROL, "knock"),
        rules="7: 4.6.2, 8-11: 4.7.2, 12: 5.7.2",
        state=[join_rules("knock")],
    ),
    *(
        Case(
            f"one of membership {membership}",
            CAROL,
            member(CAROL, "knock"),
            rules="7: 4.6.4, 8-11: 4.7.4, 12: 5.7.4",
            state=[join_rules("knock"), member(CAROL, membership)],
        )
        for membership in ("ban", "invite", "join")
    ),
]


@each(*JOINS)
def test_joins(case, version, rule):
    judge(case, version, rule)


@each(*RESTRICTED)
def test_restricted_joins(case, version, rule):
    judge(case, version, rule)


@each(*INVITES)
def test_invites(case, version, rule):
    judge(case, version, rule)


@each(*LEAVES)
def test_leaves(case, version, rule):
    judge(case, version, rule)


@each(*BANS)
def test_bans(case, version, rule):
    judge(case, version, rule)


@each(*KNOCKS)
def test_knocks(case, version, rule):
    judge(case, version, rule)
