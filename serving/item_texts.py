"""How a bundle's model reads the texts of items: what is told of them, and the language model, or where to get it.

A language model that has a public name is not copied into every bundle: its name is written down, with a hash that
tells whether what is found under that name is the same. One that lies in a folder, such as one that was trained on the
project's own data, is carried along.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import InputError
from recsys.text_encoders import ItemTextConfig
from serving.manifest import TEXT_ENCODER

if TYPE_CHECKING:
    import polars as pl

    from recsys.text_encoders.encoder import TextEncoder

_FILE = "text.json"


@dataclass(frozen=True, eq=False)
class BundleText:
    """What a bundle says of its items' texts.

    Args:
        config: What is told of items, and to which model.
        fingerprint: Of the model's folder.
    """

    config: ItemTextConfig
    fingerprint: str

    @classmethod
    def read(cls, folder: Path) -> BundleText:
        """What a bundle says. The language model is loaded when it is first needed."""
        said = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        config = ItemTextConfig.from_json({**said["config"], "store": ""})
        if said["carried"]:
            carried = dataclasses.replace(config.encoder, model=str((folder / TEXT_ENCODER).resolve()), revision="")
            config = dataclasses.replace(config, encoder=carried)
        return cls(config, said["fingerprint"])

    @cached_property
    def encoder(self) -> TextEncoder:
        """The language model.

        Raises:
            InputError: It is not here and cannot be fetched, or is another one.
        """
        from recsys.text_encoders.folders import fingerprint, folder_of
        from recsys.text_encoders.loading import load_encoder

        asked = self.config.encoder
        if fingerprint(folder_of(asked.model, asked.revision)) != self.fingerprint:
            raise InputError(
                f"the text encoder {asked.model!r} that is found here is not the one that this model was trained with"
            )
        return load_encoder(asked)

    def vectors(self, items: pl.DataFrame) -> pl.Series:
        """The vectors of what is told of items, null where nothing is; no store is asked.

        Args:
            items: One row an item; a column that is not there tells nothing. (n rows)
        """
        from recsys.text_encoders.items import read_items

        return read_items(items, self.config, self.encoder)


def write_text(folder: Path, text: ItemTextConfig) -> None:
    """Writes what `BundleText.read` reads into a bundle that is being made.

    Args:
        folder: The bundle's.
        text: What is told of items, and to which model.

    Raises:
        InputError: There is no such model.
    """
    from recsys.text_encoders.folders import MODEL_FILES, fingerprint, folder_of

    asked = text.encoder
    source = folder_of(asked.model, asked.revision)
    carried = Path(asked.model).expanduser().is_dir()
    told = dataclasses.asdict(text)
    del told["store"]
    if carried:
        told["encoder"] |= {"model": TEXT_ENCODER, "revision": ""}
        for path in sorted(source.rglob("*")):
            if path.is_file() and path.suffix in MODEL_FILES and not path.name.startswith("."):
                target = folder / TEXT_ENCODER / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    content = {"config": told, "carried": carried, "fingerprint": fingerprint(source)}
    (folder / _FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")
