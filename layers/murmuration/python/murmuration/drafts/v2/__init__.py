"""Client API version 2, of 2015: its own form of the rooms, streams and accounts that all APIs share."""
