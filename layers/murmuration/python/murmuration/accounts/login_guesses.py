"""Limits the number of password attempts for an account, without letting strangers lock out its owner.

Each attempt is taken from two buckets before the password is checked: one for the account and the client's
network together, and one for the account alone. If strangers empty the second bucket, only strangers are
locked out. A known client isn't: one that has an access token, has logged in from the same network before, or
uses a device that was last used on that network. Only the first bucket limits it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from murmuration.identity import rate_limits
from murmuration.protocol.errors import LimitExceeded
from murmuration.protocol.identifiers import UserId
from murmuration.storage.users import accounts

if TYPE_CHECKING:
    from murmuration.storage.json_types import AccountItem

KNOWN_BY_TOKEN = "token"  # noqa: S105 - stands for a network
NETWORKS = 8
"""How many networks an account remembers from successful logins."""


@dataclass(frozen=True, slots=True)
class Guess:
    """The buckets from which one attempt was taken, each as (kind, key, time)."""

    taken: tuple[tuple[str, str, int], ...]

    def give_back(self) -> None:
        """Put the attempt back into its buckets, because the password was right."""
        for kind, key, taken_ms in self.taken:
            rate_limits.give_back(kind, key, taken_ms)


def take(who: str, source_ip: str, *, is_known: bool) -> Guess:
    """Count an attempt to log in as `who`, before the password is checked. Raises LimitExceeded.

    `who` is a user ID, or a key that represents an unknown name. The limits don't depend on whether the user
    exists, so that strangers can't find out who has an account. `is_known` says that the request has proved
    in another way that it comes from the user.
    """
    network = KNOWN_BY_TOKEN if is_known else rate_limits.network(source_ip)
    taken = []
    if network:
        key = f"{who}|{network}"
        taken.append(("failed_login_from", key, rate_limits.check("failed_login_from", key)))
    try:
        taken.append(("failed_login", who, rate_limits.check("failed_login", who)))
    except LimitExceeded:
        if not is_known and not (network and _has_been_at(UserId(who), network)):
            raise
    return Guess(tuple(taken))


def remember_network(account: AccountItem, source_ip: str) -> None:
    """Note on the account that its owner logged in from this network. Writes only if that is new."""
    network, before = rate_limits.network(source_ip), list(account.get("login_networks", ()))
    if network and network not in before:
        accounts.set_login_networks(account["user_id"], [network, *before][:NETWORKS])


def _has_been_at(user_id: UserId, network: str) -> bool:
    """Return whether the user logged in from this network, or has a device that was last used there.

    Reads the account and its devices, but only while the account is locked for strangers.
    """
    account, seen = accounts.read_account(user_id), accounts.read_devices(user_id)
    networks = {rate_limits.network(device.get("last_seen_ip", "")) for device in seen}
    return network in networks or (account is not None and network in account.get("login_networks", ()))
