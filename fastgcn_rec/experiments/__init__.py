"""Named recipes, and what is made of them: runs in a folder, comparisons, estimates, pictures, the demo."""
