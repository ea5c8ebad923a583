"""The results database: SQLite by default, MySQL or MariaDB where ``DB_ENDPOINT`` says so.

connection   ``open_store``: connects, creates what is missing, refuses tables of another shape
tables       the tables and the view, built from :mod:`orbresearch.schema`
shape        what an existing database holds, compared with what it should
writer       ``register_run``, ``persist_chunk``, ``persist_chunks``: rows and their ledger row in one transaction
keeping      what a run keeps: its best rows and its summaries, under a lock
bulk         rows into the table: loaded from memory where the server allows it, else inserted
literals     a batch as tuples (SQLite), as SQL text or as the lines of LOAD DATA (MySQL)
records      one run's facts, between Python values and columns
query      one query for rows of results, from what a person asks
blocks     a query's rows as Arrow, block by block
reader       DataFrames and dicts; ``fetch`` for one's own SQL

Engines, and what the drivers say in words: :mod:`orbresearch.sql`. This file imports nothing, so that
``import orbresearch`` loads no driver.
"""
