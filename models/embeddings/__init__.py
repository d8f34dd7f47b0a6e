"""Tables of embeddings, in whose place a few centroids and which of them are stored."""
