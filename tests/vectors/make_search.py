"""Makes ``search.json``, the known answers of search tokens: ``python -m tests.vectors.make_search``.

They are computed by the code that docs/search-format.md prints, which is written as the page reads and uses
nothing of the package. Only what ``fold`` makes of a text stands here.
"""

import datetime as dt
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("search.json")
PAGE = Path(__file__).parent.parent.parent / "docs/search-format.md"

DEK = bytes(range(0x40, 0x60))
INDIA = dt.timezone(dt.timedelta(hours=5, minutes=30))

FOLDED = (
    ("", ""),
    ("Zoë", "zoë"),
    ("ZOE\u0308", "zoë"),
    ("Straße", "strasse"),
    ("\uff21\uff22\uff11", "ab1"),
    ("ﬁlm №5", "film no5"),
    ("ᾼδης", "αιδησ"),
    ("İstanbul", "i\u0307stanbul"),
    ("Zürich \U0001f600", "zürich \U0001f600"),
    ("A\u0378\u0308B", "a\u0378\u0308b"),
    ("É\U0001fae8É", "é\U0001fae8é"),
)
TEXTS = ("", "a", "zo", "zoë", "müller", "an-na-lena schmidt", "李小龙", "\U0001f600\U0001f601\U0001f602")
PLAINTEXTS = (b"", b"x", "zoë".encode(), b"\xce\x00\x01\x00\x00", bytes(range(100)))

DOMAINS: dict[str, tuple[Any, Any, Any, tuple[Any, ...]]] = {
    "int": (-5, 300, 1, (-5, 0, 300)),
    "int, in steps": (100, 1_000_000, 50, (100, 150, 1_000_000)),
    "date": (
        *(dt.date(1900, 1, 1), dt.date(2100, 1, 1), dt.timedelta(days=1)),
        (dt.date(1900, 1, 1), dt.date(2000, 2, 29), dt.date(2100, 1, 1)),
    ),
    "datetime": (
        *(dt.datetime(1970, 1, 1), dt.datetime(2100, 1, 1), dt.timedelta(seconds=1)),
        (dt.datetime(1970, 1, 1), dt.datetime(2026, 11, 28, 1, 2, 3)),
    ),
    "datetime with a time zone": (
        *(dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(2100, 1, 1, tzinfo=INDIA)),
        *(dt.timedelta(microseconds=1), (dt.datetime(2026, 11, 28, 1, 2, 3, 4, INDIA),)),
    ),
    "Decimal": (
        *(Decimal("-10.50"), Decimal(1000), Decimal("0.01")),
        (Decimal("-10.5"), Decimal("0.1"), Decimal(7)),
    ),
}
SIZES = ((1, 2), (1, 4), (7, 2), (7, 4), (17, 4), (28, 2), (28, 4), (63, 4))


def printed() -> dict[str, Any]:
    """Return the names that the code of the page defines."""
    names: dict[str, Any] = {}
    for code in re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    ):
        exec(code, names)
    return names


