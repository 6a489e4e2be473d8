"""The life of one clinic's keys, told in a terminal in half a minute: ``make tour``."""
