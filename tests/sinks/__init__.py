"""Sinks under the conformance suite, and what is theirs alone."""
