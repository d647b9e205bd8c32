"""The only floor that speaks to AWS: tables, items, queues, objects, parameters."""
