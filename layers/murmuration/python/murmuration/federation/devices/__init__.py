"""Encryption across servers: device lists, keys and messages from device to device, both ways.

What this server keeps of its own users' keys is in `keys`; what is here speaks with other servers.
"""
