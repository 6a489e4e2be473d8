"""Attacks on indexes of texts: frequencies in the table are matched with those of the sample, by rank."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence


def by_rank(tokens: Sequence[Hashable], sample: Iterable[str]) -> list[str | None]:
    """Take the most frequent token for the most frequent text, the second for the second, and so on."""
    texts = [text for text, _ in Counter(sample).most_common()]
    taken = dict(zip([token for token, _ in Counter(tokens).most_common()], texts, strict=False))
    return [taken.get(token) for token in tokens]


def by_rank_of_prefixes(
    paths: Sequence[bytes], sample: Sequence[str], shortest: int, width: int
) -> list[str]:
    """Do the same for the prefixes of each length, within what was taken for the prefix before.

    Returns:
        The longest prefix that each row is taken to begin with.
    """
    found = [""] * len(paths)
    waiting = [(shortest, list(range(len(paths))), list(sample))]
    while waiting:
        length, rows, texts = waiting.pop()
        end = (length - shortest + 1) * width
        by_path: dict[bytes, list[int]] = defaultdict(list)
        by_prefix: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            if len(paths[row]) >= end:
                by_path[paths[row][:end]].append(row)
        for text in texts:
            if len(text) >= length:
                by_prefix[text[:length]].append(text)
        ranked = sorted(by_path.values(), key=len, reverse=True)
        known = sorted(by_prefix.items(), key=lambda item: len(item[1]), reverse=True)
        for held, (prefix, alike) in zip(ranked, known, strict=False):
            for row in held:
                found[row] = prefix
            waiting.append((length + 1, held, alike))
    return found


def share_equal(guesses: Sequence[str | None], texts: Sequence[str]) -> float:
    """Return the share of rows that were guessed."""
    return sum(guess == text for guess, text in zip(guesses, texts, strict=True)) / len(texts)


def share_beginning(guesses: Sequence[str], texts: Sequence[str], characters: int) -> float:
    """Return the share of rows of which so many first characters were guessed."""
    return share_equal([guess[:characters] for guess in guesses], [text[:characters] for text in texts])
