"""Reading Markdown pages: tables, code blocks with the mark above them, links and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")])
#: Languages whose blocks must say whether they run.
RUNNABLE = ("python", "sh", "console")

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>(?:not )?run.*?) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.M | re.S,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block. `mark`: the comment on the line above it, '' for none."""

    page: Path
    line: int
    language: str
    mark: str
    code: str

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(*pages: Path) -> Iterator[Block]:
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for found in _BLOCK.finditer(text):
            yield Block(
                page=page,
                line=text.count("\n", 0, found.start("language")) + 1,
                language=found["language"],
                mark=found["mark"] or "",
                code=found["code"],
            )


def rows(page: Path, first: str) -> list[dict[str, str]]:
    """All rows of the tables whose first column is called `first`, by column name."""
    found: list[dict[str, str]] = []
    head: list[str] = []
    for line in page.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            head = []
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not head:
            head = cells
        elif head[0] == first and not set(cells[0]) <= set("- "):
            assert len(cells) == len(head), f"{page.name}: a row of another width: {line}"
            found.append(dict(zip(head, cells, strict=True)))
    return found


def code_words(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """What a link may name behind `#`: the headings, as GitHub spells them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
