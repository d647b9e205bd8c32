"""The only layer that uses AWS (through `aws`): tables, items, queues, objects, parameters."""
