"""Server ACLs."""

from __future__ import annotations

from typing import Any

import pytest

from murmuration.protocol.identifiers import ServerName
from murmuration.protocol.server_acl import ServerAcl

EVERYBODY = {"allow": ["*"]}


@pytest.mark.parametrize(
    ("content", "server", "allowed"),
    [
        (EVERYBODY, "a.example", True),
        (EVERYBODY, "1.2.3.4", True),
        ({}, "a.example", False),
        ({"allow": []}, "a.example", False),
        ({"deny": ["b.example"]}, "a.example", False),
        ({"allow": "*"}, "a.example", False),
        ({"allow": ["*", 1, None]}, "a.example", True),
        ({"allow": ["*"], "deny": ["a.example"]}, "a.example", False),
        ({"allow": ["*"], "deny": ["a.example"]}, "A.Example", False),
        ({"allow": ["*"], "deny": ["A.EXAMPLE"]}, "a.example:8448", False),
        ({"allow": ["*"], "deny": ["*.example"]}, "example", True),
        ({"allow": ["*"], "deny": ["?.example"]}, "b.example", False),
        ({"allow": ["*"], "deny": ["a.example:8448"]}, "a.example:8448", True),
        ({"allow": ["*"], "deny": "a.example"}, "a.example", True),
        ({"allow": ["*.example"]}, "a.example", True),
        ({"allow": ["*.example"]}, "a.test", False),
        ({"allow": ["*"], "allow_ip_literals": False}, "1.2.3.4", False),
        ({"allow": ["*"], "allow_ip_literals": False}, "1.2.3.4:8448", False),
        ({"allow": ["*"], "allow_ip_literals": False}, "[2001:db8::1]", False),
        ({"allow": ["*"], "allow_ip_literals": False}, "[2001:db8::1]:8448", False),
        ({"allow": ["*"], "allow_ip_literals": False}, "1.example", True),
        ({"allow": ["*"], "allow_ip_literals": "no"}, "1.2.3.4", True),
        ({"allow": ["*"], "deny": ["1.2.3.*"]}, "1.2.3.4", False),
        (EVERYBODY, "not a name", False),
    ],
)
def test_who_may_take_part(content: dict[str, Any], server: ServerName, allowed: bool) -> None:
    assert ServerAcl(content).allows(server) is allowed


def test_a_hostile_list_takes_no_time() -> None:
    """Patterns of many stars against a long name, and long patterns."""
    acl = ServerAcl({"allow": ["*"], "deny": ["*a" * 100 + "b"] * 500 + ["x" * 100_000]})
    assert acl.allows(ServerName("a" * 200 + ".example"))
