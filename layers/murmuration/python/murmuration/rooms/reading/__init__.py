"""Reading a room: its timeline, state, relations and summaries, and which of them a user may see."""
