"""Servers' signing keys: other servers', fetched and kept, and this server's, published.

How a signature is made and checked is `protocol.signing`'s.
"""
