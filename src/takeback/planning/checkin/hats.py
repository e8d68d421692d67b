"""Another person's hat: the questions that person tends to ask, walked through by somebody else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from takeback.planning.checkin.front import FENCE, as_text, at, read_front
from takeback.planning.checkin.project import Project, add_note, read_project
from takeback.run.errors import TakebackError, unknown_name
from takeback.run.reading import read_text
from takeback.run.yaml_text import read_yaml

if TYPE_CHECKING:
    from takeback.planning.trees.tree import Tree

_FIELDS: Final = ("hat", "source")
_BULLET: Final = re.compile(r"[-*+]\s+(.*)")


@dataclass(frozen=True, slots=True)
class Hat:
    """A profile: whose hat it is, how that person's questions are known, and the questions."""

    name: str
    source: str
    questions: tuple[str, ...]


def read_hat(path: str | Path) -> Hat:
    """Read a profile: front matter with `hat` and perhaps `source`, then a list of questions.

    Raises:
        TakebackError: it is not there, or something in it is wrong; names the line.
    """
    text = read_text(path, f"no profile at {path}", as_it_is=True)
    lines = text.splitlines()
    front = read_front(lines, path, _FIELDS)
    if "hat" not in front.fields:
        raise at(path, 1, "the field hat is missing: whose questions are these?")
    questions: list[str] = []
    for number, line in enumerate(lines[front.end :], front.end + 1):
        if found := _BULLET.match(line):
            if found[1].strip() in questions:
                raise at(path, number, f"{found[1].strip()!r} is asked twice")
            questions.append(found[1].strip())
        elif line.startswith("  ") and line.strip() and questions:
            questions[-1] += f" {line.strip()}"
        elif line.strip() and not line.startswith("#"):
            raise at(path, number, f"{line.strip()!r} is no question; write each as - QUESTION")
    if not questions:
        raise at(path, len(lines), "no questions are here; write each as - QUESTION")
    name = as_text(front.fields["hat"], path, front.lines["hat"], "hat")
    source = front.fields.get("source") or ""
    return Hat(name, str(source).strip(), tuple(questions))


def read_answers(path: str | Path, hat: Hat) -> dict[str, str]:
    """Read answers to a hat's questions from YAML: by question, or by its number from 1.

    Raises:
        TakebackError: it can't be read, or an answer is no text.
        UnknownName: it answers what the hat does not ask.
    """
    fields = read_yaml(path, f"no answers at {path}")
    if not isinstance(fields, dict):
        raise TakebackError(f"{path} has no answers; write each as a question or its number, a colon, text")
    found: dict[str, str] = {}
    for key, value in fields.items():
        by_number = isinstance(key, int) and 1 <= key <= len(hat.questions)
        question = hat.questions[key - 1] if by_number else str(key)
        if question not in hat.questions:
            raise unknown_name(f"question in {path}", str(key), hat.questions)
        if question in found:
            raise TakebackError(f"{path} answers {question!r} twice")
        if not isinstance(value, str):
            raise TakebackError(
                f"{path}: the answer to {question!r} is {value!r}, and no text; put it in quotes"
            )
        found[question] = value
    return found


def walk(hat: Hat, ask: Callable[[str], str]) -> dict[str, str]:
    """Ask each question in turn and return the answers that have words.

    >>> walk(Hat("Bob", "", ("Why?", "Why now?")), lambda question: "" if "now" in question else " So. ")
    {'Why?': 'So.'}
    """
    answers = {question: ask(question).strip() for question in hat.questions}
    return {question: answer for question, answer in answers.items() if answer}


def note(project: Project, hat: Hat, answers: Mapping[str, str], day: date, by: str = "") -> Project:
    """Return the project with the answers as one note that says with which hat they were given.

    Raises:
        TakebackError: there are no answers, or a name would not read back.
    """
    lines = [f"- **{question}** {' '.join(answer.split())}" for question, answer in answers.items()]
    return add_note(project, "\n".join(lines), day, by, hat.name)


def grow(tree: Tree, hat: Hat, answers: Mapping[str, str], by: str = "", under: str = "") -> Tree:
    """Return the tree with each answer as a problem, under the one with this id or these words.

    Each is marked with the hat and keeps the question, and who answered, as a note.

    Raises:
        UnknownName: no problem has this id or these words.
    """
    from takeback.planning.trees.tree import Node, Own

    each = [node for node in tree.walk() if not node.own.refers]
    found = next((node for node in each if under in ("", node.id, node.words)), None)
    if found is None:
        raise unknown_name("problem", under, [node.id or node.words for node in each])
    place = each.index(found)
    for question, answer in answers.items():
        asked = f"{question} ({by})" if by else question
        child = Node(Own(" ".join(answer.split()), notes=(asked,), hats=(hat.name,)))
        parent = [node for node in tree.walk() if not node.own.refers][place]
        tree = tree.with_child(parent, child)
    return tree


def add_hat(
    target: str | Path, hat: Hat, answers: Mapping[str, str], day: date, by: str = "", under: str = ""
) -> int:
    """Write the answers to a hat's questions into a project's file or a tree, and return how many there were.

    Raises:
        TakebackError: there are no answers, or the file can't be read; names the line.
        UnknownName: no problem of the tree has the id or words `under`.
    """
    answers = {question: answer for question, answer in answers.items() if answer.strip()}
    if not answers:
        raise TakebackError(f"no question of {hat.name} was answered, so there is nothing to write down")
    if _is_tree(target):
        from takeback.planning.trees.read import read_tree
        from takeback.planning.trees.write import write_tree

        write_tree(grow(read_tree(target), hat, answers, by, under), target)
    elif under:
        raise TakebackError(
            f"{target} is a project, whose notes have no problems to go under; leave --under away"
        )
    else:
        note(read_project(target), hat, answers, day, by).write()
    return len(answers)


def _is_tree(path: str | Path) -> bool:
    """Tell a tree from a project by its fields; what is neither is read as a project, and refused."""
    text = read_text(path, f"no project or tree at {path}", as_it_is=True)
    lines = [line.rstrip() for line in text.splitlines()]
    end = lines.index(FENCE, 1) if FENCE in lines[1:] else 0
    return any(line.startswith("stage:") for line in lines[1:end])
