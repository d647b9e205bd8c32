"""Servers' signing keys: fetches and stores other servers' keys, and publishes this server's own.

`protocol.pdus.signing` makes and checks signatures.
"""
