"""Calls of AWS services: HTTP and signing, DynamoDB, queues, objects, mail, sockets, parameters.

Nothing here knows what an item means; only `storage` does.
"""
