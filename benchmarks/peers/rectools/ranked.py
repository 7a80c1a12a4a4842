"""Full ranking of each user's validation item, by this project's protocol, from the vectors of a RecTools model."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

#: users that are ranked at a time: their scores are small beside what a training step needs
_USERS = 256


class Ranked:
    """Validation by full ranking, from the vectors that RecTools recommends with.

    Args:
        model: Built, fitted or not.
        train: The data set of the training interactions.
        frame: All interactions, oldest first.
    """

    def __init__(self, model: SASRecModel, train: Dataset, frame: pd.DataFrame) -> None:
        self._model = model
        validation = frame[frame["validation"]]
        asked = model.data_preparator.transform_dataset_u2i(train, validation[Columns.User].unique())
        self._loader = model.data_preparator.get_dataloader_recommend(asked, model.batch_size)
        items, extra = model.data_preparator.item_id_map, model.data_preparator.n_item_extra_tokens
        self._extra = extra
        # items outside the training data have no vector: nobody is recommended one, and as a target one is a miss
        validation = validation.drop_duplicates(Columns.User)
        self._users = asked.user_id_map.convert_to_internal(
            train.user_id_map.convert_to_internal(validation[Columns.User])
        )
        known = validation[Columns.Item].isin(items.external_ids).to_numpy()
        self._targets = np.full(len(validation), -1)
        self._targets[known] = items.convert_to_internal(validation[Columns.Item][known]) - extra
        seen = asked.interactions.df
        order = np.argsort(seen[Columns.User].to_numpy(), kind="stable")
        self._seen_items = seen[Columns.Item].to_numpy()[order] - extra
        self._seen_users = seen[Columns.User].to_numpy()[order]
        # equal scores stand in the order of the ids, as they do in this project
        self._rank_of_item = torch.from_numpy(
            np.argsort(np.argsort(items.external_ids[extra:].astype(np.int64), kind="stable"))
        )

    def figures(self) -> dict[str, float]:
        """hr@10 and ndcg@10, and the seconds that it took."""
        began = time.perf_counter()
        module = self._model.lightning_model
        users, items = module._get_user_item_embeddings(self._loader, "cpu")
        items = items[self._extra :].detach()
        ranks = []
        for start in range(0, len(self._users), _USERS):
            rows, targets = self._users[start : start + _USERS], self._targets[start : start + _USERS]
            found = targets >= 0
            scores = users[rows] @ items.T  # (b, N)
            at, wanted = torch.arange(len(rows)), torch.from_numpy(np.where(found, targets, 0))
            for one, row in enumerate(rows):
                low, high = np.searchsorted(self._seen_users, [row, row + 1])
                scores[one, self._seen_items[low:high]] = -torch.inf
            own = scores[at, wanted]
            earlier = self._rank_of_item[None] < self._rank_of_item[wanted][:, None]
            before = (scores > own[:, None]) | ((scores == own[:, None]) & earlier)
            unranked = ~torch.from_numpy(found) | (own == -torch.inf)
            ranks.append(torch.where(unranked, len(items) + 1, before.sum(1) + 1))
        module.train()
        rank = torch.cat(ranks).double()
        hits = rank <= 10
        gains = torch.where(hits, 1 / torch.log2(rank + 1), 0.0)
        return {
            "hr@10": float(hits.double().mean()),
            "ndcg@10": float(gains.mean()),
            "evaluation_seconds": time.perf_counter() - began,
        }
