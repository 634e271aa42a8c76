"""The commands and files of packages/README.md."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "packages/README.md"


def blocks(heading: str, language: str) -> list[str]:
    """The code blocks of a section in a language."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def commands(heading: str) -> str:
    """The commands of a section, which has one block of them."""
    [block] = blocks(heading, "sh")
    return block
