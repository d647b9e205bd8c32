"""Keys for end-to-end encryption: published, looked up, claimed, cross-signed.

https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption

The server understands little of them: it keeps what clients sign, hands out each one-time key once, and lets
everyone know whose keys changed.
"""