class Maker:
    """The answers of the printed code."""

    def __init__(self) -> None:
        self.code = printed()
        lp = self.code["lp"]
        self.column = b"\x00" + lp(b"") + lp(b"patients") + lp(b"name")
        self.pinned = b"\x01" + lp("persönlich".encode())

    def key(self, kind: str, normalizer: str = "fold/1", **parameters: int | str) -> dict[str, str]:
        info = self.code["index_info"](kind, self.column, normalizer, parameters)
        return {"info": info.hex(), "key": self.code["index_key"](DEK, info).hex()}

    def keys(self) -> list[dict[str, Any]]:
        found = []
        for kind, context, normalizer, parameters in (
            ("exact", self.column, "identity/1", {"bits": 128}),
            ("exact", self.pinned, "fold/1", {"bits": 13}),
            ("prefix", self.column, "fold/1", {"min": 2, "max": 12, "width": 4}),
            ("suffix", self.column, "fold/1", {"width": 4, "max": 12, "min": 2}),
            ("range", self.column, "identity/1", {"arity": 4, **self.parameters("date")}),
            ("ordered", self.column, "identity/1", self.parameters("int")),
            ("ngram", self.column, "digits/12", {"size": 3}),
        ):
            info = self.code["index_info"](kind, context, normalizer, parameters)
            asked = {
                "kind": kind,
                "context": context.hex(),
                "normalizer": normalizer,
                "parameters": parameters,
            }
            key = self.code["index_key"](DEK, info).hex()
            tag = self.code["tag"](bytes.fromhex(key)).hex()
            found.append({"dek": DEK.hex(), **asked, "info": info.hex(), "key": key, "tag": tag})
        return found

    def exact(self) -> list[dict[str, Any]]:
        found = []
        for bits in (128, 256, 64, 13, 1):
            one = self.key("exact", bits=bits)
            for plaintext in PLAINTEXTS:
                token = self.code["exact_token"](bytes.fromhex(one["key"]), plaintext, bits).hex()
                found.append({**one, "bits": bits, "plaintext": plaintext.hex(), "token": token})
        return found

    def compound(self) -> list[dict[str, Any]]:
        lp = self.code["lp"]
        context = b"\x02\x02" + self.column + b"\x00" + lp(b"") + lp(b"patients") + lp(b"born")
        info = self.code["index_info"]("compound", context, "identity/1", {"bits": 128})
        key = self.code["index_key"](DEK, info)
        found = []
        for plaintexts in ((b"", b""), (b"x", b""), (b"", b"x"), (PLAINTEXTS[2], PLAINTEXTS[3])):
            token = self.code["compound_token"](key, plaintexts).hex()
            shown = {"context": context.hex(), "info": info.hex(), "key": key.hex()}
            found.append({**shown, "plaintexts": [one.hex() for one in plaintexts], "token": token})
        return found

    def prefix(self) -> list[dict[str, Any]]:
        found = []
        for options in ({"min": 2, "max": 12, "width": 4}, {"min": 1, "max": 3, "width": 1}):
            one = self.key("prefix", **options)
            for text in TEXTS:
                asked = (bytes.fromhex(one["key"]), text, *options.values())
                entry = {**one, **options, "text": text, "path": self.code["path"](*asked).hex()}
                if len(text) >= options["min"]:
                    low, high = self.code["path_bounds"](*asked)
                    entry |= {"low": low.hex(), "high": high.hex()}
                found.append(entry)
        return found

    def ngram(self) -> list[dict[str, Any]]:
        found = []
        for size in (3, 1):
            one = self.key("ngram", size=size)
            for text in TEXTS:
                tokens = self.code["ngram_tokens"](bytes.fromhex(one["key"]), text, size)
                found.append({**one, "size": size, "text": text, "tokens": tokens})
        return found

    def parameters(self, name: str) -> dict[str, int | str]:
        """Return the parameters of a domain."""
        least, most, step, _ = DOMAINS[name]
        values = name.partition(",")[0]
        if values == "datetime":
            values = "datetime without a time zone"
        places = 2 if values == "Decimal" else 0
        first, last = (self.code["ticks"](value, places) for value in (least, most))
        unit = {"date": dt.timedelta(days=1)}.get(values, dt.timedelta(microseconds=1))
        size = step // unit if isinstance(step, dt.timedelta) else self.code["ticks"](step, places)
        bits = ((last - first) // size).bit_length()
        return {"values": values, "places": places, "min": first, "step": size, "bits": bits}

    def numbers(self) -> list[dict[str, Any]]:
        found = []
        for name, (least, most, step, values) in DOMAINS.items():
            parameters = self.parameters(name)
            for value in values:
                ticks = self.code["ticks"](value, parameters["places"])
                number = (ticks - parameters["min"]) // parameters["step"]
                asked = {key: shown(one) for key, one in (("min", least), ("max", most), ("step", step))}
                found.append({**asked, "parameters": parameters, "value": shown(value), "number": number})
        return found

    def range(self) -> list[dict[str, Any]]:
        found = []
        for bits, arity in SIZES:
            one = self.key("range", "identity/1", bits=bits, arity=arity)
            for number in sorted({0, 1, 2**bits // 3, 2 ** (bits - 1), 2**bits - 1}):
                token = self.code["range_token"](bytes.fromhex(one["key"]), number, bits, arity)
                found.append({**one, "bits": bits, "arity": arity, "number": number, "token": token})
        return found

    def intervals(self) -> list[dict[str, Any]]:
        found = []
        for bits, arity in SIZES:
            one = self.key("range", "identity/1", bits=bits, arity=arity)
            last = 2**bits - 1
            middle = 2 ** (bits - 1)
            for low, high in (
                (0, last),
                (0, 0),
                (1, last),
                (middle // 3, middle + middle // 2),
                (middle - 1, middle),
            ):
                held = self.code["range_intervals"](bytes.fromhex(one["key"]), low, high, bits, arity)
                found.append(
                    {
                        **one,
                        **{"bits": bits, "arity": arity, "low": low, "high": high},
                        **{"intervals": held, "slots": self.slots(low, high, bits, arity)},
                    }
                )
        return found

    def slots(self, low: int, high: int, bits: int, arity: int) -> int:
        """Return how many intervals the subtrees of a range may become under the worst of keys."""
        count = 0
        below = bits
        children = {}
        for width in self.code["levels"](bits, arity):
            below -= width
            children[below] = 2**width
        for at, first, last in self.code["subtrees"](low, high, bits, arity):
            taken = last - first + 1
            count += min(taken, children.get(at, 1) - taken + 1)
        return count

    def ordered(self) -> list[dict[str, Any]]:
        found = []
        for bits in (1, 9, 28, 63):
            one = self.key("ordered", "identity/1", bits=bits)
            for number in sorted({0, 1, 2**bits // 3, 2**bits - 1}):
                token = self.code["ordered_token"](bytes.fromhex(one["key"]), number, bits).hex()
                found.append({**one, "bits": bits, "number": number, "token": token})
        return found


def shown(value: Any) -> Any:
    """Return a value in JSON's terms: moments and decimals as text, a duration in microseconds."""
    if isinstance(value, dt.timedelta):
        return value // dt.timedelta(microseconds=1)
    if isinstance(value, dt.date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def document() -> dict[str, Any]:
    maker = Maker()
    return {
        "format": "search tokens, version 1",
        "specification": "docs/search-format.md",
        "keys": maker.keys(),
        "fold": [{"text": text, "folded": folded} for text, folded in FOLDED],
        **{
            name: getattr(maker, name)()
            for name in ("exact", "compound", "prefix", "ngram", "numbers", "range", "intervals", "ordered")
        },
    }


def text() -> str:
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
