"""Somebody interrupts a run: that ends as an interruption ends, and says how the run goes on."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytorch_lightning as pl


@contextlib.contextmanager
def interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """What is interrupted within is an interruption; Lightning would end the process, deaf to the next one."""
    heard = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if not trainer.interrupted:
            raise
    if trainer.interrupted:
        signal.signal(signal.SIGINT, heard)
        raise KeyboardInterrupt


@contextlib.contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Whoever interrupts the run of a folder is told how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"--resume --run-dir {folder} goes on with the last epoch that was kept") from None
