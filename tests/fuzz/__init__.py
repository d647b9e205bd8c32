"""A fuzzer: mutated requests to every route of a local cloud in this process, and an account of each 5xx.

It starts from the recorded events and goes on with what the answers bring: rooms, events, tokens.
"""
