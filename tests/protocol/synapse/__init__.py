"""What Synapse made of events, recorded by tests/interop/record_synapse_events.py, we make of them too."""
