"""A market that does not exist and in which nothing can be earned: for first steps, tests and benchmarks.

sessions   ``orb.synthetic_sessions``: one-second prices
warehouse  ``orb.synthetic_warehouse``: tables of option rows and daily closes
market     the days of a ticker, and how they move with the market's
greeks     the option rows of a day
tables     the tables: made, asked and filled
literals   rows as SQL text, lines or tuples
"""
