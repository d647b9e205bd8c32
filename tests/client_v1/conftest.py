"""The fixtures of tests/accounts, for logins by stages."""

from __future__ import annotations

from tests.accounts.conftest import clock, configure, fresh_name, offer, provider, register

__all__ = ["clock", "configure", "fresh_name", "offer", "provider", "register"]
