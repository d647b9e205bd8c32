"""Examples of how people use a server. Their bills are calculated, tested and shown in the docs."""

from __future__ import annotations

from collections.abc import Mapping

from operators.costs.usage import Life

LIVES: Mapping[str, Life] = {
    "family": Life(users=5, messages_per_day=40),
    "club": Life(users=15, messages_per_day=40, devices=3, people_per_room=15),
    "community": Life(users=200, messages_per_day=20, people_per_room=50, hours_online=6),
    "company": Life(users=2000, messages_per_day=50, people_per_room=20, hours_online=9, rooms=40),
}
