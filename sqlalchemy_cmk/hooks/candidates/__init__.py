"""Candidates: rows that a search index finds, and that are compared again once they are opened.

Where rows can be dropped, ``places.py`` says; ``rechecking.py`` drops them as they are fetched, and
``pages.py`` has enough of them fetched for a LIMIT.
"""

from sqlalchemy_cmk.hooks.candidates.fetching import drop_candidates
from sqlalchemy_cmk.hooks.candidates.pages import note_sent, widen
from sqlalchemy_cmk.hooks.candidates.places import refuse_candidates

__all__ = ["drop_candidates", "note_sent", "refuse_candidates", "widen"]
