"""Client API v1, of 2014: its event format, its syncing and its errors, on top of today's domains."""
