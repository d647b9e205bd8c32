"""The records about other servers: their addresses, their health, their signing keys.

Items about rooms that they share with this server aren't here.
"""
