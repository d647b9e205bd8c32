"""Client API v1, of 2014: its form of events, its syncing and its errors, on top of today's domains."""
