"""E_T: a transformers encoder from a text to one vector, the masked mean of its token states.

`bert` is a small BERT with random weights whose WordPiece vocabulary is trained on the catalogue, so that
everything runs where no weights can be fetched; any other name or folder is loaded with its own weights.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mufin_model.config import Encode
from mufin_model.encoders.weight_files import text_folder
from mufin_model.errors import SettingError

OWN = "bert"

SPREAD = ("bert", "distilbert", "roberta", "xlm-roberta")
"""Kinds of backbone that take a mask for each pair of tokens, with the same states as from one a token."""


class TextEncoder(nn.Module):
    """A transformers encoder and its tokenizer."""

    def __init__(self, backbone: nn.Module, tokenizer: Any, max_tokens: int) -> None:
        super().__init__()
        if getattr(backbone, "pooler", None) is not None:
            # Never used; loaded from a folder without one, its weights would be random.
            backbone.pooler = None
        self.backbone, self.tokenizer, self.max_tokens = backbone, tokenizer, max_tokens
        self.width: int = backbone.config.hidden_size

    def tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids int32 [n, T] and their mask bool [n, T] (True where real), T the longest text's length."""
        out = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return out["input_ids"].int(), out["attention_mask"].bool()

    def forward(self, ids: Tensor, mask: Tensor, before: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
        """Texts to vectors, [n, width]; with `before` of texts and what comes before them (early fusion, ViXML).

        Args:
            ids: [n, T].
            mask: [n, T]; True where real.
            before: vectors put before the tokens' embeddings, [n, M, width].
            seen: their mask, [n, M].
        """
        if before is None or seen is None:
            states = self.backbone(input_ids=ids.long(), attention_mask=self._attended(mask)).last_hidden_state
        else:
            words = self.backbone.get_input_embeddings()(ids.long())
            mask = torch.cat([seen, mask], dim=1)
            # Real ones first, in their order: a token's position is then the same whatever the batch pads.
            order = torch.argsort(~mask, dim=1, stable=True)
            mask = mask.gather(1, order)
            given = torch.cat([before.to(words.dtype), words], dim=1)
            given = given.gather(1, order.unsqueeze(-1).expand_as(given))
            states = self.backbone(inputs_embeds=given, attention_mask=self._attended(mask)).last_hidden_state
        weight = mask.unsqueeze(-1).to(states.dtype)
        return (states * weight).sum(1) / weight.sum(1).clamp(min=1)

    def _attended(self, mask: Tensor) -> Tensor:
        """The mask [n, T] as the backbone takes it.

        On a GPU it is spread to [n, 1, T, T] here: transformers would first ask the device whether all are real, to
        leave it out, and so wait for everything that was launched before.
        """
        config = self.backbone.config
        if mask.is_cuda and config.model_type in SPREAD and config._attn_implementation == "sdpa":
            return mask[:, None, None, :].expand(-1, 1, mask.shape[1], -1)
        return mask.long()

    def save(self, folder: Path) -> None:
        _quiet()
        self.backbone.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @classmethod
    def load(cls, folder: Path, max_tokens: int) -> TextEncoder:
        """Read what `save` wrote, or any local transformers folder."""
        from transformers import AutoModel, AutoTokenizer

        _quiet()
        return cls(
            AutoModel.from_pretrained(folder, local_files_only=True),
            AutoTokenizer.from_pretrained(folder, local_files_only=True),
            max_tokens,
        )


def build(settings: Encode, texts: Iterable[str]) -> TextEncoder:
    """The text encoder that the settings name.

    Args:
        texts: the catalogue's texts, from which `bert` trains its vocabulary.

    Raises:
        SettingError: the name is neither `bert`, a local folder, nor to be had from the hub.
    """
    if settings.text_backbone == OWN:
        return _own(settings, texts)
    from transformers import AutoModel, AutoTokenizer

    _quiet()
    try:
        name = text_folder(settings.text_backbone)
        backbone = AutoModel.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except Exception as error:
        what = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SettingError(
            f"cannot load the text backbone {settings.text_backbone!r}: {what}",
            where="encode.text_backbone",
            mend=f"name a transformers model, a local folder or a package of weights; offline, {OWN!r} needs neither",
        ) from error
    return TextEncoder(backbone, tokenizer, settings.max_tokens)


def _own(settings: Encode, texts: Iterable[str]) -> TextEncoder:
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    if settings.text_width % settings.text_heads:
        raise SettingError(
            f"text_width {settings.text_width} is no multiple of text_heads {settings.text_heads}",
            where="encode.text_width",
        )
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    texts = list(texts)
    trainer = BertWordPieceTokenizer(lowercase=True)
    trainer.train_from_iterator(
        texts,
        vocab_size=settings.text_vocabulary,
        min_frequency=2,
        show_progress=False,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_continuations(trainer, texts)],
    )
    tokenizer = BertTokenizerFast(vocab=trainer.get_vocab(), do_lower_case=True)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.text_width,
        num_hidden_layers=settings.text_layers,
        num_attention_heads=settings.text_heads,
        intermediate_size=4 * settings.text_width,
        max_position_embeddings=max(settings.max_tokens, 64),
    )
    encoder = TextEncoder(BertModel(config, add_pooling_layer=False), tokenizer, settings.max_tokens)
    if settings.text_start == "lsa":
        _start_at_lsa(encoder, texts)
    return encoder


def _continuations(trainer: Any, texts: Iterable[str], most: int = 1000) -> list[str]:
    """The pieces `##x` of one character, most frequent first.

    Left to itself the trainer numbers them in the order of a hash table and breaks ties by number, so that
    every run would have another vocabulary.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        for word, _ in trainer.pre_tokenizer.pre_tokenize_str(trainer.normalizer.normalize_str(text)):
            counts.update(word[1:])
    return ["##" + character for character in sorted(counts, key=lambda c: (-counts[c], c))[:most]]


def _start_at_lsa(encoder: TextEncoder, texts: Sequence[str]) -> None:
    """Set the word piece embeddings to their latent semantic vectors: pieces of like texts start alike.

    Residual layers of small random weights pass them on, so the untrained encoder is close to a bag of words;
    from random embeddings a few thousand short texts are too few to get there.
    """
    import numpy as np
    from scipy import sparse
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    table = encoder.backbone.embeddings.word_embeddings.weight
    ids, mask = encoder.tokenize(texts)
    one, _ = np.nonzero(mask.numpy())
    pieces = ids.numpy()[mask.numpy()]
    counts = sparse.csr_matrix((np.ones(len(one), np.float32), (one, pieces)), shape=(len(texts), len(table)))
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    rank = min(table.shape[1], min(weighted.shape) - 1)
    if rank < 1:
        return
    found = TruncatedSVD(rank, random_state=0).fit(weighted).components_.T  # [pieces, rank]
    length = np.linalg.norm(found, axis=1, keepdims=True)
    known = length[:, 0] > 1e-6
    with torch.no_grad():
        # Unit vectors at five times the usual scale, so that the random positions beside them are noise.
        vectors = torch.from_numpy((found / np.maximum(length, 1e-6)).astype(np.float32))
        scale = 5 * encoder.backbone.config.initializer_range
        table[torch.from_numpy(known), :rank] = vectors[torch.from_numpy(known)] * scale * rank**0.5


def _quiet() -> None:
    """Keep transformers' own bars and load reports (a pooler we never use is missing) out of the run's log."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def pad_batches(lengths: Tensor, size: int) -> list[Tensor]:
    """Row numbers in batches of like length, so that little padding is computed."""
    return list(torch.argsort(lengths, stable=True).split(size))
