"""What happens to one cell, and what comes of many."""

__version__ = "0.1.0"
