"""Search in messages and for users, and the scan of several rooms that it and other lists use."""
