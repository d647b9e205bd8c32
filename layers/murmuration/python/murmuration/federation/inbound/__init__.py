"""Events that other servers made: judged by where they stand in the graph, and kept."""
