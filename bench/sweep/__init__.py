"""Many cells: what became of each job, and what those to come will take."""
