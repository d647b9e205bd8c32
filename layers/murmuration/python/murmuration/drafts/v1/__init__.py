"""Client API v1, of 2014: its forms of events, its syncing, its clear refusals, over what there is today."""
