"""The steps that processes take, and which errors each may end in besides those of faults."""

from __future__ import annotations

from tests.simulation import actors, conversions, life, rekeying
from tests.simulation.step import Step

# Where no row of it was ever written.
NO_KEYS = r"^no tenant '\w+' has keys here(, nor rows to seal in \w+)?(: did you mean '\w+'\?)?$"
# Two workers of one job: the later one goes on.
TAKEN_OVER = r"^run \w+ was taken over by another process$"
# Writers that were begun before have not ended.
WRITING = r"^a transaction has been writing"

CONVERTED = (
    r"is sealed already, in another way$",
    r"is sealed with deterministic=",
    r": phase '(copy|swap)' comes after phase 'expand'$",
)
CONVERT = Step("convert", conversions.convert, 2, CONVERTED)
WRITE = Step("write", actors.write, 12)

STEPS = (
    WRITE,
    Step("read", actors.read, 8),
    Step("find", actors.find, 2),
    Step("visit", conversions.visit, 5),
    CONVERT,
    Step("turn_back", conversions.turn_back, 1, CONVERTED),
    Step("warm", life.warm, 1),
    Step("assign", life.assign, 2),
    Step("add_wrapping", life.add_wrapping, 1, (NO_KEYS, r"has no DEK yet: call keyring\.warm first$")),
    Step("drop_wrapping", life.drop_wrapping, 1, (NO_KEYS, r"is the last KEK of DEK")),
    Step("rotate_dek", life.rotate_dek, 3, (NO_KEYS,)),
    Step("rewrap", life.rewrap, 1, (NO_KEYS,)),
    Step("drop_retired", rekeying.drop, 3, (NO_KEYS, WRITING)),
    Step("rekey", rekeying.rekey, 3, (NO_KEYS, TAKEN_OVER)),
    Step("renew", rekeying.renew, 2, (NO_KEYS, TAKEN_OVER, WRITING)),
    Step("renew_patiently", rekeying.renew_patiently, 4, (NO_KEYS, TAKEN_OVER, WRITING)),
    Step("renew_in_use", rekeying.renew_in_use, 2, (NO_KEYS, TAKEN_OVER, WRITING)),
    Step("set_grace", life.set_grace, 0.5, (NO_KEYS,)),
    Step("rotate_record_key", life.rotate_record_key, 0.5),
    Step("shred", life.shred, 0.3, (NO_KEYS,)),
    Step("notice_rotations", life.notice_rotations, 0.5),
    Step("forget", life.forget, 0.5),
    Step("look", life.look, 0.5),
)
