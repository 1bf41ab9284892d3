"""Compiled loops over bytes of the MySQL protocols; nothing here knows of sockets or servers."""
