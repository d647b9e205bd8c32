"""Simplified sliding sync (MSC4186): the contents of requests, in both forms that clients use."""
