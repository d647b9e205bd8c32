"""The lifecycle of a room: creation, upgrades, aliases, the directory, deletion."""
