"""The parts of the stack: functions, API, tables, queues, edge, monitoring."""
