"""The rooms of the house: who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: room -> what its modules may not import
FORBIDDEN = {
    "features": {"recsys", "serving", "training", "torchrec", "pytorch_lightning", "mlflow", "fastapi", "faiss"}
    | {"transformers", "tokenizers", "sentence_transformers", "huggingface_hub"},
    "recsys": {"serving", "training", "pytorch_lightning", "mlflow", "fastapi"},
    "serving": {"training", "torchrec", "pytorch_lightning"},
    "training": {"fastapi"},
}


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    found = []
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            found += [f"{path.name}: {name}" for name in names if name.partition(".")[0] in FORBIDDEN[room]]
    assert not found


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import recsys.two_tower, recsys.index", {"torchrec", "pytorch_lightning", "mlflow"}),
        ("import serving.candidates, serving.http.app", {"torchrec", "pytorch_lightning", "mlflow", "training"}),
        ("import training.cli; training.cli.parser()", {"torch", "polars", "mlflow", "torchrec", "pytorch_lightning"}),
    ],
)
def test_heavy_libraries_load_when_they_are_used(statement: str, absent: set[str]) -> None:
    code = f"import sys; {statement}; print(*sorted({absent!r} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.split() == []
