"""The protocol's hot paths against Synapse's: the same inputs, in one run, side by side."""
