"""What a quantised bundle saves and what it costs: one trained model in fp32, fp16 and int8, on MovieLens-1M.

Every model is trained once and written three times; each bundle is loaded and its own lists are measured on the test
part, so that what is compared is what is served. Sizes are those of the files: `weights` (tables and towers), `index`
(item vectors), both together, and the whole bundle with its data (vocabularies, histories, titles), which no precision
changes. A loss is the share of the fp32 figure that is gone, so that negative ones are gains. `time` is the median
time of one user's request, as a multiple of the fp32 bundle's in the same process.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from parity import over_http
from report import Report, arguments

from features.errors import InputError
from features.prepared import Prepared
from recsys.two_tower import TwoTower
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from training.bundle_evaluation import evaluate_bundle, served_lists
from training.config import TrainConfig, load_config
from training.data import prepare
from training.evaluation import Evaluation
from training.release import load_model, relative_loss
from training.runs import RunOptions, run

SEEDS = 3
KINDS = ("collisionless", "multiplexed")
PRECISIONS = ("fp32", "fp16", "int8")
TARGETS = {("fp16", "hr@10_loss"): 0.002, ("int8", "hr@10_loss"): 0.01, ("int8", "weights+index_share"): 0.30}


def main() -> None:
    """Trains, writes, measures, prints and writes."""
    options = arguments(__doc__).parse_args()
    report = Report("quantised_bundle", quick=options.quick)
    settings: list[str] = []
    if options.quick:
        settings = ["data.settings.interactions=1000", "optimiser.max_epochs=1", "model.dim=16"]
        settings += ["optimiser.backend=torch"]
        case, given = "generated", {"data__name": "generated"}
    else:
        if options.data_root is None:
            raise SystemExit("quantised_bundle.py: --data-root FOLDER is needed (a folder that holds ml-1m)")
        case, given = "ml-1m", {"data__name": "ml-1m", "data__root": str(options.data_root / "ml-1m")}
    prepared = prepare(load_config(settings=settings, **given))
    for kind in KINDS[1:] if options.quick else KINDS:
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for seed in range(1 if options.quick else SEEDS):
            config = load_config(settings=[*settings, f"model.embeddings.kind={kind}"], seed=seed, **given)
            with tempfile.TemporaryDirectory() as folder:
                trained = run(config, RunOptions(Path(folder) / "run", track=False), prepared)
                model = load_model(trained.bundle)
                bundles = {one: write(Path(folder) / one, model, prepared, config, one) for one in PRECISIONS}
                for key, figure in measured(bundles, prepared).items():
                    found[key].append(figure)
                if seed == 0 and not options.quick:
                    found["int8", "http_lists_equal"].append(same_over_http(bundles["int8"], prepared))
        for (precision, metric), figures in found.items():
            facts = {"split_hash": prepared.split.sha256, "parameters": trained.figures["parameters"]}
            report.add_runs(f"{case}/{kind}/{precision}", metric, figures, settings=facts)
            if (precision, metric) in TARGETS:
                report.add(f"{case}/{kind}/{precision}", metric, TARGETS[precision, metric], source="at most")
    report.finish(options.out)


def write(folder: Path, model: TwoTower, prepared: Prepared, config: TrainConfig, precision: str) -> Path:
    """One model in one precision."""
    return write_bundle(folder, model, prepared, config.index, precision)


def measured(bundles: dict[str, Path], prepared: Prepared) -> dict[tuple[str, str], float]:
    """Figures, sizes and times, and what they are of those in fp32; by precision and metric."""
    figures = {one: evaluate_bundle(folder, prepared) for one, folder in bundles.items()}
    sizes = {one: sizes_of(folder) for one, folder in bundles.items()}
    generators = {one: CandidateGenerator.load(folder) for one, folder in bundles.items()}
    times = seconds_a_request(generators, prepared)
    out: dict[tuple[str, str], float] = {}
    for one in bundles:
        out |= {(one, name): figures[one][name] for name in ("hr@10", "ndcg@10")}
        out |= {(one, f"{name}_bytes"): size for name, size in sizes[one].items()}
        if one != "fp32":
            lost = relative_loss(figures[one], figures["fp32"])
            out |= {(one, f"{name}_loss"): share for name, share in lost.items()}
            out |= {(one, f"{name}_share"): size / sizes["fp32"][name] for name, size in sizes[one].items()}
            out[one, "index_recall@100"] = generators[one].bundle.index.recall
            out[one, "time"] = times[one] / times["fp32"]
    return out


def sizes_of(folder: Path) -> dict[str, float]:
    """Bytes of the parts of a bundle."""
    size = {path.name: path.stat().st_size for path in folder.iterdir()}
    weights, index = size["weights.safetensors"], size["items.faiss"]
    return {"weights": weights, "index": index, "weights+index": weights + index, "bundle": sum(size.values())}


def seconds_a_request(generators: dict[str, CandidateGenerator], prepared: Prepared, users: int = 200) -> dict:
    """The median over some users, asked one at a time, the precisions in turn."""
    some = prepared.users.ids_of(np.flatnonzero(prepared.test.lengths)[:users]).to_list()
    times: dict[str, list[float]] = {one: [] for one in generators}
    for user in some:
        for one, generator in generators.items():
            began = time.perf_counter()
            generator.recommend([user], k=50)
            times[one].append(time.perf_counter() - began)
    return {one: statistics.median(seconds) for one, seconds in times.items()}


def same_over_http(bundle: Path, prepared: Prepared) -> float:
    """The share of test users whom `recsys serve` gives the list that the bundle gives in process."""
    evaluation = Evaluation(prepared)
    generator = CandidateGenerator.load(bundle)
    lists, _ = over_http(bundle, prepared, evaluation)
    same = [
        (served_lists(generator, evaluation, users) == over).all(dim=1)
        for users, over in zip(evaluation.chunks(), lists, strict=True)
    ]
    return float(torch.cat(same).double().mean())


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"quantised_bundle.py: {error}") from None
