"""Features of items and users: columns of several kinds, fitted once, applied to rows never seen."""

from .columns import Categorical, Column, Embedding, Numeric, Text, Vector
from .encoding import MOST_TOKENS, Encoded, Features, guess_columns
from .text_vectors import text_vectors

__all__ = [
    "MOST_TOKENS",
    "Categorical",
    "Column",
    "Embedding",
    "Encoded",
    "Features",
    "Numeric",
    "Text",
    "Vector",
    "guess_columns",
    "text_vectors",
]
