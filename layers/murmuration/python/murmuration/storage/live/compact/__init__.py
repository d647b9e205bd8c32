"""Values that are stored as short texts: a user's waits, and what a client was shown since a row was
written.
"""
