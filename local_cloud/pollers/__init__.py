"""Lambda's event source mappings and schedules: they invoke the functions that aren't invoked by clients'
requests.
"""
