"""The shared words as types. What goes out of here is immutable and knows no driver."""
