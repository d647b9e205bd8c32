"""How long a message takes from one client to another, and what it costs: here and on Synapse."""
