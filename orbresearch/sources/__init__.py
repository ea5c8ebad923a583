"""Raw prices: files, DataFrames, a synthetic market; and the cache beside them."""
