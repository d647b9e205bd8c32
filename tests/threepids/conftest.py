"""The fixtures of tests/accounts, for users with passwords."""

from __future__ import annotations

from tests.accounts.conftest import clock, configure, fresh_name, register

__all__ = ["clock", "configure", "fresh_name", "register"]
