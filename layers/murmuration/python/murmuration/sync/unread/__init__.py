"""Unread counts: how they are counted, and when all of them are counted anew."""
