"""A soak: many writers and readers at once, and an account of what came of each message."""
