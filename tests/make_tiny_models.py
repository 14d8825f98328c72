"""Tiny models with random weights: made on the spot, so that each test has the architecture that it is about."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

_WORDS = """the of a to in and is for that on with as are by it how what why does do can you not no be an at or
wing slipstream lift drag heat flow boundary layer supersonic shock wave pressure temperature plate cylinder
computer program algorithm language system time sharing memory number method data search query document ranking
water river sea dog cat house car road money tax law court school bone age blood heart drug dose salary nurse""".split()

_BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_ROBERTA_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!'-"


def word_pieces() -> list[str]:
    """Return words, letters and continued letters, so that any ASCII text is covered."""
    return sorted({*_WORDS, *_LETTERS, *(f"##{letter}" for letter in _LETTERS)})


def bert_tokenizer(*, with_types: bool = True, model_max_length: int = 512) -> PreTrainedTokenizerFast:
    """Return a WordPiece tokenizer that frames pairs as BERT does."""
    vocabulary = {piece: i for i, piece in enumerate([*_BERT_SPECIALS, *word_pieces()])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    names = ["input_ids", "token_type_ids", "attention_mask"] if with_types else ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=model_max_length,
        model_input_names=names,
    )


def roberta_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer that frames pairs as RoBERTa does: two separators between, no token types."""
    vocabulary = {piece: i for i, piece in enumerate([*_ROBERTA_SPECIALS, *word_pieces()])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", vocabulary["<s>"]), ("</s>", vocabulary["</s>"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        cls_token="<s>",
        sep_token="</s>",
        mask_token="<mask>",
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
    )


def make_cross_encoder(folder: Path, architecture: str = "bert", *, labels: int = 1, seed: int = 0) -> Path:
    """Save a cross-encoder of two layers: ``bert``, ``distilbert`` or ``roberta``. Returns the folder."""
    torch.manual_seed(seed)
    shape = {"vocab_size": len(_BERT_SPECIALS) + len(word_pieces()), "num_labels": labels}
    if architecture == "bert":
        tokenizer = bert_tokenizer()
        config = BertConfig(**shape, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
        model = BertForSequenceClassification(config)
    elif architecture == "distilbert":
        tokenizer = bert_tokenizer(with_types=False)
        model = DistilBertForSequenceClassification(
            DistilBertConfig(**shape, dim=32, n_layers=2, n_heads=2, hidden_dim=64)
        )
    else:
        tokenizer = roberta_tokenizer()
        config = RobertaConfig(
            **shape,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=514,
            type_vocab_size=1,
            pad_token_id=1,
        )
        model = RobertaForSequenceClassification(config)
    with torch.no_grad():
        # Weights as initialised give scores within 1e-5 of each other: too alike to tell a right one from a wrong one.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_transformer(folder: Path, *, seed: int = 0) -> Path:
    """Save a BERT encoder without a head, and its tokenizer. Returns the folder."""
    torch.manual_seed(seed)
    size = len(_BERT_SPECIALS) + len(word_pieces())
    config = BertConfig(
        vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    model = BertModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)
    model.save_pretrained(folder)
    bert_tokenizer().save_pretrained(folder)
    return folder
