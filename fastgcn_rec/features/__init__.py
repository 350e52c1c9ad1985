"""Features of items and users: columns of several kinds, fitted once, applied to rows never seen."""

from .columns import Categorical, Column, Numeric, Text, Vector
from .encoding import MOST_TOKENS, Encoded, Features, guess_columns

__all__ = ["MOST_TOKENS", "Categorical", "Column", "Encoded", "Features", "Numeric", "Text", "Vector", "guess_columns"]
