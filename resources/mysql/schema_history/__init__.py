"""What captured tables looked like at every place of a log that does not say so itself."""
