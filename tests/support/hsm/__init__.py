"""Real tokens for the tests: SoftHSM 2 and NSS, with private tokens in temporary folders."""

PIN = "pin-of-the-tests-4711"


class TokenSoftwareMissing(Exception):
    """The software of a token is not on this machine."""
