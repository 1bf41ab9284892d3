"""Fuzzing: damaged bytes of real servers, given to the decoders in processes that may die.

`python -m tests.fuzz` runs it, `python -m tests.fuzz.record` makes the corpus anew.
"""
