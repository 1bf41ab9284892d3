"""Every type on real servers: four ways to read a value, and what the server itself prints.

`columns*.py` say, per type, how to declare a column, which literals to put in, what Arrow must
hold and how the server's own text of a value is to be read; `tables.py` draws tables from them;
`readings.py` reads a table each way; `library.py` is `mysql-replication` and where it is wrong.
"""
