"""Two people for what cannot be undone: requests that stand in the key tables until somebody else approves.

:class:`~.guard.Guard` stops an operation that needs a second person, and lets it pass once it was approved;
:class:`~.approvals.Approvals` is what people do with requests.
"""
