"""Language models that say what items mean: texts in, vectors out, kept on disk by what was encoded."""

from recsys.text_encoders.config import BUNDLED, ItemTextConfig, TextEncoderConfig

__all__ = ["BUNDLED", "ItemTextConfig", "TextEncoderConfig"]
