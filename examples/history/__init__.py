"""The clinic before it had this library, and after: what the history in ``migrations`` is run on."""
