"""Calls of AWS services: the wire, DynamoDB, queues, objects, mail, sockets, parameters.

Nothing here knows what an item means; that is `storage`'s.
"""
