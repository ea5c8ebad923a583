"""What the numbers are and mean.

backtests  day  sizing      one backtest with its trades, one of its days, an account that trades it
performance  grids  best    columns of many backtests, in this process or a worker
pooled                      the same of means over many tickers
moments  evidence           what a verdict needs of a chunk of backtests
luck  walkforward  selection/    the Reality Check, choosing the best of the past, statistics of selection
verdict  telling            what it all comes to, in words
pictures/                   and as pictures
"""
