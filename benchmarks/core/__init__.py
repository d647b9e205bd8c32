"""The protocol's hot paths compared with Synapse's: the same inputs, in one run."""
