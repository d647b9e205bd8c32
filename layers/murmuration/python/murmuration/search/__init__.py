"""Search: in the messages of rooms, and for users; and the scan of several rooms that lists are made by."""
