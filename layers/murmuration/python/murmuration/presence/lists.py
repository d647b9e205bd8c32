"""Presence lists: users ask to see another user's presence, and are granted or denied it.

A request is granted at once if the asked user may already see the asking user's presence.
"""

from __future__ import annotations

from collections.abc import Sequence

from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.protocol.errors import NotFound, Unavailable
from murmuration.protocol.identifiers import UserId, parse_user_id
from murmuration.settings import settings
from murmuration.storage.live import streams
from murmuration.storage.users import accounts, presence, presence_lists

ASKING = "presence-asking#"
"""The type of the item, in a user's stream, which says that another user asks to see their presence."""


def change_list(
    user_id: UserId,
    *,
    invite: Sequence[UserId] = (),
    drop: Sequence[UserId] = (),
    grant: Sequence[UserId] = (),
    deny: Sequence[UserId] = (),
) -> None:
    """Ask to see users' presence or stop that; grant or deny it to users who asked. Repeating it is harmless.

    Raises InvalidParam, and NotFound for a user who isn't local or hasn't asked; then nothing is changed.
    """
    for other in (*invite, *grant):
        _check_here(other)
    for other in (*drop, *deny):
        parse_user_id(other)
    observers = presence_lists.read_observers(user_id) if grant else {}
    for other in grant:
        if other not in observers:
            raise NotFound(f"{other} has not asked to see your presence")
    for other in invite:
        _ask(user_id, other)
    for other in drop:
        dynamodb.transact(presence_lists.removal_writes(user_id, other))
    for other in grant:
        _grant(other, user_id)
    for other in deny:
        dynamodb.transact(presence_lists.removal_writes(other, user_id))


def _check_here(user_id: UserId) -> None:
    here = parse_user_id(user_id).server_name == settings().server_name
    if not here or accounts.read_account(user_id) is None:
        raise NotFound(f"There is no user {user_id} here")


def _ask(observer: UserId, observed: UserId) -> None:
    try:
        dynamodb.transact(presence_lists.asking_writes(observer, observed))
    except ConditionFailed as error:
        if presence_lists.is_granted(observer, observed):
            return
        raise Unavailable("The presence list is being changed by many requests at once; try again") from error
    if presence_lists.is_granted(observed, observer) or observer == observed:
        _grant(observer, observed)
        return
    asking = {"sk": ASKING + observer, "observer": observer}
    streams.append(streams.user_stream(observed), lambda: [asking])


def _grant(observer: UserId, observed: UserId) -> None:
    """Grant the presence to a user who asked. If the user has withdrawn meanwhile, nothing is granted."""
    try:
        dynamodb.transact(presence_lists.granting_writes(observer, observed))
    except ConditionFailed:
        if not presence_lists.is_granted(observer, observed):
            return
    streams.append(streams.user_stream(observer), lambda: [presence.marker(observed, "")])
