"""The commands of packages/README.md."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "packages/README.md"


def commands(heading: str, language: str = "sh") -> str:
    """The only code block of a section in a language."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    [block] = re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return block
