"""What sealed columns cannot answer, in many forms: a function of the models in places.py for each."""

from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    LargeBinary,
    String,
    Table,
    TypeDecorator,
    all_,
    any_,
    bindparam,
    case,
    cast,
    column,
    delete,
    desc,
    except_,
    extract,
    func,
    insert,
    literal,
    literal_column,
    or_,
    over,
    select,
    table,
    text,
    try_cast,
    tuple_,
    type_coerce,
    union,
    union_all,
    update,
    values,
    within_group,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, array
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement, GenericFunction

from sqlalchemy_cmk import EncryptedType
from tests.hooks.places import distinct_on


class Shout(ColumnElement[Any]):
    """An element of an application's own that tells nothing of its operands."""

    inherit_cache = False

    def __init__(self, operand: Any) -> None:
        self.operand = operand


class Whisper(FunctionElement[Any]):
    inherit_cache = True
    name = "whisper"


class count(GenericFunction[Any]):
    """An application's own function of a known name."""

    package = "mine"
    inherit_cache = True


@compiles(Shout)
def _shout(element: Any, compiler: Any, **kw: Any) -> str:
    return f"lower({compiler.process(element.operand, **kw)})"


@compiles(Whisper)
def _whisper(element: Any, compiler: Any, **kw: Any) -> str:
    return f"lower({compiler.process(element.clauses, **kw)})"


class Wrapper(TypeDecorator[Any]):
    impl = EncryptedType
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(String(40))


def lightweight(*names: str) -> Any:
    return table("people", *(column(name) for name in names))


ORDERS: dict[str, Any] = {
    "a column": lambda p, a: select(p.id).order_by(p.secret),
    "a deterministic column": lambda p, a: select(p.id).order_by(p.email),
    "descending": lambda p, a: select(p.id).order_by(p.secret.desc()),
    "nulls last": lambda p, a: select(p.id).order_by(p.secret.desc().nulls_last()),
    "a name": lambda p, a: select(p.id, p.secret).order_by("secret"),
    "a name that is not selected": lambda p, a: select(p.id).order_by("secret"),
    "a name, descending": lambda p, a: select(p.id, p.secret).order_by(desc("secret")),
    "a label's name": lambda p, a: select(p.secret.label("x")).order_by("x"),
    "a label": lambda p, a: select(label := p.secret.label("x")).order_by(label),
    "a number": lambda p, a: select(p.id, p.secret).order_by(text("2")),
    "a literal column": lambda p, a: select(p.id, p.secret).order_by(literal_column("secret")),
    "text": lambda p, a: select(p.id, p.secret).order_by(text("people.secret DESC")),
    "the stored bytes": lambda p, a: select(p.id).order_by(type_coerce(p.secret, LargeBinary)),
    "a cast": lambda p, a: select(p.id).order_by(cast(p.secret, LargeBinary).desc()),
    "a coalesce": lambda p, a: select(a.id).order_by(func.coalesce(a.note, a.memo)),
    "a subquery's column": lambda p, a: select((s := select(p.secret).subquery()).c.secret).order_by(
        s.c.secret
    ),
    "in a subquery": lambda p, a: select(select(p.id).order_by(p.secret).limit(1).subquery()),
    "a union": lambda p, a: union_all(select(p.email), select(a.email)).order_by("email"),
    "a union's number": lambda p, a: union_all(select(p.email), select(a.email)).order_by(text("1")),
    "in a window": lambda p, a: select(over(func.row_number(), order_by=p.secret)),
    "a name in a window": lambda p, a: select(p.secret, over(func.row_number(), order_by="secret")),
    "in an aggregate": lambda p, a: select(func.array_agg(aggregate_order_by(p.id, p.secret))),
    "within a group": lambda p, a: select(within_group(func.percentile_disc(0.5), p.secret)),
    "a name within a group": lambda p, a: select(
        p.secret, within_group(func.an_aggregate(0.5), desc("secret"))
    ),
    "the mode": lambda p, a: select(func.mode().within_group(p.email)),
}

