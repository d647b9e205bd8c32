"""Encryption across servers: device lists, keys and to-device messages, in both directions.

`keys` stores the keys of this server's own users; the modules here communicate with other servers.
"""
