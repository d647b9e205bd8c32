"""Serves other servers' requests for their users: join a room that this server is in, leave, knock,
invite.
"""
