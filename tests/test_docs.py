"""What the documentation says can be done, can be done: links lead somewhere, commands parse, settings are there."""

import ast
import contextlib
import doctest
import importlib
import io
import json
import re
import shlex
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from features.errors import InputError
from training.cli import parser

ROOT = Path(__file__).parents[1]

#: written by people; what a build copies or makes is not
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks/peers").glob("*/README.md")]
    if not {part for part in path.parts if part.startswith(("_", "."))} - set(ROOT.parts)
)
ROOMS = ("features", "recsys", "serving", "training")

_FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_FILE = re.compile(r"(?:features|recsys|serving|training|benchmarks|docs|tests|scripts|constraints)/[\w./-]+\.\w+")
_NAME = re.compile(r"(?:features|recsys|serving|training)(?:\.[A-Za-z_]\w*)+")


def fences(path: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in one of some languages."""
    text = path.read_text(encoding="utf-8")
    return [body for _, language, body in _FENCE.findall(text) if language.strip() in languages]


def prose(path: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


@cache
def anchors(path: Path) -> frozenset[str]:
    """Of a page's headings, as GitHub and MyST make them; the second of two alike ends in -1."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(path), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return frozenset(found)


def links(path: Path) -> list[str]:
    """Where a page leads, inside the repository."""
    found = [one or other for one, other in _LINK.findall(_CODE.sub("", prose(path)))]
    return [one for one in found if not re.match(r"[a-z]+:", one)]


def broken(path: Path) -> list[str]:
    """Links that lead nowhere."""
    found = []
    for link in links(path):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            found.append(link)
    return found


def commands(path: Path) -> list[list[str]]:
    """The arguments of each call of `recsys` in a page's shell blocks."""
    found = []
    for block in fences(path, "sh", "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = [word for word in _words(line) if not re.fullmatch(r"[A-Z_]+=.*", word)]
            for part in _parts(words):
                called = _after_recsys(part)
                if called is not None:
                    found.append(called)
    return found


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;><()")
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:  # a quotation over several lines, as of JSON
        return []


def _parts(words: list[str]) -> list[list[str]]:
    """One list a command: what stands between pipes and the like."""
    parts: list[list[str]] = [[]]
    for word in words:
        if re.fullmatch(r"[|&;><()]+", word):
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]


def _after_recsys(words: list[str]) -> list[str] | None:
    if words[0].rpartition("/")[2] == "recsys":
        return words[1:]
    if "training.cli" in words:
        return words[words.index("training.cli") + 1 :]
    return None


def refusal(arguments: list[str]) -> str | None:
    """What the command line's own parser has against some arguments; None for nothing."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            parser(next((word for word in arguments if not word.startswith("-")), "")).parse_args(arguments)
    except SystemExit as end:
        return said.getvalue() if end.code else None
    return None


def options_of(words: list[str]) -> tuple[set[str], list[str]]:
    """The options of the verb that some words begin with, and those among the words."""
    at = parser(words[0])
    for word in words:
        verbs = next((one for one in at._actions if one.__class__.__name__ == "_SubParsersAction"), None)
        if verbs is None or word not in verbs.choices:
            break
        at = verbs.choices[word]
    return set(at._option_string_actions), [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]


def configurations() -> dict[tuple[str, ...], type]:
    """What `--set` fills, by the verb that takes it."""
    from training.config import TrainConfig
    from training.entities.config import ResolveConfig
    from training.matching.config import MatchTrainConfig
    from training.ranking import RankingConfig
    from training.sequential_config import SequentialTrainConfig
    from training.text_encoder_config import TextEncoderTrainConfig

    return {
        ("train", "two-tower"): TrainConfig,
        ("train", "sequential"): SequentialTrainConfig,
        ("train", "ranker"): RankingConfig,
        ("train", "text-encoder"): TextEncoderTrainConfig,
        ("match", "train"): MatchTrainConfig,
        ("resolve",): ResolveConfig,
    }


def names_of(pages: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in pages]


def test_there_are_pages() -> None:
    assert {"README.md", "docs/index.md", "docs/serving.md", "docs/concepts/ditto.md"} <= set(names_of(PAGES))


@pytest.mark.parametrize("path", PAGES, ids=names_of(PAGES))
def test_links_lead_to_files_and_headings(path: Path) -> None:
    assert not broken(path)


@pytest.mark.parametrize("path", PAGES, ids=names_of(PAGES))
def test_commands_are_what_the_parser_takes(path: Path) -> None:
    refused = {" ".join(one): said for one in commands(path) if (said := refusal(one))}
    assert not refused


@pytest.mark.parametrize("path", PAGES, ids=names_of(PAGES))
def test_options_in_running_text_are_those_of_their_verb(path: Path) -> None:
    wrong = []
    for code in _CODE.findall(prose(path)):
        words = code.removeprefix(".venv/bin/").split()
        if words[0] == "recsys" and len(words) > 1 and not words[1].startswith("-") and words[1].islower():
            known, used = options_of(words[1:])
            wrong += [f"{code}: {one}" for one in used if one not in known]
    assert not wrong


@pytest.mark.parametrize("path", PAGES, ids=names_of(PAGES))
def test_settings_are_there_and_take_their_values(path: Path) -> None:
    from training.config import load_config

    kinds, wrong = configurations(), []
    for one in commands(path):
        kind = next((kind for verb, kind in kinds.items() if tuple(one[: len(verb)]) == verb), None)
        settings = [value for word, value in pairwise(one) if word == "--set"]
        if kind is not None and settings:
            try:
                load_config(settings=settings, kind=kind)
            except InputError as error:
                wrong.append(f"{' '.join(one)}: {error}")
    assert not wrong


@pytest.mark.parametrize("path", PAGES, ids=names_of(PAGES))
def test_python_compiles_and_imports_what_is_there(path: Path) -> None:
    absent = []
    for block in fences(path, "python"):
        said = [one.source for one in doctest.DocTestParser().get_examples(block)]
        for node in ast.walk(ast.parse("".join(said) or block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ROOMS:
                module = importlib.import_module(node.module)
                absent += [f"{node.module}.{one.name}" for one in node.names if not hasattr(module, one.name)]
    assert not absent


@pytest.mark.parametrize("path", PAGES, ids=names_of(PAGES))
def test_files_and_names_that_are_spoken_of_are_there(path: Path) -> None:
    spoken = _CODE.findall(prose(path))
    absent = [one for one in spoken if _FILE.fullmatch(one) and "NAME" not in one and not (ROOT / one).exists()]
    names = [found[0] for one in spoken if (found := _NAME.match(one)) and not found[0].endswith((".json", ".yaml"))]
    absent += [one for one in names if not _resolves(one)]
    assert not absent


def _resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    module, *rest = name.split(".")
    found = importlib.import_module(module)
    for part in rest:
        if not hasattr(found, part):
            try:
                importlib.import_module(f"{found.__name__}.{part}")
            except (ImportError, AttributeError):
                return part in getattr(found, "__dataclass_fields__", ())
        found = getattr(found, part)
    return True


@pytest.mark.parametrize("path", PAGES, ids=names_of(PAGES))
def test_targets_of_make_are_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    asked = [line for block in fences(path, "sh") for line in block.splitlines()] + _CODE.findall(prose(path))
    assert {found[1] for one in asked if (found := re.match(r"make ([a-z]+)", one))} <= targets


@pytest.mark.parametrize("path", PAGES, ids=names_of(PAGES))
def test_json_and_yaml_can_be_read(path: Path) -> None:
    for block in fences(path, "json"):
        json.loads(block)
    for block in fences(path, "yaml"):
        yaml.safe_load(block)


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n[there](#a-page), [nowhere](#b-page), [no file](gone.md), [`code`](gone.py), `[none](here)`\n\n"
        "```sh\nA=1 .venv/bin/recsys train two-tower \\\n    --epochs 3 | tee log  # --no\n"
        "recsys data --json && recsys dta\n```\n",
        encoding="utf-8",
    )
    assert broken(page) == ["#b-page", "gone.md", "gone.py"]
    called = commands(page)
    assert called == [["train", "two-tower", "--epochs", "3"], ["data", "--json"], ["dta"]]
    assert [refusal(one) is None for one in called] == [False, True, False]
    known, used = options_of(["match", "train", "--pairs", "x", "--pears"])
    assert [one for one in used if one not in known] == ["--pears"]
    assert _resolves("recsys.two_tower.TwoTower") and not _resolves("recsys.two_tower.ThreeTower")
