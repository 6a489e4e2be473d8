"""The errors form one tree, none is wrapped by SQLAlchemy, and each one survives pickling."""

import copy
import importlib
import inspect
import pickle
import pkgutil
import traceback
from typing import Any

import pytest
from sqlalchemy import String, TypeDecorator, create_engine, literal, select
from sqlalchemy.exc import DontWrapMixin

import sqlalchemy_cmk
from sqlalchemy_cmk import errors
from sqlalchemy_cmk.errors import CmkError, InvalidValue, KeyRevoked, TenantMismatch, UnsupportedOperation

ERRORS = [
    one
    for one in vars(errors).values()
    if inspect.isclass(one) and issubclass(one, BaseException) and one.__module__ == errors.__name__
]
each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)


def test_every_error_is_part_of_one_tree_under_cmk_error() -> None:
    assert CmkError in ERRORS and len(ERRORS) > 8
    assert [one for one in ERRORS if not issubclass(one, CmkError)] == []


@each_error
def test_an_error_is_public_and_says_what_it_means(error: type[CmkError]) -> None:
    assert error.__name__ in sqlalchemy_cmk.__all__
    assert getattr(sqlalchemy_cmk, error.__name__) is error
    assert "__doc__" in vars(error) and error.__doc__


@each_error
def test_an_error_is_never_wrapped_in_one_that_shows_the_parameters(error: type[CmkError]) -> None:
    class Raises(TypeDecorator[str]):
        impl = String
        cache_ok = True

        def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
            raise error("the reason")

    assert issubclass(error, DontWrapMixin)
    with create_engine("sqlite://").connect() as connection, pytest.raises(error) as caught:
        connection.execute(select(literal("SECRET", Raises())))
    assert type(caught.value) is error
    assert "SECRET" not in "".join(traceback.format_exception_only(caught.value))


@each_error
def test_an_error_comes_out_of_a_pickle_as_it_went_in(error: type[CmkError]) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(error("the reason"), protocol))
        assert type(back) is error
        assert str(back) == "the reason" and back.args == ("the reason",)


def errors_of_the_package() -> set[type[CmkError]]:
    """Every error that the library defines anywhere."""
    for module in pkgutil.walk_packages(sqlalchemy_cmk.__path__, "sqlalchemy_cmk."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, waiting = set(), [CmkError]
    while waiting:
        one = waiting.pop()
        found.add(one)
        waiting += [each for each in one.__subclasses__() if each.__module__.startswith("sqlalchemy_cmk.")]
    return found


def test_every_error_that_the_library_defines_can_be_copied() -> None:
    """A read that was refused raises a copy of the error for each further value of the same DEK."""
    found = errors_of_the_package()
    assert found > set(ERRORS)
    for error in found:
        back = copy.copy(error("the reason"))
        assert type(back) is error and str(back) == "the reason"


def test_a_revoked_key_names_its_tenant_in_this_process_and_in_another() -> None:
    revoked = KeyRevoked("the KEK is disabled", "acme")
    assert (revoked.tenant, str(revoked)) == ("acme", "the KEK is disabled")
    assert KeyRevoked("the KEK is disabled").tenant is None
    assert pickle.loads(pickle.dumps(revoked)).tenant == "acme"
    assert pickle.loads(pickle.dumps(KeyRevoked("m", tenant=""))).tenant == ""


def test_an_error_about_a_value_or_an_operation_is_also_pythons_own() -> None:
    assert issubclass(InvalidValue, ValueError)
    assert issubclass(UnsupportedOperation, TypeError)
    assert issubclass(TenantMismatch, errors.TenantRequired)
