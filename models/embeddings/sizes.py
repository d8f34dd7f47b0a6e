"""What a table of embeddings takes when its rows are codes, as Chen et al., ICML 2020, count it.

A table has `rows` (words, classes) of `columns` numbers each. A row is cut into `parts`, and a part
becomes one of `centroids`. Stored are which one, and the centroids as 32-bit numbers: a set of them
for each part, or one that all parts share.
"""

from math import log2

_NUMBER_BITS = 32


def compression_ratio(
    rows: int, columns: int, parts: int, centroids: int, *, shared: bool = False
) -> float:
    """Return how many times smaller codes and centroids are than the table in float.

    32 n d / (n D log2 K + 32 K d) for n rows, d columns, D parts and K centroids, with 32 K d / D
    in the second place where they are shared. Codes of a K that is no power of two count as log2 K
    bits, which no file has; `stored_bits` is what one has.
    """
    codes = rows * parts * log2(centroids)
    numbers = centroids * columns / (parts if shared else 1)
    return _NUMBER_BITS * rows * columns / (codes + _NUMBER_BITS * numbers)


def stored_bits(
    rows: int, columns: int, parts: int, centroids: int, *, shared: bool = False
) -> int:
    """Return what codes of whole bits and centroids take; parts divide columns."""
    codes = rows * parts * (centroids - 1).bit_length()
    return codes + _NUMBER_BITS * centroids * columns // (parts if shared else 1)


def affordable_centroids(
    rows: int, columns: int, parts: int, bits: int, *, shared: bool = False
) -> int:
    """Return the largest power of two of centroids that take at most `bits` a number of the table
    with their codes, and are at most as many as the pieces that have them in common; 0 where not
    even two do.
    """
    count = 1 << ((rows * parts if shared else rows).bit_length() - 1)
    budget = bits * rows * columns
    while count > 1 and stored_bits(rows, columns, parts, count, shared=shared) > budget:
        count //= 2
    return count if count > 1 else 0
