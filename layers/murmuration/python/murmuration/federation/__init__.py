"""Federation: events, keys and queries between this server and others.

It stands above `rooms`, which knows nothing of it but a port. `names` finds servers, `requests` asks them,
`keys` has their signing keys and this server's, `authentication` proves which server sends a request.
"""
