"""What a cell is, its result, and the folder of results."""
