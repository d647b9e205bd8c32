"""Federation: events, keys and queries between this server and others.

It stands above `rooms`, which knows nothing of it but a port.
"""
