"""Sinks: one dialect per file behind one contract, all under one conformance suite."""
