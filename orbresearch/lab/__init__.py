"""The lab: a Dask cluster with Redis and the store, what it is given to do, and where a run stands.

(The folder is not called `runs`, since `orbresearch.runs()` is a function that users call.)

==========  ==========================================================================================
lab         a cluster, Redis and the store together: what a notebook holds in its hand
connection  to a cluster: one started here, or a running one
members     a pool's tickers in a worker, one after the other
hosted      a cluster in AWS: what must be right before anything is started there
cluster     a local Dask cluster with two queues; the scheduler of another process
plugin      in the scheduler: feeds chunks to workers and submits the reaper, so that a run outlives its notebook
worker      in a worker: computes a chunk from staged inputs
services    Redis and the store of one process
begin       before a run: stages what is missing, registers the run, compares the books with the ledger
reaper      moves results from Redis into the store
run         one run and the lab that computes it: progress, cancelling, trying again
stored      one run as the store holds it: rows, best, summaries, pictures
recompute   a stored run computed again, on a lab or in this process
judging     what verdicts are made of: luck, family, cross-validation, walk-forward
verdicts    verdicts on runs, in words
status      where a run stands, in words
results     rows of any runs, whole or page by page
archive     what the store knows without a lab: its runs, one of them, a query of one's own
progress    what a person sees of a run while it goes on
display     pictures of stored backtests
drawing     pictures of whole runs
batch       a notebook for each of many tickers
outcomes    what those came to, and a page that ranks them
preload     in every worker process of a local cluster: leaves Ctrl-C to whoever waits
daemon      ``python -m orbresearch up`` and ``down``
==========  ==========================================================================================
"""
