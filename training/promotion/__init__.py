"""Promotion and rollback of registered versions: gates on what has happened since, and the aliases that are served."""

from training.promotion.aliases import Promotion, challenge, check_name, rollback
from training.promotion.gates import Gate, Tolerances
from training.promotion.versions import versions

__all__ = ["Gate", "Promotion", "Tolerances", "challenge", "check_name", "rollback", "versions"]
