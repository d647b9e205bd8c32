"""How long a message takes from one client to another, and what it costs: with our server and with
Synapse.
"""
