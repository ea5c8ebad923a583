"""What the numbers are and mean: backtests in this process, pictures."""
