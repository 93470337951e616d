"""From policies to what the kernel judges by: sets of bitmaps, laid out for its arena and tables."""
