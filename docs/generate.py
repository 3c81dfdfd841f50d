"""Write the pages of docs/ that are made from code: `python docs/generate.py [--check]`.

With --check nothing is written; the exit code is 1 if a page is stale.
To add a page, add its name and the function that returns its text to PAGES.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

from _protocol import protocol_page  # noqa: E402
from _reliability import reliability_page  # noqa: E402

from taskq.setting import SETTINGS, Setting  # noqa: E402

NOTICE = "<!-- Made by `python docs/generate.py`. Do not edit. -->"

SETTINGS_INTRO = """\
# Settings

A value comes from the first of these that has one:

1. the argument: of `TaskQ(...)`, by the setting's name, or the command-line option
2. the environment variable; the `TASKQ_` name wins over the others; an empty one counts as unset
3. the file: the one that `TASKQ_CONFIG` names, else `taskq.toml` in the working directory, else
   `[tool.taskq]` of the `pyproject.toml` there
4. the default

The key in the file is the setting's name. An unknown key, a wrong type or a value outside its
range is an error that names the place. Durations are numbers of seconds, or texts like `"250ms"`,
`"30s"`, `"5m"`, `"2h"`, `"7d"`. Several queues are a list, or in a variable names with commas
between.
"""

SETTINGS_OUTRO = """\
`heartbeat_ttl` must be at least 3 times `heartbeat`, and `grace` longer than `heartbeat`.
"""


def settings_page() -> str:
    """One table per group of settings, in the order of the code."""
    parts = [SETTINGS_INTRO]
    for group in dict.fromkeys(setting.group for setting in SETTINGS):
        rows = [setting_row(setting) for setting in SETTINGS if setting.group == group]
        head = "| setting and file key | variable | option | default | range | meaning |"
        parts.append(
            "\n".join([f"## {group.capitalize()}\n", head, "|---|---|---|---|---|---|", *rows])
            + "\n"
        )
    return "\n".join([*parts, SETTINGS_OUTRO])


def setting_row(setting: Setting) -> str:
    variables = ", ".join(f"`{name}`" for name in (setting.variable, *setting.aliases))
    options = ", ".join(f"`{name}`" for name in (setting.short, setting.option) if name)
    cells = (
        f"`{setting.name}`",
        variables,
        options,
        value_text(setting, setting.default),
        range_text(setting),
        setting.doc,
    )
    return f"| {' | '.join(cells)} |"


def value_text(setting: Setting, value: object) -> str:
    if value is None or value == ():
        return "unset"
    if isinstance(value, int | float):
        return duration_text(value) if setting.kind == "seconds" else f"{value:,.0f}"
    return f"`{', '.join(value) if isinstance(value, tuple) else value}`"


def duration_text(seconds: float) -> str:
    """In the largest unit that leaves a whole number: "7 d", "5 min", "2.5 s"."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def range_text(setting: Setting) -> str:
    if setting.kind in ("count", "seconds"):
        ends = (value_text(setting, setting.least), value_text(setting, setting.most))
        return " to ".join(ends)
    if setting.kind == "choice":
        return ", ".join(f"`{choice}`" for choice in setting.choices)
    if setting.kind == "names" or setting.name == "namespace":
        return "`[A-Za-z0-9_.-]{1,64}`"
    if setting.kind == "labels":
        return "`gpu`, `region=eu`"
    return "path" if setting.kind == "path" else "text"


#: page -> what makes its text
PAGES: dict[str, Callable[[], str]] = {
    "protocol.md": protocol_page,
    "reliability.md": reliability_page,
    "settings.md": settings_page,
}


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    stale = []
    for name, make in PAGES.items():
        page, text = DOCS / name, f"{NOTICE}\n\n{make()}"
        if page.is_file() and page.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not arguments:
            page.write_text(text, encoding="utf-8")
    for name in stale:
        state = "stale: run python docs/generate.py" if arguments else "written"
        print(f"docs/{name}: {state}", file=sys.stderr)
    return 1 if stale and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
