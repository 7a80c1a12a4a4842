"""What a process holds for good is nothing that Python's collector need look at."""

from __future__ import annotations

import gc


def settle() -> None:
    """Collects what is garbage, and lets later collections pass over what is left.

    Modules, vocabularies and models are a million objects and more; to look at all of them takes a tenth of a second in
    which nobody is answered, again and again while requests make garbage. Called when something was loaded or let go.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
