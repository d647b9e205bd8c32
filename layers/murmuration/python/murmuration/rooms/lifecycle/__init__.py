"""A room's life: creation, upgrades, aliases, the directory, deletion."""
