"""SQL servers: the engines through which the results database and the warehouse of prices are reached.

engines      MySQL and MariaDB with strict SQL, time limits, TLS
loading      rows into a table by LOAD DATA LOCAL INFILE, or a refusal
loadlocal    connections that give a server no file but the rows it was offered
select       one's own queries, read-only
failures     what the drivers say, as errors that name the remedy

This file imports nothing, so that ``import orbresearch`` loads no driver.
"""
