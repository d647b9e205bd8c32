"""Lambda's event source mappings and schedules: what calls the functions that no client calls."""
