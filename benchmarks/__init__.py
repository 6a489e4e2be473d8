"""Ratios measured in one run, medians of several rounds. Run ``make bench``."""