GROUPS: dict[str, Any] = {
    "GROUP BY": lambda p, a: select(func.count()).group_by(p.secret),
    "GROUP BY a name": lambda p, a: select(p.secret, func.count()).group_by("secret"),
    "GROUP BY a label": lambda p, a: select(p.secret.label("x"), func.count()).group_by("x"),
    "GROUP BY the stored bytes": lambda p, a: select(func.count()).group_by(
        type_coerce(p.secret, LargeBinary)
    ),
    "GROUP BY ROLLUP": lambda p, a: select(func.count()).group_by(func.rollup(p.secret)),
    "HAVING": lambda p, a: select(p.id).group_by(p.id).having(p.secret > "a"),
    "DISTINCT": lambda p, a: select(p.secret).distinct(),
    "DISTINCT ON": lambda p, a: distinct_on(select(p.id), p.secret),
    "DISTINCT ON a name": lambda p, a: distinct_on(select(p.id, p.secret), "secret"),
    "UNION": lambda p, a: union(select(p.secret), select(p.secret)),
    "EXCEPT": lambda p, a: except_(select(p.secret), select(p.secret)),
    "PARTITION BY": lambda p, a: select(over(func.count(), partition_by=p.secret)),
    "PARTITION BY a name": lambda p, a: select(p.secret, over(func.count(), partition_by="secret")),
    "count of distinct": lambda p, a: select(func.count(p.secret.distinct())),
    "a row of values": lambda p, a: select(p.id).where(tuple_(p.id, p.secret).in_([(1, "x")])),
}

COMPARISONS: dict[str, Any] = {
    "a plain column on the right": lambda p, a: p.email == p.name,
    "a plain column on the left": lambda p, a: p.name == p.email,
    "another context": lambda p, a: p.email == p.city,
    "another owner": lambda p, a: p.email == p.login,
    "another algorithm": lambda p, a: p.email == p.mixed,
    "another algorithm on the left": lambda p, a: p.mixed == p.email,
    "a parameter of another context": lambda p, a: p.email == bindparam(None, "x", type_=p.city.type),
    "a literal of its own type": lambda p, a: p.email == literal("PLAIN"),
    "a literal on the left": lambda p, a: literal("PLAIN") == p.email,
    "a list with a literal": lambda p, a: p.email.in_([literal("PLAIN"), "x"]),
    "a list with a plain column": lambda p, a: p.email.in_([p.name]),
    "a list with another context": lambda p, a: p.email.in_([p.city]),
    "a literal in a list of columns": lambda p, a: literal("PLAIN").in_([p.email]),
    "in_ a SELECT of another context": lambda p, a: p.email.in_(select(p.city)),
    "in_ a SELECT of plain values": lambda p, a: p.email.in_(select(p.name)),
    "in_ a SELECT of randomized values": lambda p, a: p.email.in_(select(p.secret)),
    "plain in_ a SELECT of sealed values": lambda p, a: p.name.in_(select(p.email)),
    "randomized in_ a SELECT": lambda p, a: p.secret.in_(select(p.email)),
    "a scalar subquery of another context": lambda p, a: p.email == select(p.city).scalar_subquery(),
    "a scalar subquery on the left": lambda p, a: select(p.email).scalar_subquery() == p.name,
    "ANY of a plain SELECT": lambda p, a: p.email == any_(select(p.name).scalar_subquery()),
    "ALL of another context": lambda p, a: p.email == all_(select(p.city).scalar_subquery()),
    "ANY of a plain array": lambda p, a: p.email == any_(array([p.name])),
    "rows of another context": lambda p, a: tuple_(p.id, p.email) == tuple_(p.id, p.city),
    "rows of a plain column": lambda p, a: tuple_(p.id, p.name).in_(select(p.id, p.email)),
    "is_distinct_from a plain column": lambda p, a: p.email.is_distinct_from(p.name),
    "a boolean constant": lambda p, a: p.email.is_(True),
    "a cast value": lambda p, a: p.email == cast(literal("PLAIN"), p.email.type),
    "a coerced column": lambda p, a: p.email == type_coerce(p.name, p.email.type),
    "a function": lambda p, a: p.email == func.lower("PLAIN"),
    "the stored bytes": lambda p, a: p.email == type_coerce(p.second, LargeBinary),
    "text": lambda p, a: p.email == text("name"),
    "a CASE of values": lambda p, a: case({"PLAIN": 1}, value=p.email, else_=0) == 1,
    "a randomized CASE of values": lambda p, a: case((p.secret, 1), value=p.secret, else_=0) == 1,
    "a condition": lambda p, a: p.email,
    "a condition in OR": lambda p, a: or_(p.email, p.id == 1),
}

