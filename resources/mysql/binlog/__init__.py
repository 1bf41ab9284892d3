"""The binary log, decoded: dump connection -> events -> row images -> Arrow slices."""
