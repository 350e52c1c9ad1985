"""Named recipes, and what is made of them: runs in a folder, comparisons, estimates, pictures, the demo."""

from .compare import compare
from .estimate import MemoryEstimate, estimate_memory
from .recipes import RECIPES, Recipe
from .rows import Row

__all__ = ["RECIPES", "MemoryEstimate", "Recipe", "Row", "compare", "estimate_memory"]
