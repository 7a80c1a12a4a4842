"""Named entities of a spaCy pipeline that is installed, and of none that is not."""

from pathlib import Path

import pytest

from features.errors import InputError
from recsys.matching.knowledge import Knowledge, KnowledgeConfig
from recsys.matching.named_entities import named_entities

PATTERNS = [{"label": "ORG", "pattern": "Rose  and Co"}, {"label": "PRODUCT", "pattern": "Lamp 3000"}]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A pipeline of two names, as `spacy package` lays it out."""
    import spacy

    folder = tmp_path / "en_two_names"
    folder.mkdir()
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(PATTERNS)
    nlp.to_disk(folder / "en_two_names-1.0.0")
    (folder / "meta.json").write_text((folder / "en_two_names-1.0.0" / "meta.json").read_text())
    (folder / "__init__.py").write_text(
        "from pathlib import Path\nfrom spacy.util import load_model_from_path\n\n"
        "def load(**given):\n    return load_model_from_path(Path(__file__).parent / 'en_two_names-1.0.0', **given)\n"
    )
    about = tmp_path / "en_two_names-1.0.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: en-two-names\nVersion: 1.0.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "en_two_names"


def test_entities_are_told_by_the_pipelines_own_labels(installed: str) -> None:
    found = list(named_entities(installed)("by Rose  and Co: Lamp 3000"))
    assert [(one.start, one.end, one.kind, one.text) for one in found] == [
        (3, 15, "org", "Rose and Co"),
        (17, 26, "product", "Lamp 3000"),
    ]


def test_rules_before_it_come_first(installed: str) -> None:
    knowledge = Knowledge(KnowledgeConfig(("number", f"spacy:{installed}")))
    assert knowledge.told("Rose  and Co 12") == "org Rose and Co number 12"
    assert knowledge.told("Lamp 3000") == "Lamp number 3000"


def test_what_is_not_installed_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the spaCy pipeline 'en_nowhere' is not installed; python -m spacy download"):
        Knowledge(KnowledgeConfig(("spacy:en_nowhere",)))
    with pytest.raises(InputError, match="is not installed"):  # a folder is no name
        named_entities(str(tmp_path))
    with pytest.raises(InputError, match=r"names 'stacy', and there are .* and spacy:NAME to choose from"):
        KnowledgeConfig(("stacy",))
