"""The demo, and pipeline files to start from."""
