"""The push rules that every user has at first, in order of priority.

https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NotRequired, TypeAlias, TypedDict, cast, get_args

from murmuration.protocol.errors import NotFound

if TYPE_CHECKING:
    from murmuration.protocol.identifiers import UserId

Kind: TypeAlias = Literal["override", "content", "room", "sender", "underride"]


class Tweak(TypedDict):
    """An action that says how to notify, for example with which sound."""

    set_tweak: str
    value: NotRequired[object]


Action: TypeAlias = str | Tweak
Condition = TypedDict(
    "Condition",
    {
        "kind": str,
        "key": NotRequired[str],
        "pattern": NotRequired[str],
        "value": NotRequired[object],
        "is": NotRequired[str],
    },
)
"""A condition of a rule. Its keys depend on its `kind`."""


class Rule(TypedDict):
    """A push rule. The kinds override and underride have `conditions`, the kind content has `pattern`."""

    rule_id: str
    actions: list[Action]
    conditions: NotRequired[list[Condition]]
    pattern: NotRequired[str]
    enabled: NotRequired[bool]
    """Missing in a rule that `validation.parse_rule` has just made."""
    default: NotRequired[bool]
    """Missing in the stored form of the user's own rules."""


# In the order in which they are checked.
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

MASTER: Final = ".m.rule.master"
"""The one server-default rule that is checked before the user's own."""


def parse_kind(kind: str) -> Kind:
    """Return `kind` as one of the kinds of rules. Raises NotFound."""
    if kind not in KINDS:
        raise NotFound(f"{kind[:40]!r} is not a kind of push rule: it must be one of {', '.join(KINDS)}")
    return kind


def default_rules(user_id: UserId, kind: Kind) -> list[Rule]:
    """Return the server-default rules of a kind, as the API shows them to a user who has changed nothing."""
    return [
        {
            "rule_id": rule_id,
            "default": True,
            "enabled": rule_id != MASTER,
            "conditions": [
                cast("Condition", {name: user_id if it is _USER_ID else it for name, it in condition.items()})
                for condition in conditions
            ],
            "actions": [action.copy() if isinstance(action, dict) else action for action in actions],
        }
        for rule_id, conditions, actions in _DEFAULTS.get(kind, ())
    ]


def is_default(rule_id: str) -> bool:
    """Return whether the ID has the form that is reserved for server-default rules."""
    return rule_id.startswith(".")


def has_default(kind: Kind, rule_id: str) -> bool:
    return any(rule_id == known for known, _, _ in _DEFAULTS.get(kind, ()))


_USER_ID: Final = cast("str", object())  # a placeholder for the ID of the rules' user


def _match(key: str, pattern: str) -> Condition:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def _is(key: str, value: object) -> Condition:
    return {"kind": "event_property_is", "key": key, "value": value}


def _contains(key: str, value: object) -> Condition:
    return {"kind": "event_property_contains", "key": key, "value": value}


def _sound(name: str) -> Action:
    return {"set_tweak": "sound", "value": name}


_HIGHLIGHT: Action = {"set_tweak": "highlight"}
_ONE_TO_ONE: Condition = {"kind": "room_member_count", "is": "2"}

_DEFAULTS: Final[dict[Kind, tuple[tuple[str, list[Condition], list[Action]], ...]]] = {
    "override": (
        (MASTER, [], []),
        (".m.rule.suppress_notices", [_match("content.msgtype", "m.notice")], []),
        (
            ".m.rule.invite_for_me",
            [
                _match("type", "m.room.member"),
                _match("content.membership", "invite"),
                _match("state_key", _USER_ID),
            ],
            ["notify", _sound("default")],
        ),
        (".m.rule.member_event", [_match("type", "m.room.member")], []),
        (
            ".m.rule.is_user_mention",
            [_contains(r"content.m\.mentions.user_ids", _USER_ID)],
            ["notify", _sound("default"), _HIGHLIGHT],
        ),
        (
            ".m.rule.is_room_mention",
            [
                _is(r"content.m\.mentions.room", True),
                {"kind": "sender_notification_permission", "key": "room"},
            ],
            ["notify", _HIGHLIGHT],
        ),
        (
            ".m.rule.tombstone",
            [_match("type", "m.room.tombstone"), _match("state_key", "")],
            ["notify", _HIGHLIGHT],
        ),
        (".m.rule.reaction", [_match("type", "m.reaction")], []),
        (".m.rule.room.server_acl", [_match("type", "m.room.server_acl"), _match("state_key", "")], []),
        (".m.rule.suppress_edits", [_is(r"content.m\.relates_to.rel_type", "m.replace")], []),
    ),
    "underride": (
        (".m.rule.call", [_match("type", "m.call.invite")], ["notify", _sound("ring")]),
        (
            ".m.rule.encrypted_room_one_to_one",
            [_ONE_TO_ONE, _match("type", "m.room.encrypted")],
            ["notify", _sound("default")],
        ),
        (
            ".m.rule.room_one_to_one",
            [_ONE_TO_ONE, _match("type", "m.room.message")],
            ["notify", _sound("default")],
        ),
        (".m.rule.message", [_match("type", "m.room.message")], ["notify"]),
        (".m.rule.encrypted", [_match("type", "m.room.encrypted")], ["notify"]),
    ),
}
