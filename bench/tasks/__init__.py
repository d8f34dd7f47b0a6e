"""What networks do with an image: the item, the number, its interval and its comparison."""
