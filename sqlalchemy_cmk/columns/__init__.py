"""One sealed column: its options, its type, what opens and seals its values, whose rows they are."""

from sqlalchemy_cmk.columns.declared import wrong_declarations
from sqlalchemy_cmk.keys.declarations import checks

checks.append(wrong_declarations)
