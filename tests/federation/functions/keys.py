"""This server's keys."""

from functions.server_server.keys.get_server_keys import handler

__all__ = ["handler"]
