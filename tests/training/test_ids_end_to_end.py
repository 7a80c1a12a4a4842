"""Raw ids stay what they are, from a CSV file to the HTTP answer and back."""

from pathlib import Path

import polars as pl
import pytest
from fastapi.testclient import TestClient

from serving.http.app import create_app
from training.config import load_config
from training.runs import RunOptions, run

KINDS = {
    "text with leading zeros": lambda n: f"{n:06d}",
    "text": lambda n: f"sku {n} ü/%",
    "beyond int32": lambda n: 2**31 + n,
    "beyond float64": lambda n: 2**53 + n,
    "beyond float32": lambda n: 16_777_216 + n,
    "the largest": lambda n: 2**63 - 1 - n,
    "negative": lambda n: -n - 1,
}


@pytest.mark.parametrize("kind", KINDS)
def test_ids_survive_the_whole_way(kind: str, tmp_path: Path) -> None:
    name = KINDS[kind]
    pairs = [(name(100 + user), name((user * 5 + step * 3) % 32), step) for user in range(24) for step in range(9)]
    log = pl.DataFrame(pairs, schema=["user_id", "item_id", "timestamp"], orient="row", strict=False)
    shop = tmp_path / "shop"
    shop.mkdir()
    log.write_csv(shop / "interactions.csv")
    settings = ["model.dim=8", "model.embeddings.width=8", "optimiser.max_epochs=1", "optimiser.backend=torch"]
    config = load_config(settings=settings, data__name="tables", data__root=str(shop))
    bundle = run(config, RunOptions(folder=tmp_path / "run", track=False)).bundle

    catalogue = {str(item) for item in log["item_id"]}
    with TestClient(create_app(str(bundle))) as client:
        user = log["user_id"][0]
        for written in {user, str(user)}:  # an integer may come as one, or as the string it goes out as
            answer = client.post("/candidates", json={"user_ids": [written], "k": 32, "exclude_seen": False})
            (one,) = answer.json()["candidates"]
            assert (one["source"], one["user_id"]) == ("user", str(user))
            assert set(one["item_ids"]) == catalogue  # each of them, and told apart
        asked = {"histories": [one["item_ids"][:3]], "k": 32}
        (stranger,) = client.post("/candidates", json=asked).json()["candidates"]
        assert stranger["source"] == "history" and stranger["unknown_history_items"] == 0
        assert set(stranger["item_ids"]) == catalogue - set(one["item_ids"][:3])
