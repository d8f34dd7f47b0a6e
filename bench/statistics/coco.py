"""What COCO's 12 numbers of a detector are called here."""

NUMBERS = (
    *("map", "map_50", "map_75", "map_small", "map_medium", "map_large"),
    *("ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"),
)
"""In COCO's order: mean average precisions, then average recalls."""

LARGEST = 1e10
"""Square pixels, where COCO's range of objects of all sizes ends."""
