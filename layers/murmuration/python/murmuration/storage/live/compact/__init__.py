"""Values that are stored as short texts: a user's waits, and a client's moves since its row was written."""
