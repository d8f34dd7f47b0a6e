"""What the methods share that make images from a network's BatchNorm statistics."""
