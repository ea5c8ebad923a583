"""What a search's winner is worth: chance, luck of many trials, overfitting.

significance     one Sharpe ratio, the best of many, p-values
central_moments  mean to kurtosis, merged across chunks
overfitting      cross-validation: how often the best of one half of the sessions fails in the other
splits           the halves
windows          blocks of sessions; walk-forward windows over them

Pure numbers in, numbers out. This file imports nothing.
"""
