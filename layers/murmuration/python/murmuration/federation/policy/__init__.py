"""Policy servers: asks a room's policy server to sign an event.

https://spec.matrix.org/v1.19/server-server-api/#policy-servers
"""
