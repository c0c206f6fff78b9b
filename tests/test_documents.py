"""What the documents point to is there: files, headings, commands with their recipes and flags."""

import re
import shlex
from functools import lru_cache
from pathlib import Path

import pytest

from orchestrator.cli import VERBS
from orchestrator.flags import leading_words, parse
from orchestrator.recipe_files import shipped

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for path in (*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"))
    if "tables" not in path.parts
)
#: What stands for a recipe of the reader's in an example.
PLACEHOLDERS = {"RECIPE", "NAME", "mine"}


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def without_code(path: Path) -> str:
    return re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


@lru_cache
def anchors(path: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", without_code(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_to_another_place_of_the_repository_leads_there(document):
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(document)):
        if re.match(r"https?://", link):
            continue
        place, _, anchor = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def commands() -> list[str]:
    """Every `f2c VERB RECIPE ...` of the documents, one of several lines as one."""
    found: set[str] = set()
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8").replace("\\\n", " ")
        found.update(re.findall(r"(?:^|[`/])f2c +([a-z]+ +[^`|\n\\]+)", text, re.MULTILINE))
    return sorted(found)


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_documents_has_a_verb_recipes_and_flags_that_exist(
    command, monkeypatch
):
    monkeypatch.chdir(REPOSITORY)
    verb, *words = (word for word in shlex.split(command, comments=True) if word != "...")
    assert verb in VERBS
    leading = leading_words(words)
    if verb in {"plan", "run", "status"}:
        for recipe in set(leading) - PLACEHOLDERS:
            parse(recipe, words[len(leading) :])
    else:
        assert {*leading[:1]} <= {*shipped(), *PLACEHOLDERS, "cub200", "forest"}
