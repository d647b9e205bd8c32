"""Unread counts: how events are counted, and when all of a room's events are counted again."""
