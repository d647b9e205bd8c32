"""Policy servers: asking the one that a room uses to sign an event.

https://spec.matrix.org/v1.19/server-server-api/#policy-servers
"""
