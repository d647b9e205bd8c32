"""Finds rooms on other servers: their directories, their aliases, the rooms of their spaces."""
