"""Presence: who is online, who may know, and who is told."""
