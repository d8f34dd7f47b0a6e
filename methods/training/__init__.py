"""Training a network at one or several bit-widths."""
