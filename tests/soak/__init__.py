"""A soak test: many writers and readers at once, and a check of what happened to each message."""
