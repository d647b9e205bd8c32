"""The local cloud: serves the functions in `functions/` on one machine as AWS would.

This package has the behaviour of the gateway, Lambda and the event sources, including limits and quirks, and
the AWS services that the functions call. It has nothing about Matrix.
"""
