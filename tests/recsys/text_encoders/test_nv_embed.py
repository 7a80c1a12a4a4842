"""NV-Embed's folders, written as their authors publish them, against the parts that they are made of."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.encoder import TextEncoder
from recsys.text_encoders.loading import load_encoder
from recsys.text_encoders.nv_embed import pooling_settings
from recsys.text_encoders.pooling import LatentAttention
from recsys.text_encoders.saving import save_encoder

#: of modeling_nvembed.py, and of `LatentAttention`
NAMES = {
    "latents": "latents",
    "cross_attend_blocks.0.norm.weight": "attend.norm.weight",
    "cross_attend_blocks.0.norm.bias": "attend.norm.bias",
    "cross_attend_blocks.0.norm_context.weight": "attend.norm_context.weight",
    "cross_attend_blocks.0.norm_context.bias": "attend.norm_context.bias",
    "cross_attend_blocks.0.fn.to_q.weight": "attend.to_q.weight",
    "cross_attend_blocks.0.fn.to_kv.weight": "attend.to_kv.weight",
    "cross_attend_blocks.0.fn.to_out.weight": "attend.to_out.weight",
    "cross_attend_blocks.1.norm.weight": "attend.norm_after.weight",
    "cross_attend_blocks.1.norm.bias": "attend.norm_after.bias",
    "cross_attend_blocks.1.fn.net.0.weight": "attend.widen.weight",
    "cross_attend_blocks.1.fn.net.0.bias": "attend.widen.bias",
    "cross_attend_blocks.1.fn.net.2.weight": "attend.narrow.weight",
    "cross_attend_blocks.1.fn.net.2.bias": "attend.narrow.bias",
}


@pytest.fixture
def parts(written: Callable[[str], Path]) -> TextEncoder:
    """A Mistral that sees both ways, and a latent attention with weights."""
    encoder = load_encoder(
        TextEncoderConfig(str(written("mistral")), pooling="latent", bidirectional=True, precision="fp32")
    )
    encoder.pool = LatentAttention(32, latents=6, heads=2, head_dim=5)
    for weight in encoder.pool.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return encoder.eval()


@pytest.fixture
def folder(parts: TextEncoder, written: Callable[[str], Path], tmp_path: Path) -> Path:
    """The same as NV-Embed is published: two files of weights, code, and a tokenizer that begins texts alone."""
    model = {
        f"embedding_model.{name}": one for name, one in load_file(written("mistral") / "model.safetensors").items()
    }
    own = parts.pool.state_dict()
    assert set(own) == set(NAMES.values())
    pool = {f"latent_attention_model.{name}": own[mine].contiguous() for name, mine in NAMES.items()}
    save_file(model, tmp_path / "model-00001-of-00002.safetensors")
    save_file(pool, tmp_path / "model-00002-of-00002.safetensors")
    text = json.loads((written("mistral") / "config.json").read_text()) | {"model_type": "bidirectional_mistral"}
    said = {
        "model_type": "nvembed",
        "architectures": ["NVEmbedModel"],
        "auto_map": {"AutoModel": "modeling_nvembed.NVEmbedModel", "AutoConfig": "configuration_nvembed.NVEmbedConfig"},
        "text_config": text,
        "latent_attention_config": {"num_latents_value": 6, "num_cross_heads": 2, "cross_dim_head": 5},
    }
    (tmp_path / "config.json").write_text(json.dumps(said))
    (tmp_path / "modeling_nvembed.py").write_text("raise SystemExit('this code was run')")
    parts.tokenizer.add_special_tokens({"bos_token": "<pad>"})
    parts.tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_it_is_the_sum_of_its_parts(parts: TextEncoder, folder: Path, texts: list[str]) -> None:
    encoder = load_encoder(TextEncoderConfig(str(folder), precision="fp32"))
    assert (encoder.pooling, encoder.settings) == ("latent", {"latents": 6, "heads": 2, "head_dim": 5})
    tokens = encoder.tokens(texts)
    assert all(one[0] == 0 and one[-1] == 1 for one in tokens)  # begun, and ended
    assert [one[1:-1] for one in tokens[:-1]] == parts.tokens(texts[:-1])
    with torch.inference_mode():
        expected = torch.cat([parts([one]) for one in tokens]).numpy()
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-5)


def test_it_sees_both_ways_also_where_no_mask_is(folder: Path) -> None:
    encoder = load_encoder(TextEncoderConfig(str(folder), pooling="cls", precision="fp32"))
    first, second = encoder.encode(["soap and x"]), encoder.encode(["soap and z"])
    assert not np.allclose(first, second, atol=1e-3)


def test_tuned_and_saved_it_is_a_folder_of_ours(folder: Path, texts: list[str], tmp_path: Path) -> None:
    encoder = load_encoder(TextEncoderConfig(str(folder), precision="fp32"))
    save_encoder(encoder, tmp_path / "saved")
    again = load_encoder(TextEncoderConfig(str(tmp_path / "saved"), precision="fp32"))
    assert again.pooling == "latent" and again.tokens(texts) == encoder.tokens(texts)
    np.testing.assert_allclose(again.encode(texts), encoder.encode(texts), atol=1e-6)


def test_the_published_sizes_are_taken_where_nothing_is_said() -> None:
    assert pooling_settings({}) == {"latents": 512, "heads": 8, "head_dim": 4096}
