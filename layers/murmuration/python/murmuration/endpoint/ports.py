"""Connects lower parts to the higher ones that they need. Only the edge may know both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from murmuration.rooms.writing import invite_port, policy_port

if TYPE_CHECKING:
    from murmuration.rooms.writing.invite_port import InviteClient
    from murmuration.rooms.writing.policy_port import PolicyClient


def connect_ports() -> None:
    """Connect all ports. Each implementation is imported on first use."""
    policy_port.connect(_policy_client)
    invite_port.connect(_invite_client)


def _policy_client() -> PolicyClient:
    from murmuration.federation.policy.asking import PolicyServers

    return PolicyServers()


def _invite_client() -> InviteClient:
    from murmuration.federation.membership.inviting import InvitedServers

    return InvitedServers()
