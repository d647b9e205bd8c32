"""Requests of other servers for their users: joining rooms that this server is in, leaving, knocking and
inviting.
"""
