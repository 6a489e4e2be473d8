"""A key provider of one's own, and the small service that it talks to."""
