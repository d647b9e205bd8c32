"""Reading rooms: what a user is shown of them. What changes a room lives elsewhere in `rooms`."""
