"""Keys for end-to-end encryption: published, looked up, claimed, cross-signed.

https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption

The server doesn't use the keys itself: it stores what clients sign, gives out each one-time key once, and
tells users whose keys changed.
"""
