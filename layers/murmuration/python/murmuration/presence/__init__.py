"""Presence: users' states, who may see them, and how changes are announced."""
