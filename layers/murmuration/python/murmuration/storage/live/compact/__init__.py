"""What is kept as short as it can be: a user's waits, and what a client was shown since a row was written."""
