"""Prices in files: Parquet and CSV, packed or not, folders and zips of them, QuantConnect's layout; and DataFrames.

files         one file, its hash; what a zip or a folder holds
csvs          CSV in any dialect
columns       names, times in any unit or zone, numbers
tables        a file or DataFrame as a table, opened once, read ticker by ticker
folders       which files of a folder or zip a ticker is read from
quantconnect  QuantConnect's data folder
reading       from a ticker's tables to its rows
"""
