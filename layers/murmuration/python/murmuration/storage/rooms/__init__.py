"""The items of a room: its members, its log and its state.

Items about users, keys or listeners aren't here.
"""
