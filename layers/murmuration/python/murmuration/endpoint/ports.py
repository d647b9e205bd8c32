"""Connects lower parts to the higher ones that they need. Only the edge may know both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.rooms.writing import policy_port

if TYPE_CHECKING:
    from murmuration.rooms.writing.policy_port import PolicyClient


def connect_ports() -> None:
    """Connect them; nothing is imported before it is needed."""
    policy_port.connect(_policy_client)


def _policy_client() -> PolicyClient:
    from murmuration.federation.policy.asking import PolicyServers

    return PolicyServers()
