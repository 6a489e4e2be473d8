"""What a customer has to do, task by task: as a text to read, and as a script of az to paste."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import fill, indent

from sqlalchemy_cmk.providers.azure.commands import Commands

WIDTH = 76


@dataclass(frozen=True, slots=True)
class Task:
    """One thing that the customer does.

    Attributes:
        title: what.
        why: why, and what to look out for.
        commands: by which commands.
    """

    title: str
    why: str
    commands: tuple[str, ...]


def tasks(commands: Commands) -> Iterator[Task]:
    """Return a customer's tasks, in order."""
    if commands.managed_hsm:
        yield Task(
            "Turn purge protection on",
            "A key that is purged by mistake takes the data with it. This cannot be undone. To make keys you "
            "need the role Managed HSM Crypto User.",
            (commands.protect(),),
        )
    else:
        yield Task(
            "Make a vault with soft delete and purge protection",
            "A key that is purged by mistake takes the data with it. For a vault that you have already, run: "
            f"{commands.protect()}",
            (commands.make_vault(), commands.let_owner_make_keys()),
        )
    whose = f" The tag says whose key it is: without it the key is not taken. {_tags(commands)}"
    yield Task(
        "Make the key",
        "It can wrap and unwrap, and nothing else." + (whose if commands.tags else ""),
        (commands.make_key(),),
    )
    if commands.request.other_directory:
        yield Task(
            "Let the application into your directory",
            "It is a multi-tenant application. An administrator of your directory makes its service "
            "principal; it has no rights by that.",
            (commands.let_in(),),
        )
    yield Task(
        "Give the application its role, on this key alone",
        f"{commands.role} lets it read the key's description, wrap and unwrap.",
        (commands.assign_role(),),
    )
    yield Task(
        "Keep the vault's log",
        "It has each use of the key, with an id that the application's own audit trail has too.",
        (commands.log(),),
    )


def as_text(commands: Commands) -> str:
    """Return the tasks as a text to read."""
    lines = [f"A key for {_whom(commands)}: {commands.name} in {commands.vault}", ""]
    for number, task in enumerate(tasks(commands), 1):
        lines += [f"{number}. {task.title}", indent(fill(task.why, WIDTH, break_on_hyphens=False), "   "), ""]
        lines += [f"     {command}" for command in task.commands]
        lines += [""]
    return "\n".join([*lines, _placeholders(commands)])


def as_script(commands: Commands) -> str:
    """Return the tasks as a script for a POSIX shell."""
    lines = [
        f"# A key for {_whom(commands)}: {commands.name} in {commands.vault}",
        f"# {_placeholders(commands)}",
    ]
    for task in tasks(commands):
        why = indent(fill(f"{task.title}. {task.why}", WIDTH, break_on_hyphens=False), "# ")
        lines += ["", why, *task.commands]
    return "\n".join(lines)


def _whom(commands: Commands) -> str:
    # Not the tenant's name: it may hold anything.
    return commands.request.tag_value or "the platform"


def _tags(commands: Commands) -> str:
    return "Repeat the key's other tags where it has some: a new list takes the place of the old one."


def _placeholders(commands: Commands) -> str:
    names = ["WORKSPACE_ID (of Log Analytics)"]
    if commands.request.application is None:
        names.insert(0, "APPLICATION_ID (the application's client id)")
    if not commands.managed_hsm:
        names.insert(0, "RESOURCE_GROUP")
    return f"Replace {', '.join(names)}."
