"""Tell the story in the terminal."""

import argparse
import logging
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from examples.clinic.storage import Storage
from examples.tour.story import CHAPTERS


def main(arguments: list[str] | None = None, console: Console | None = None) -> None:
    parser = argparse.ArgumentParser(prog="examples.tour", description=__doc__)
    parser.add_argument("--step", action="store_true", help="wait for the Enter key after each step")
    options = parser.parse_args(arguments)
    logging.getLogger("sqlalchemy_cmk").setLevel(logging.ERROR)
    screen = console or Console(highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(Path(folder))
        try:
            for number, chapter in enumerate(CHAPTERS, 1):
                began = time.perf_counter()
                said = chapter.work(storage)
                took = (time.perf_counter() - began) * 1000
                body = "\n".join(escape(line) for line in said)
                title = f"[bold]{number}. {chapter.title}[/]"
                panel = Panel(body, title=title, subtitle=f"{took:.0f} ms", title_align="left")
                screen.print(f"\n[dim]{chapter.why}[/]")
                screen.print(panel)
                if options.step:
                    screen.input("[dim]Enter goes on [/]")
        finally:
            storage.close()
    screen.print("\nIn the browser, with people and buttons: [bold]make demo[/]")


if __name__ == "__main__":
    main()
