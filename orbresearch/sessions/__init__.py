"""Trading sessions: the exchange calendar, observations, tick series, opening ranges, features, data quality."""
