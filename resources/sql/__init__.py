"""Insert-only tables of any SQL database, read by polling."""
