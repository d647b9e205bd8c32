"""The local cloud: serves the functions in `functions/` on one machine as AWS would.

What must live here: the gateway's, Lambda's and the event sources' behaviour, limits and quirks included, and
the AWS services that the functions call. What must not: anything about Matrix.
"""
