"""One cell from its configuration to its result."""
