"""What is evaluated is what is served: the trained model, its loaded bundle, and HTTP, for every test user.

Compares, for one trained run: metrics of the training-time ranking (plain scores of the model over the whole catalogue)
with those of the loaded bundle's lists, and of those that `recsys serve` answers at /candidates and, to bodies of
MLflow's scoring server, at /invocations; the lists themselves (equal ids in equal order, save swaps of items whose
scores differ by less than 1e-6); and the seconds from the start of the service's process to its first answer. Shares
are of test users. The models are fitted for a few epochs only: how good they are makes no difference here.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import torch
from report import Report, arguments

from features.prepared import Prepared
from recsys.metrics import RankedTargets
from serving.candidates import CandidateGenerator
from training.bundle_evaluation import served_lists
from training.config import TrainConfig, load_config
from training.data import prepare
from training.evaluation import Evaluation, ModelScores, sum_up
from training.release import load_model
from training.runs import RunOptions, run
from training.sequential_config import SequentialTrainConfig

K = 50

QUICK = ("data.settings.interactions=1000", "optimiser.max_epochs=1", "model.dim=16", "optimiser.backend=torch")


def main() -> None:
    """Trains, serves, compares, prints and writes."""
    options = arguments(__doc__).parse_args()
    report = Report("parity", quick=options.quick)
    if not options.quick and options.data_root is None:
        raise SystemExit("parity.py: --data-root FOLDER is needed (a folder that holds ml-1m)")
    given = {"data__name": "ml-1m", "data__root": str(options.data_root / "ml-1m")} if options.data_root else {}
    kinds = {"": TrainConfig, "-sequential": SequentialTrainConfig}
    for suffix, kind in kinds.items():
        if options.quick:
            case, config = f"generated{suffix}", load_config(settings=QUICK, kind=kind, data__name="generated")
        else:
            short = ["optimiser.max_epochs=4"] + ([] if kind is TrainConfig else ["windows.batch_size=32"])
            case, config = f"ml-1m{suffix}", load_config(settings=short, kind=kind, **given)
        with tempfile.TemporaryDirectory() as folder:
            prepared = prepare(config)
            bundle = run(config, RunOptions(Path(folder) / "run", track=False), prepared).bundle
            compare(report, case, bundle, prepared, serve=not options.quick)
    report.finish(options.out)


def compare(report: Report, case: str, bundle: Path, prepared: Prepared, serve: bool) -> None:
    """The three ways to the same lists."""
    evaluation = Evaluation(prepared)
    scores = ModelScores(load_model(bundle), evaluation)
    generator = CandidateGenerator.load(bundle)
    trained, gaps, ways = [], [], {"in-process": []}
    for users in evaluation.chunks():
        ranking, targets = evaluation.rank(users, scores.scorer(users))
        trained.append((ranking, targets, users))
        ways["in-process"].append(served_lists(generator, evaluation, users, K))
        gaps.append(ranking.scores)
    if serve:
        ways["http"], ways["invocations"], seconds = over_http(bundle, prepared, evaluation)
        report.add(f"{case}/http", "seconds_to_first_answer", seconds)
    model = sum_up([evaluation.sums(RankedTargets.of(ranking, targets)) for ranking, targets, _ in trained])
    for name in ("hr@10", "ndcg@10"):
        report.add(f"{case}/training-time", name, model[name], settings={"split_hash": prepared.split.sha256})
    for way, lists in ways.items():
        figures = sum_up(
            [
                evaluation.sums(RankedTargets.in_lists(one, targets))
                for one, (_, targets, _) in zip(lists, trained, strict=True)
            ]
        )
        for name in ("hr@10", "ndcg@10"):
            report.add(f"{case}/{way}", name, figures[name])
        same, swaps = agreement([ranking.rows for ranking, _, _ in trained], gaps, lists)
        report.add(f"{case}/{way}", "lists_equal", same, n=len(evaluation.users))
        report.add(f"{case}/{way}", "lists_equal_save_ties", swaps, n=len(evaluation.users))


def agreement(expected: list[torch.Tensor], scores: list[torch.Tensor], got: list[torch.Tensor]) -> tuple[float, float]:
    """Share of users with equal lists, and with lists that are equal save swaps within a score gap of 1e-6."""
    equal, close, users = 0, 0, 0
    for rows, values, lists in zip(expected, scores, got, strict=True):
        rows, values, lists = rows.cpu().numpy(), values.cpu().numpy(), lists.numpy()
        for row, value, other in zip(rows, values, lists, strict=True):
            users += 1
            equal += bool((row == other).all())
            score_of = dict(zip(row.tolist(), value.tolist(), strict=True))
            last = value[-1]  # an item that only one list has tied with the last place
            gap = [abs(value[place] - score_of.get(one, last)) for place, one in enumerate(other.tolist()) if one >= 0]
            close += bool((row == other).all() or (len(set(row) ^ set(other)) <= 2 and max(gap) < 1e-6))
    return equal / users, close / users


def over_http(
    bundle: Path, prepared: Prepared, evaluation: Evaluation
) -> tuple[list[torch.Tensor], list[torch.Tensor], float]:
    """The lists that the service answers, by user id alone, both ways, and the seconds from its start to the first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    began = time.perf_counter()
    command = [sys.executable, "-m", "training.cli", "serve", "--model", str(bundle), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            seconds = None
            ways: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
            for users in evaluation.chunks():
                both = [torch.full((len(users), K), -1) for _ in ways]
                for start in range(0, len(users), 500):
                    ids = [str(one) for one in prepared.users.ids_of(users[start : start + 500]).to_list()]
                    told = ask(port, "/candidates", {"user_ids": ids, "k": K}, began)["candidates"]
                    seconds = seconds or time.perf_counter() - began
                    frame = {"columns": ["user_id", "history"], "data": [[one, []] for one in ids]}
                    body = {"dataframe_split": frame, "params": {"k": K}}
                    invoked = ask(port, "/invocations", body, began)["predictions"]
                    for lists, answers in zip(both, (told, invoked), strict=True):
                        for place, one in enumerate(answers):
                            items = np.array(one["item_ids"])
                            if prepared.items.ids.dtype.is_integer():
                                items = items.astype(np.int64)
                            lists[start + place, : len(items)] = torch.from_numpy(prepared.items.rows(items))
                for way, lists in zip(ways, both, strict=True):
                    way.append(lists)
            return *ways, seconds
        finally:
            process.terminate()


def ask(port: int, path: str, body: dict, began: float) -> dict:
    """One answer; waits for a service that is still starting, a minute at most."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"parity.py: the service answered {error.code}: {error.read().decode()}") from None
        except OSError:
            if time.perf_counter() - began > 60:
                raise SystemExit("parity.py: the service did not start within a minute") from None
            time.sleep(0.02)


if __name__ == "__main__":
    main()
