"""What proves that the key tables hold what was written there: check values, record keys, manifests."""
