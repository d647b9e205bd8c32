"""Searches in messages and for users, and the scan of several rooms that other lists use too."""
