"""Servers' signing keys: fetches and stores other servers' keys, and publishes this server's own.

`protocol.signing` makes and checks signatures.
"""
