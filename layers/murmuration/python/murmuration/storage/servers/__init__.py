"""The records about other servers: where they are, how they answered, their signing keys.

Items about rooms that they share with this server aren't here.
"""
