"""An address belongs to at most one user."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from murmuration.accounts.threepids import binding
from murmuration.protocol.errors import InvalidParam, ThreepidInUse, ThreepidMediumNotSupported
from murmuration.protocol.identifiers import UserId


def test_an_address_is_added_told_and_removed(fresh_user_id: Callable[..., str]) -> None:
    user, other = UserId(fresh_user_id()), UserId(fresh_user_id())
    address = f"{user[1:].partition(':')[0]}@Mail.Example"
    binding.add(user, "email", address, validated_ms=5)
    binding.add(user, "email", address.upper(), validated_ms=6)
    assert binding.owner("email", f" {address}") == user
    (found,) = binding.addresses(user)
    assert (found["medium"], found["address"], found["validated_at"]) == ("email", address.casefold(), 5)
    with pytest.raises(ThreepidInUse):
        binding.add(other, "email", address, validated_ms=5)
    binding.remove(other, "email", address)
    assert binding.owner("email", address) == user
    binding.remove(user, "email", address)
    binding.remove(user, "email", address)
    assert (binding.owner("email", address), binding.addresses(user)) == (None, [])


def test_one_of_many_concurrent_users_gets_an_address(fresh_user_id: Callable[..., str]) -> None:
    users = [UserId(fresh_user_id()) for _ in range(8)]
    address = f"{users[0][1:].partition(':')[0]}@race.example"

    def add(user: UserId) -> bool:
        try:
            binding.add(user, "email", address, validated_ms=1)
        except ThreepidInUse:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(add, users))
    assert sum(added) == 1
    owner = binding.owner("email", address)
    assert owner == users[added.index(True)]
    assert [user for user in users if binding.addresses(user)] == [owner]


@pytest.mark.parametrize(
    "address", ["", "x", "@x", "x@", "a@b@c", "a b@c", "a@b\nc", "<a@b>", "a@b,c@d", "ä@b\x00"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(InvalidParam):
        binding.canonical("email", address)


def test_other_media() -> None:
    with pytest.raises(ThreepidMediumNotSupported):
        binding.canonical("msisdn", "491234567")
