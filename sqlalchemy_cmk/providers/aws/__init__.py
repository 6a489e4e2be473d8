"""KEKs in AWS KMS; needs the extra ``[aws]``."""

from sqlalchemy_cmk.providers.aws.provider import AwsKmsProvider

__all__ = ["AwsKmsProvider"]
