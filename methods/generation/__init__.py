"""What methods share that train a network on images which a generator learns to make."""
