"""What methods share that train on the images of a generator."""
