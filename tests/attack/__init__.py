"""Attacks on a local server whose limits are on: what one person can do to others, and to the bill.

`python -m tests.attack` plays all of them and prints a figure for each.
"""
