"""The assembly of a sync's answer: `assembling` puts it together, `rooms` adds the sections of rooms."""
