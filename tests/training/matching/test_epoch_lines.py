"""Lines of a training: which epoch, what it came to, and how long the rest takes."""

from training.matching.epoch_lines import EpochLines


def test_each_epoch_is_told_with_the_time_that_is_left() -> None:
    now, said = [0.0], []
    lines = EpochLines(said.append, 1, 4, clock=lambda: now[0])
    now[0] = 6.0
    lines({"contrast/train_loss": 2.0, "contrast/validation_auc": 0.75}, 1)
    for epoch in (1, 2, 4):
        now[0] += 10.0
        lines({"train/loss": 0.5, "validation/f1": 0.9, "validation/auc": 0.95}, epoch)
    assert said == [
        "contrast, epoch 1 of 1: loss 2.000, validation AUC 0.7500",
        "epoch 1 of 4: loss 0.500, validation F1 0.9000; at most 30 s more",
        "epoch 2 of 4: loss 0.500, validation F1 0.9000; at most 20 s more",
        "epoch 4 of 4: loss 0.500, validation F1 0.9000",
    ]


def test_a_run_that_goes_on_counts_its_own_epochs() -> None:
    now, said = [0.0], []
    lines = EpochLines(said.append, 0, 10, clock=lambda: now[0])
    now[0] = 5.0
    lines({"train/loss": 0.5}, 8)
    assert said == ["epoch 8 of 10: loss 0.500; at most 10 s more"]
