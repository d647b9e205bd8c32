"""Client API version 2: its views of the rooms, streams and accounts that all APIs share."""
