"""One training, in this process or shared by several, kept for all bit-widths."""
