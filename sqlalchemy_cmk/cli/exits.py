"""The exit codes of ``cmk``, and the errors that they stand for."""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy_cmk.errors import ApprovalRequired, CmkError, ConfigurationError, KeyRevoked, KeyUnavailable


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FOUND = 1
    USAGE = 2
    REVOKED = 3
    UNAVAILABLE = 4
    CONFIGURATION = 5
    OTHER = 6
    UNPROVEN = 7
    APPROVAL = 8
    STOPPED = 130


EPILOG = """
\b
Exit codes:
  0    done
  1    something was found: a problem by doctor, a broken audit trail,
       a certificate that does not verify, a rewrap or assign that failed
       for some tenant, a retired DEK that was kept, rows that a rekey
       could not change
  2    the command line is wrong, or a question was not confirmed
  3    KeyRevoked: a KEK's owner has taken access away, or the tenant
       was locked or shredded
  4    KeyUnavailable: a KEK or the key tables cannot be reached now
  5    ConfigurationError: set up incorrectly, or unknown to the keyring, or
       the keyring cannot be loaded
  6    any other error of the library, such as a damaged key
  7    certificate verify: it is intact, and no key was given that says who
       has issued it
  8    ApprovalRequired: a second person has to approve it, by cmk approve
  130  stopped by Ctrl-C

The keyring's module is searched for in the current directory first.
"""

_CODES: tuple[tuple[type[CmkError], ExitCode], ...] = (
    (ApprovalRequired, ExitCode.APPROVAL),
    (KeyRevoked, ExitCode.REVOKED),
    (KeyUnavailable, ExitCode.UNAVAILABLE),
    (ConfigurationError, ExitCode.CONFIGURATION),
)


def exit_code(error: CmkError) -> ExitCode:
    """Return the exit code for an error."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return ExitCode.OTHER
