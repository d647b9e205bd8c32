"""Typing notifications, receipts and presence between servers, in both directions.

They are short-lived. The size of the room limits how much is sent and accepted: in large rooms they would
cost more than all messages.
"""
