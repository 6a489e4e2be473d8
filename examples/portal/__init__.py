"""The customers' side: their vaults, and the portal in which they switch their keys off."""
