"""Reading a room: its timeline, state, relations and summaries, and who may see them."""
