"""The items of a room: what is stored of its members, its log and its state.

What other tables hold of users, keys or listeners is not here.
"""
