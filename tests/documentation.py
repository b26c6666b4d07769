"""Reads the pages of the documentation: links, anchors, blocks of code, and commands."""

import html
import re
import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


ROOT = Path(__file__).parents[1]
TOP_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = sorted(
    path
    for path in (*map(ROOT.joinpath, TOP_PAGES), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/README.md"))
    if path.exists()
)

_FENCE = re.compile(r"^( *)(```+|~~~+) *(\S*)")
_NOT_RUN = re.compile(r"^<!-- not run: (.+) -->$")
_LINK = re.compile(r"\]\(<?([^()\s>]+(?:\([^()\s]*\))?)>?(?:\s+\"[^\"]*\")?\)")
_REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_HTML_LINK = re.compile(r"\b(?:href|src|srcset)=\"([^\"\s]+)[^\"]*\"")
_HTML_ANCHOR = re.compile(r"\b(?:id|name)=\"([^\"]+)\"")


class Block(NamedTuple):
    """
    A fenced block of a page.

    Args:
        page (`Path`): The page.
        line (`int`): Number of the line of the opening fence, from 1.
        language (`str`): What follows the opening fence, empty for output.
        text (`str`): The lines between the fences, without their common indentation.
        not_run (`str`, *optional*): The reason of a `<!-- not run: REASON -->` line before the block.
    """

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None


class Command(NamedTuple):
    """
    A command of a bash block.

    Args:
        block (`Block`): The block.
        words (`tuple[str, ...]`): Program and arguments, unquoted and without assignments of environment variables.
    """

    block: Block
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{name_of(self.block.page)}:{self.block.line} {' '.join(self.words)[:60]}"


def name_of(page: Path) -> str:
    """Returns the path of a page inside the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    """Returns the fenced blocks of a page, in order."""
    return list(_walk(page))


def prose_of(page: Path) -> str:
    """Returns the text of a page without fenced blocks."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for block in blocks_of(page):
        for index in range(block.line - 1, min(block.line + 1 + block.text.count("\n"), len(lines))):
            lines[index] = ""
    return "\n".join(lines)


def _walk(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    opening, reason = None, None
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.match(line)
        if opening is None:
            if fence:
                opening = (number, fence)
            elif line.strip():
                not_run = _NOT_RUN.match(line.strip())
                reason = not_run and not_run[1]
        elif fence and not fence[3] and fence[2].startswith(opening[1][2]):
            first, (_, _, language) = opening[0], opening[1].groups()
            text = textwrap.dedent("\n".join(lines[first : number - 1]) + "\n")
            yield Block(page, first, language, text, reason)
            opening, reason = None, None
    if opening is not None:
        raise ValueError(f"{name_of(page)}:{opening[0]}: the block is not closed")


def links_of(page: Path) -> set[str]:
    """Returns the targets of the links and images of a page, in Markdown and in HTML."""
    text = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", prose_of(page))
    return {html.unescape(target) for pattern in (_LINK, _REFERENCE, _HTML_LINK) for target in pattern.findall(text)}


def anchors_of(page: Path) -> set[str]:
    """Returns the anchors of the headings of a page, by GitHub's rules, and those set in HTML."""
    prose = prose_of(page)
    counts: Counter[str] = Counter()
    anchors = set(_HTML_ANCHOR.findall(prose))
    for title in re.findall(r"^ {0,3}#{1,6} +(.+?) *#*$", prose, re.MULTILINE):
        slug = slug_of(title)
        anchors.add(f"{slug}-{counts[slug]}" if counts[slug] else slug)
        counts[slug] += 1
    return anchors


def slug_of(title: str) -> str:
    """Returns the anchor that GitHub gives a heading."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", title)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = html.unescape(re.sub(r"<[^>]+>", "", text)).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def commands_of(block: Block) -> list[Command]:
    """
    Returns the commands of a bash block. Backslashes and open quotes continue a line, `&&` separates commands.

    Raises:
        `ValueError`: a quote is open at the end, or there is a pipe, a redirection or other syntax of the shell.
    """
    commands, pending = [], ""
    for line in block.text.splitlines():
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
            continue
        try:
            words = _words_of(pending)
        except ValueError:  # an open quote
            pending += "\n"
            continue
        pending = ""
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            command, words = words[:end], words[end + 1 :]
            if operators := [word for word in command if re.fullmatch(r"[();<>|&]+", word)]:
                raise ValueError(f"{name_of(block.page)}:{block.line}: {operators[0]!r} is not a plain command")
            while command and re.match(r"[A-Z_]+=", command[0]):
                del command[0]
            if command:
                commands.append(Command(block, tuple(command)))
    if pending.strip():
        raise ValueError(f"{name_of(block.page)}:{block.line}: the last command is not complete")
    return commands


def _words_of(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)
