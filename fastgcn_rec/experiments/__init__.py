"""Named recipes, and what is made of them: runs in a folder, comparisons, estimates, pictures, the demo."""

from .compare import compare
from .estimate import MemoryEstimate, estimate_memory
from .measured import read_users
from .recipe_file import read_recipe, write_recipe
from .recipes import RECIPES, Recipe
from .rows import Comparison, Row
from .tune import Tuned, tune

__all__ = [
    "RECIPES",
    "Comparison",
    "MemoryEstimate",
    "Recipe",
    "Row",
    "Tuned",
    "compare",
    "estimate_memory",
    "read_recipe",
    "read_users",
    "tune",
    "write_recipe",
]
