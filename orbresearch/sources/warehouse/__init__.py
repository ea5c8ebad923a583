"""The warehouse of prices: a MySQL server (or a SQLite file) that holds a row per option and moment.

warehouse    ``orb.Warehouse``: what a person asks of it
connections  several at once, lent for a query each, retried
places       its connections: a server that the environment names, or a file; nothing can be written through them
layout       its tables as they are: names, and the keys that decide how they are read
prices       one session of one ticker: one row per second, reduced on the server
collect      many sessions: several connections at once, retried, cached one by one
ranges       opening ranges of all tickers in one pass per session

This file imports nothing, so that ``import orbresearch`` loads no driver.
"""
