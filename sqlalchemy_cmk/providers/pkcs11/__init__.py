"""KEKs in HSMs that are reached over PKCS#11; needs the extra ``[pkcs11]``."""
