"""Lambda's event source mappings and schedules: they invoke the functions that no client's request
invokes.
"""
