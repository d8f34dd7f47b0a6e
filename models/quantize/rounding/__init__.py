"""How a layer's weight becomes low-bit: one file a way, found by name."""
