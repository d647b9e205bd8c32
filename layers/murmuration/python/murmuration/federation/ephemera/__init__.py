"""What passes between servers and isn't kept for long: typing notifications and receipts, both ways.

How much of it is sent and taken is bounded by the size of the room: in large rooms it would cost more than
all messages.
"""
