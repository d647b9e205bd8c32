"""Typing notifications, receipts and presence between servers, both ways: things that aren't kept for long.

The size of the room limits how much is sent and accepted: in large rooms it would cost more than all
messages.
"""
