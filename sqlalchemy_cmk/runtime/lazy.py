"""Package faces that import a public name's module only when the name is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(
    package: str, homes: Mapping[str, str], extras: Mapping[str, str] | None = None
) -> Callable[[str], object]:
    """Return a ``__getattr__`` (PEP 562) for a package's ``__init__``.

    Args:
        package: the package, its ``__name__``.
        homes: by public name, the module inside the package that defines it.
        extras: by public name, the extra that installs what it imports.
    """

    def __getattr__(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(import_module(f"{package}.{homes[name]}"), name)
        except ModuleNotFoundError as error:
            extra = (extras or {}).get(name)
            if extra is None or str(error.name).startswith("sqlalchemy_cmk"):
                raise
            told = f"{name} needs {error.name}: run pip install 'sqlalchemy-cmk[{extra}]'"
            raise ModuleNotFoundError(told, name=error.name) from None

    return __getattr__
