"""Files become a typed configuration, and a sweep the list of its jobs."""
