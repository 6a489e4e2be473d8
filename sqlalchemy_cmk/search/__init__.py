"""Search indexes of sealed columns."""
