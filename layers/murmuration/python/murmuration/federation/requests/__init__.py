"""Requests to other homeservers: signed, bounded, with a record of which servers don't answer.

The rest of the package sends its requests with `client`. The modules here don't know the meaning of requests
and answers.
"""
