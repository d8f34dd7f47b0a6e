"""What is written whole, checked by a checksum, locked and kept to be used again."""