USES: dict[str, Any] = {
    **{
        f"{name}()": lambda p, a, name=name: select(getattr(func, name)(p.email))
        for name in (
            *(
                "min",
                "max",
                "sum",
                "lower",
                "upper",
                "length",
                "hex",
                "json_agg",
                "jsonb_agg",
                "array_length",
            ),
            *("json_array", "json_build_array", "group_concat", "quote", "md5", "unhex", "typeof", "to_json"),
            *("row_to_json", "encode", "first_value", "last_value", "lag", "lead", "greatest", "least"),
            *(
                "unnest",
                "any_value",
                "bool_and",
                "xmlelement",
                "array_length",
                "convert_from",
                "never_heard_of",
                "cube",
            ),
        )
    },
    "string_agg": lambda p, a: select(func.string_agg(p.email, literal(","))),
    "aggregate_strings": lambda p, a: select(func.aggregate_strings(p.email, ",")),
    "concat": lambda p, a: select(func.concat(p.email, "x")),
    "json_object": lambda p, a: select(func.json_object("k", p.email)),
    "a function with the column's type": lambda p, a: select(func.max(p.email, type_=p.email.type)),
    "a function that says it returns sealed values": lambda p, a: select(
        func.lower("PLAIN", type_=p.email.type)
    ),
    "a window function with the column's type": lambda p, a: select(
        func.lag(p.email, type_=p.email.type).over(order_by=p.id)
    ),
    "a function in a package": lambda p, a: select(func.mine.coalesce(p.email, p.second)),
    "an application's function of a known name": lambda p, a: select(func.mine.count(p.email)),
    "an application's function": lambda p, a: select(Whisper(p.email)),
    "an application's element": lambda p, a: select(Shout(p.email)),
    "an application's element over a label": lambda p, a: select(Shout(p.email.label("x"))),
    "an application's element in a criterion": lambda p, a: select(p.id).where(Shout(p.email) == "x"),
    "a function of an array": lambda p, a: select(
        func.array_to_string(func.array_agg(p.email), literal(","))
    ),
    "unnest of an array": lambda p, a: select(func.unnest(func.array_agg(p.email))),
    "an array with a plain value": lambda p, a: select(array([p.email, literal("PLAIN")])),
    "an array of two contexts": lambda p, a: select(array([p.email, p.city])),
    "an array's item": lambda p, a: select(func.array_agg(p.email)[1]),
    "array_agg of another type": lambda p, a: select(func.array_agg(p.email, type_=String)),
    "a row": lambda p, a: select(tuple_(p.id, p.email)),
    "a whole row": lambda p, a: select(func.row_to_json(p.__table__.table_valued())),
    "a table of values": lambda p, a: select(
        func.json_each(p.email).table_valued(column("value", p.email.type))
    ),
    "values": lambda p, a: select(values(column("v", p.email.type), name="v").data([("x",)])),
    "extract": lambda p, a: select(extract("year", p.email)),
    "collate": lambda p, a: select(p.email.collate("C")),
    "a cast": lambda p, a: select(cast(p.email, String)),
    "try_cast": lambda p, a: select(try_cast(p.email, Integer)),
    "type_coerce": lambda p, a: select(type_coerce(p.email, String)),
    "type_coerce in a criterion": lambda p, a: select(p.id).where(type_coerce(p.email, String) == "PLAIN"),
    "type_coerce to another context": lambda p, a: select(type_coerce(p.email, p.city.type)),
    "type_coerce to a wrapper": lambda p, a: select(type_coerce(p.email, Wrapper())),
    "type_coerce of a plain column": lambda p, a: select(type_coerce(p.name, p.email.type)),
    "a cast of a plain value": lambda p, a: select(cast("PLAIN", String).cast(p.email.type)),
    "a label of another type": lambda p, a: select(p.email.label("x").op("||")("y")),
    "ifnull without a type": lambda p, a: select(func.ifnull(a.note, a.memo)),
    "ifnull without a type beside a typed one": lambda p, a: select(
        type_coerce(chosen := func.ifnull(a.note, a.memo), a.note.type), func.lower(chosen)
    ),
    "a CASE without a type of plain values": lambda p, a: select(
        type_coerce(func.ifnull("PLAIN", "x"), p.email.type)
    ),
    "a choice in another context": lambda p, a: select(
        type_coerce(func.ifnull(a.note, a.memo), p.email.type)
    ),
    "nullif without a type": lambda p, a: select(func.nullif(p.email, p.second)),
    "nullif of randomized values": lambda p, a: select(func.nullif(a.note, a.memo, type_=a.note.type)),
    "nullif of a plain value": lambda p, a: select(
        func.nullif(p.email, literal("PLAIN"), type_=p.email.type)
    ),
    "coalesce with a plain value": lambda p, a: select(func.coalesce(p.secret, "PLAIN")),
    "coalesce with a plain column": lambda p, a: select(func.coalesce(p.secret, p.name)),
    "coalesce of two contexts": lambda p, a: select(func.coalesce(p.secret, p.other)),
    "coalesce of two owners": lambda p, a: select(func.coalesce(p.email, p.login)),
    "a CASE of two contexts": lambda p, a: select(case((p.id == 0, p.secret), else_=p.other)),
    "a CASE with a plain value": lambda p, a: select(case((p.id == 0, p.secret), else_="PLAIN")),
    "a CASE on a sealed value": lambda p, a: select(case((p.secret, 1), else_=0)),
    "a filter": lambda p, a: select(func.count().filter(p.secret)),
    "a row-bound array": lambda p, a: select(func.array_agg(p.bound)),
    "a row-bound coalesce": lambda p, a: select(p.id, func.coalesce(p.bound, p.bound)),
    "a row-bound CASE": lambda p, a: select(p.id, case((p.id > 0, p.bound))),
    "a join on it": lambda p, a: select(p.id).select_from(p.__table__.join(a.__table__, p.__table__.c.email)),
    "UNION ALL of two contexts": lambda p, a: union_all(select(p.secret), select(p.other)),
    "UNION ALL of plain and sealed": lambda p, a: union_all(select(p.name), select(p.secret)),
    "UNION ALL of sealed and plain": lambda p, a: union_all(select(p.secret), select(p.name)),
    "UNION ALL of NULL and sealed": lambda p, a: union_all(select(literal(None)), select(p.secret)),
    "UNION ALL with tenants in two places": lambda p, a: union_all(
        select(p.clinic, p.name, p.email), select(a.id, a.clinic, a.email)
    ),
    "a union in a subquery": lambda p, a: select(union_all(select(p.secret), select(p.other)).subquery()),
    "a union in a CTE": lambda p, a: select(select(p.secret).union_all(select(p.name)).cte()),
    "text with a randomized parameter": lambda p, a: text("SELECT :s").bindparams(
        bindparam("s", "PLAIN", type_=p.secret.type)
    ),
    "text with another parameter": lambda p, a: select(p.id).where(
        text("lower(:s) = 'x'").bindparams(bindparam("s", "x", type_=p.secret.type))
    ),
    "a DELETE": lambda p, a: delete(p).where(func.lower(p.email) == "x"),
    "a DELETE with a condition": lambda p, a: delete(p).where(p.email),
    "RETURNING": lambda p, a: update(p).where(p.id == 0).values(name="x").returning(func.max(p.email)),
    "a sealed value in a plain column": lambda p, a: update(p).where(p.id == 0).values(name=p.secret),
    "a sealed parameter in a plain column": lambda p, a: (
        update(p).where(p.id == 0).values(name=literal("x", p.email.type))
    ),
    "an INSERT of sealed values in plain columns": lambda p, a: insert(
        Table("plain", p.metadata, Column("reason", String(40)), extend_existing=True)
    ).from_select(["reason"], select(p.secret)),
    "a lightweight UPDATE": lambda p, a: update(table("people", column("secret", p.secret.type))).values(
        secret="PLAIN"
    ),
    "a lightweight UPDATE of a plain value": lambda p, a: update(
        table("people", column("secret", p.secret.type))
    ).values(secret=literal("PLAIN")),
    "a lightweight INSERT": lambda p, a: insert(
        table("people", column("id"), column("clinic"), column("secret", p.secret.type))
    ).values(id=7, clinic="acme", secret="PLAIN"),
    "lightweight INSERTs": lambda p, a: insert(
        table("people", column("id"), column("clinic"), column("secret", p.secret.type))
    ).values([{"id": 7, "clinic": "acme", "secret": "PLAIN"}]),
    "an UPDATE beside": lambda p, a: update(a).where(a.email == p.name).values(memo="x"),
}

REFUSED: dict[str, Any] = {
    **{f"ORDER BY {what}": make for what, make in ORDERS.items()},
    **{f"equal values: {what}": make for what, make in GROUPS.items()},
    **{
        f"compared: {what}": lambda p, a, make=make: select(p.id).where(make(p, a))
        for what, make in COMPARISONS.items()
    },
    **{f"used: {what}": make for what, make in USES.items()},
}
