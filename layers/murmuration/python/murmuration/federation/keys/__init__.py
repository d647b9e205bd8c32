"""Servers' signing keys: fetches and stores other servers' keys, and publishes this server's own.

Making and checking signatures is in `protocol.pdus.signing`.
"""
