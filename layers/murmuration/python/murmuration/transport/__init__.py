"""HTTP requests to others' servers: addresses are checked, connections kept, time and size limited.

It knows nothing of Matrix or JSON. `outbound` uses it for identity providers, `federation` for other
homeservers.
"""
