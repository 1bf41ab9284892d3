"""MySQL-family servers: catalog, snapshot chunks and result sets here, the log in `binlog`."""
