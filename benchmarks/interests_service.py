"""Several interests through the service: what users of MovieLens-1M are answered, and why.

A two-tower model is trained by its defaults, interests go into its bundle with settings that validation chooses, and
the service is asked for the 50 best items of every test user, once by a single query and once by a smoothed mixture.
"genres" is how many of the 18 genres stand in a list; "genre_coverage" the same as a share; HR@50 and recall@50 are of
the test items. Three users' explanations are printed.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastapi.testclient import TestClient
from report import Report, arguments

from features.batches import JaggedArray
from features.errors import InputError
from features.prepared import Prepared
from recsys.diversity import distinct
from recsys.metrics import RankedTargets
from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from training.cli import main as recsys
from training.config import load_config
from training.data import prepare
from training.evaluation import Evaluation, sum_up
from training.runs import RunOptions, run

K = 50

QUICK = ("data.settings.interactions=1000", "optimiser.max_epochs=1", "model.dim=16", "optimiser.backend=torch")


def main() -> None:
    """Trains, asks, prints and writes."""
    options = arguments(__doc__).parse_args()
    report = Report("interests_service", quick=options.quick)
    if not options.quick and options.data_root is None:
        raise SystemExit("interests_service.py: --data-root FOLDER is needed (a folder that holds ml-1m)")
    data = "generated" if options.quick else "ml-1m"
    given = {"data__name": data} | ({} if options.quick else {"data__root": str(options.data_root / "ml-1m")})
    settings = QUICK if options.quick else ()
    config = load_config(settings=settings, **given)
    prepared = prepare(config)
    with tempfile.TemporaryDirectory() as folder:
        bundle = run(config, RunOptions(Path(folder) / "run", track=False), prepared).bundle
        asked = ["--data", data, *(f"--set={one}" for one in settings)]
        asked += ["--clusters", "5", "--mixing", "0.5", "--neighbours", "5"] if options.quick else []
        asked += [] if options.quick else ["--root", given["data__root"]]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            if recsys(["interests", "--model", str(bundle), *asked, "--json"]):
                raise InputError("interests could not be put into the bundle")
        chosen = json.loads(said.getvalue().splitlines()[-1])["interests"]
        generator = CandidateGenerator.load(bundle)
        client = TestClient(create_app(generator))
        for kind in ("unimodal", "smoothed"):
            measure(report, f"{data}/{kind}", client, prepared, kind, chosen)
        explain(client, prepared, generator)
    report.finish(options.out)


def measure(
    report: Report, case: str, client: TestClient, prepared: Prepared, kind: str, chosen: dict[str, Any]
) -> None:
    """What every test user is answered."""
    evaluation = Evaluation(prepared)
    ids = prepared.users.ids_of(evaluation.users).to_list()
    lists = np.full((len(ids), K), -1)
    for start in range(0, len(ids), 1000):
        body = {"user_ids": ids[start : start + 1000], "k": K, "interests": kind}
        for n, line in enumerate(ask(client, body), start):
            items = line["item_ids"]
            if not prepared.items.ids.dtype.is_integer():
                lists[n, : len(items)] = prepared.items.rows(items)
            else:
                lists[n, : len(items)] = prepared.items.rows([int(one) for one in items])
    ranked = RankedTargets.in_lists(torch.from_numpy(lists), evaluation.targets.take(evaluation.users))
    figures = sum_up([evaluation.sums(ranked, slices=False)])
    groups, n_groups = categories(prepared)
    found = distinct(lists, groups)
    facts = {"users": len(ids), "interests": json.dumps(chosen) if kind == "smoothed" else ""}
    for metric in ("hr@50", "recall@50", "ndcg@10", "coverage@50"):
        report.add(case, metric, figures[metric], settings=facts)
    report.add(case, "genres", float(found.mean()), settings=facts)
    report.add(case, "genre_coverage", float(found.mean()) / n_groups, settings=facts)


def ask(client: TestClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The service's lists."""
    answer = client.post("/candidates", json=body)
    if answer.status_code != 200:
        raise InputError(f"the service answers {answer.status_code}: {answer.text[:200]}")
    return answer.json()["candidates"]


def categories(prepared: Prepared) -> tuple[JaggedArray, int]:
    """The genres of each item, or what else it has several of; and how many there are."""
    name = next(feature.name for feature in prepared.dataset.schema.item if feature.kind == "multi_valued")
    values = prepared.item_table.sparse[name]
    return values, int(values.values.max()) + 1


def explain(client: TestClient, prepared: Prepared, generator: CandidateGenerator, users: int = 3) -> None:
    """What a few users are answered, and because of what."""
    titles = dict(zip(map(str, generator.bundle.items.ids.to_list()), _titles(generator), strict=True))
    ids = prepared.users.ids_of(Evaluation(prepared).users[:: max(1, len(prepared.users) // users)][:users]).to_list()
    for line in ask(client, {"user_ids": ids, "k": 10, "interests": "smoothed"}):
        print(f"\nuser {line['user_id']}")
        for n, interest in enumerate(line["interests"]):
            brought = [titles[one] for one, of in zip(line["item_ids"], line["interest_of"], strict=True) if of == n]
            who = "you" if interest["own"] else "people like you"
            liked = titles.get(interest["because"], interest["because"])
            print(f"  {interest['weight']:.2f} because {who} liked {liked}: {'; '.join(brought) or '-'}")
    print()


def _titles(generator: CandidateGenerator) -> Sequence[str]:
    column = generator.bundle.title_column
    return (generator.bundle.items.ids if column is None else generator.bundle.item_table[column]).to_list()


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"interests_service.py: {error}") from None
