"""When: sensors that look at sources and ask for runs."""
