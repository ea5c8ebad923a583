"""Raw prices, and the cache beside them.

load          ``orb.load_sessions``: from a source to sessions, through the cache
files         Parquet, CSV, folders, QuantConnect's layout, DataFrames
warehouse     a MySQL server or SQLite file with a row per option and moment
synthetic     a market that does not exist
cache         cached_data/: observations as Parquet, a file per ticker and session
screening     what a ticker is like: its correlation with the market, its implied volatility
at_the_money  implied volatility at the money, of many tickers at a moment
"""
