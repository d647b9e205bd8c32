"""The local accounts of identity providers' users. The first login creates the account."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import count

from murmuration.accounts.registration import account_writes, random_localpart, user_id_of
from murmuration.accounts.sso.identity_providers import IdentityProvider
from murmuration.accounts.sso.openid_connect import Identity
from murmuration.aws import dynamodb
from murmuration.aws.dynamodb import ConditionFailed
from murmuration.clock import now_ms
from murmuration.protocol.errors import Forbidden, Unavailable, UserDeactivated, UserInUse
from murmuration.protocol.identifiers import UserId, is_valid_new_localpart
from murmuration.settings import settings
from murmuration.storage.users import accounts, subjects
from murmuration.storage.users.subjects import Subject

ATTEMPTS = 24
NUMBERED = 12
"""How many numbers are tried as suffixes of a name before a random name is chosen."""
MAX_DISPLAY_NAME = 255
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-/+")


def owner_of(provider: IdentityProvider, identity: Identity) -> UserId | None:
    """Return the active user for a provider's subject; None if there is none. Raises UserDeactivated."""
    user_id = subjects.read_owner(Subject(provider.id, identity.subject))
    if user_id is not None:
        account = accounts.read_account(user_id)
        if account is None or "deactivated_ms" in account:
            raise UserDeactivated("This account has been deactivated")
    return user_id


def owner_or_new(provider: IdentityProvider, identity: Identity) -> UserId:
    """Return the user for a provider's subject, and create an account if there is none.

    Raises UserDeactivated, Forbidden, Unavailable.
    """
    return owner_of(provider, identity) or create(provider, identity)


def create(provider: IdentityProvider, identity: Identity, *, localpart: str | None = None) -> UserId:
    """Create an account without a password for a provider's subject, and return its user ID.

    With `localpart`, the account gets exactly this one. Otherwise the provider's name for the user is made
    valid, and gets a number if it is taken. Concurrent logins create one account. Raises UserInUse, Forbidden
    if this provider's users get no accounts, Unavailable.
    """
    if not provider.creates_accounts:
        raise Forbidden(f"There is no account here for this user of {provider.name}")
    subject = Subject(provider.id, identity.subject)
    names = iter((localpart,)) if localpart is not None else _candidates(identity.localpart)
    for _, name in zip(range(ATTEMPTS), names, strict=False):
        user_id = user_id_of(name)
        display_name = (identity.display_name or name)[:MAX_DISPLAY_NAME]
        made = account_writes(user_id, display_name, None, now=now_ms())
        try:
            dynamodb.transact([*made, *subjects.link_writes(subject, user_id)])
        except ConditionFailed as error:
            if not error.refused(subjects.LINK):
                continue
            owner = owner_of(provider, identity)
            if owner is None:
                raise Unavailable("The account is being changed; try again") from error
            return owner
        return user_id
    raise UserInUse("This user ID is already taken")


def _candidates(wanted: str | None) -> Iterator[str]:
    name = legal_localpart(wanted) if wanted else None
    if name is not None:
        yield name
        for number in range(2, NUMBERED):
            if _is_good(f"{name}{number}"):
                yield f"{name}{number}"
    for _ in count():
        yield random_localpart()


def legal_localpart(name: str) -> str | None:
    """Return `name` as a localpart: characters that user IDs can't have are written as `=` and the
    hexadecimal of their UTF-8.

    Returns None if the result isn't a valid localpart.
    https://spec.matrix.org/v1.19/appendices/#mapping-from-other-character-sets
    """
    lowered = unicodedata.normalize("NFKC", name.strip()).lower()
    made = "".join(
        character
        if character in _PLAIN
        else "".join(f"={byte:02x}" for byte in character.encode(errors="replace"))
        for character in lowered
    )
    # The names of application services' users begin with an underscore.
    made = f"=5f{made[1:]}" if made.startswith("_") else made
    return made if _is_good(made) else None


def _is_good(localpart: str) -> bool:
    return is_valid_new_localpart(localpart, settings().server_name)
