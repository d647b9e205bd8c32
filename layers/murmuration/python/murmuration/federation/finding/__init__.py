"""Finding rooms that other servers have: their directories, their aliases, the rooms of their spaces."""
